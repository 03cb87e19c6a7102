use super::*;

fn through(ty: LogicalType, input: &str, date_style: &str, time_zone: &str) -> Result<String, String> {
    let style = TextStyle {
        date_style: date_style.into(),
        time_zone: time_zone.into(),
        ..TextStyle::default()
    };
    let mut canonical = Plaintext::default();
    decode(
        ty,
        Reading::Assignment,
        Format::Text,
        input.as_bytes(),
        &style,
        &mut canonical,
    )
    .map_err(|error| error.sqlstate.to_string())?;
    let mut out = BytesMut::new();
    encode(ty, Format::Text, &canonical, &style, &mut out).map_err(|error| error.sqlstate.to_string())?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn every_style_prints_its_own_way() {
    let ty = LogicalType::Timestamptz(None);
    for (style, printed) in [
        ("ISO, MDY", "1999-01-08 04:05:06.789+09"),
        ("SQL, MDY", "01/08/1999 04:05:06.789 KST"),
        ("SQL, DMY", "08/01/1999 04:05:06.789 KST"),
        ("Postgres, MDY", "Fri Jan 08 04:05:06.789 1999 KST"),
        ("Postgres, DMY", "Fri 08 Jan 04:05:06.789 1999 KST"),
        ("German, DMY", "08.01.1999 04:05:06.789 KST"),
    ] {
        let text = through(ty, "1999-01-08T04:05:06.789+09:00", style, "Asia/Seoul");
        assert_eq!(text.as_deref(), Ok(printed), "{style}");
    }
}

#[test]
fn gaps_read_by_the_clock_before_and_overlaps_by_the_clock_after() {
    let ty = LogicalType::Timestamptz(None);
    for (input, printed) in [
        ("2024-03-10 02:30", "2024-03-10 03:30:00-04"),
        ("2024-11-03 01:30", "2024-11-03 01:30:00-05"),
        ("12024-07-01 00:00", "12024-07-01 00:00:00-04"),
    ] {
        assert_eq!(
            through(ty, input, "ISO, MDY", "America/New_York").as_deref(),
            Ok(printed)
        );
    }
}

#[test]
fn what_needs_a_clock_or_a_guess_is_refused() {
    let ty = LogicalType::Timestamptz(None);
    for input in [
        "now",
        "today",
        "2024-01-01 10:00 KST",
        "J2451187",
        "2024-01-01 00:00 FOO+3",
    ] {
        assert_eq!(through(ty, input, "ISO, MDY", "UTC"), Err("0A000".into()), "{input}");
    }
    assert_eq!(through(ty, "2024-01-01", "ISO, MDY", "FOO8BAR"), Err("0A000".into()));
}

#[test]
fn what_no_setting_could_make_a_date_is_no_date() {
    for ty in [
        LogicalType::Date,
        LogicalType::Timestamp(None),
        LogicalType::Timestamptz(None),
    ] {
        for input in [
            "no date",
            "x",
            "abc",
            "never",
            "kst",
            "n/a",
            "mon jan kst",
            "allballs foo",
        ] {
            assert_eq!(through(ty, input, "ISO, MDY", "UTC"), Err("22007".into()), "{input}");
        }
        for input in ["foo now", "foo epoch", "foo 1", "foo j", "foo infinity"] {
            assert_eq!(through(ty, input, "ISO, MDY", "UTC"), Err("0A000".into()), "{input}");
        }
    }
}

#[test]
fn precision_rounds() {
    let ty = LogicalType::Timestamp(Some(0));
    let text = through(ty, "1999-12-31 23:59:59.5", "ISO, MDY", "UTC");
    // Half away from 2000-01-01, not up.
    assert_eq!(text.as_deref(), Ok("1999-12-31 23:59:59"));
}
