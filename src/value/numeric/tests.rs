use super::*;

fn text(input: &str, modifier: Modifier) -> Result<String, [u8; 5]> {
    let mut canonical = Plaintext::default();
    decode(
        modifier,
        Reading::Assignment,
        Format::Text,
        input.as_bytes(),
        &mut canonical,
    )
    .map_err(|e| e.sqlstate.0)?;
    let mut out = BytesMut::new();
    encode(LogicalType::Numeric(modifier), Format::Text, &canonical, &mut out).map_err(|e| e.sqlstate.0)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn text_comes_back_as_postgresql_prints_it() {
    for (input, printed) in [
        ("0", "0"),
        ("-0.00", "0.00"),
        ("1.50", "1.50"),
        ("00012345.678900", "12345.678900"),
        (" +1e3 ", "1000"),
        ("1e-5", "0.00001"),
        ("12e 2", "1200"),
        (".5", "0.5"),
        ("5.", "5"),
        ("nan", "NaN"),
        ("-inf", "-Infinity"),
        ("99999999.99999999", "99999999.99999999"),
        ("10000", "10000"),
        ("0e1000000", "0"),
    ] {
        assert_eq!(text(input, None).as_deref(), Ok(printed), "{input}");
    }
}

#[test]
fn modifiers_round_half_away_from_zero_and_overflow() {
    for (input, modifier, printed) in [
        ("1.005", (10, 2), Ok("1.01")),
        ("-1.005", (10, 2), Ok("-1.01")),
        ("0.004", (10, 2), Ok("0.00")),
        ("0.005", (2, 2), Ok("0.01")),
        ("99.995", (4, 2), Err(*b"22003")),
        ("9999.5", (5, 0), Ok("10000")),
        ("99999999.5", (10, 0), Ok("100000000")),
        ("1450", (2, -2), Ok("1500")),
        ("0.5", (1, 0), Ok("1")),
        ("0.4999999", (1, 0), Ok("0")),
        ("inf", (5, 2), Err(*b"22003")),
        ("nan", (5, 2), Ok("NaN")),
        ("0.00012", (2, 5), Ok("0.00012")),
        ("0.001", (2, 5), Err(*b"22003")),
    ] {
        assert_eq!(
            text(input, Some(modifier)),
            printed.map(str::to_owned),
            "{input} {modifier:?}"
        );
    }
}

#[test]
fn junk_is_a_syntax_error_and_too_much_an_overflow() {
    for input in [
        "", " ", ".", "-", "1.2.3", "1e", "1e+", "1x", "1 2", "--1", "nano", "+nan",
    ] {
        assert_eq!(text(input, None), Err(*b"22P02"), "{input:?}");
    }
    for input in ["1e131072", "1e-16384", "1e9999999999999999999"] {
        assert_eq!(text(input, None), Err(*b"22003"), "{input:?}");
    }
}

#[test]
fn comparison_takes_the_columns_scale_where_it_loses_nothing() {
    let canonical = |input: &str, reading| {
        let mut out = Plaintext::default();
        decode(Some((10, 2)), reading, Format::Text, input.as_bytes(), &mut out).expect("a number");
        out
    };
    assert_eq!(
        canonical("1.5", Reading::Comparison),
        canonical("1.50", Reading::Assignment)
    );
    assert_ne!(
        canonical("1.501", Reading::Comparison),
        canonical("1.501", Reading::Assignment)
    );
}
