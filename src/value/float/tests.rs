use super::*;

fn printed(value: f64, extra_float_digits: i32) -> String {
    let style = TextStyle {
        extra_float_digits,
        ..TextStyle::default()
    };
    let mut out = BytesMut::new();
    encode(Format::Text, &value.to_be_bytes(), &style, &mut out).expect("a double prints");
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn numbers_are_laid_out_as_postgresql_does() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1.0, "1"),
        (-12.5, "-12.5"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (1.5e-5, "1.5e-05"),
        (0.0001, "0.0001"),
        (1e100, "1e+100"),
        (1e23, "9.999999999999999e+22"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_eq!(printed(value, 1), text);
    }
}

#[test]
fn fewer_digits_round() {
    for (value, extra, text) in [
        (0.1 + 0.2, 0, "0.3"),
        (123456.789, -12, "1.23e+05"),
        (99.99, -13, "1e+02"),
        (1.0, -15, "1"),
    ] {
        assert_eq!(printed(value, extra), text);
    }
}

#[test]
fn text_is_read_or_faulted_as_postgresql_does() {
    let read = |text: &str| parse(text.as_bytes()).map_err(|error| error.sqlstate.to_string());
    assert_eq!(read(" 1.5e3 "), Ok(1500.0));
    assert_eq!(read(".5"), Ok(0.5));
    assert_eq!(read("-inf"), Ok(f64::NEG_INFINITY));
    for junk in ["", "1e", "1.2.3", "e5", "infinit", "1 2", "+-1"] {
        assert_eq!(read(junk), Err("22P02".into()), "{junk}");
    }
    for outside in ["1e400", "-1e400", "1e-400"] {
        assert_eq!(read(outside), Err("22003".into()), "{outside}");
    }
    assert_eq!(read("0x10"), Err("0A000".into()));
}
