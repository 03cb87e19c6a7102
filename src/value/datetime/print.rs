//! Dates and times as text, in every `DateStyle` (PostgreSQL documentation, 8.5.2).

use super::super::{ValueError, integer};
use super::{DateStyle, MICROS_PER_DAY, MICROS_PER_SECOND, Order, Shape, UNIX_EPOCH_DAY, calendar, zone};
use bytes::BytesMut;

const DAYS: [&[u8]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
/// The server cuts abbreviations of zones here.
const MAX_ABBREVIATION: usize = 10;

fn put(text: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(text);
}

fn two(number: i64, out: &mut BytesMut) {
    integer::put_digits(number.unsigned_abs(), 2, out);
}

fn year(year: i64, out: &mut BytesMut) {
    let shown = if year > 0 { year } else { 1 - year };
    integer::put_digits(shown.unsigned_abs(), 4, out);
}

fn era(year: i64, out: &mut BytesMut) {
    if year <= 0 {
        put(b" BC", out);
    }
}

pub(super) fn date(day: i32, style: DateStyle, out: &mut BytesMut) {
    match day {
        i32::MIN => return put(b"-infinity", out),
        i32::MAX => return put(b"infinity", out),
        _ => {}
    }
    let civil = calendar::date_of(day.into());
    match style.shape {
        // Without a time, this style too is all digits.
        Shape::Postgres => ordered(civil, style.order, b"-", out),
        _ => numeric_date(civil, style, out),
    }
    era(civil.0, out);
}

fn numeric_date(civil: (i64, i64, i64), style: DateStyle, out: &mut BytesMut) {
    let (of_year, month, day) = civil;
    match style.shape {
        Shape::Iso => {
            year(of_year, out);
            put(b"-", out);
            two(month, out);
            put(b"-", out);
            two(day, out);
        }
        Shape::German => ordered(civil, Order::Dmy, b".", out),
        Shape::Sql | Shape::Postgres => ordered(civil, style.order, b"/", out),
    }
}

fn ordered((of_year, month, day): (i64, i64, i64), order: Order, separator: &[u8], out: &mut BytesMut) {
    let (first, second) = if order == Order::Dmy {
        (day, month)
    } else {
        (month, day)
    };
    two(first, out);
    put(separator, out);
    two(second, out);
    put(separator, out);
    year(of_year, out);
}

fn infinite(micros: i64, out: &mut BytesMut) -> bool {
    match micros {
        i64::MIN => put(b"-infinity", out),
        i64::MAX => put(b"infinity", out),
        _ => return false,
    }
    true
}

pub(super) fn timestamp(micros: i64, style: DateStyle, out: &mut BytesMut) {
    if !infinite(micros, out) {
        let of_year = date_and_time(micros.into(), style, out);
        era(of_year, out);
    }
}

pub(super) fn timestamptz(
    micros: i64,
    style: DateStyle,
    zone_name: &str,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    if infinite(micros, out) {
        return Ok(());
    }
    let zone = zone::session(zone_name)?;
    let unix_seconds = micros.div_euclid(MICROS_PER_SECOND) - i64::from(UNIX_EPOCH_DAY) * 86_400;
    zone::with_offset_at(&zone, unix_seconds, |east, abbreviation| {
        let of_year = date_and_time(i128::from(micros) + i128::from(east * MICROS_PER_SECOND), style, out);
        if style.shape == Shape::Iso {
            offset(east, out);
        } else {
            put(b" ", out);
            let cut = abbreviation.len().min(MAX_ABBREVIATION);
            put(&abbreviation.as_bytes()[..cut], out);
        }
        era(of_year, out);
    });
    Ok(())
}

/// Returns the year.
fn date_and_time(local: i128, style: DateStyle, out: &mut BytesMut) -> i64 {
    let day = local.div_euclid(MICROS_PER_DAY.into()) as i64;
    let time = local.rem_euclid(MICROS_PER_DAY.into()) as i64;
    let civil = calendar::date_of(day);
    let (of_year, month, of_month) = civil;
    if style.shape == Shape::Postgres {
        put(DAYS[calendar::weekday(day)], out);
        put(b" ", out);
        let name = MONTHS[(month - 1) as usize];
        if style.order == Order::Dmy {
            two(of_month, out);
            put(b" ", out);
            put(name, out);
        } else {
            put(name, out);
            put(b" ", out);
            two(of_month, out);
        }
    } else {
        numeric_date(civil, style, out);
    }
    put(b" ", out);
    time_of_day(time, out);
    if style.shape == Shape::Postgres {
        put(b" ", out);
        year(of_year, out);
    }
    of_year
}

fn time_of_day(micros: i64, out: &mut BytesMut) {
    let seconds = micros / MICROS_PER_SECOND;
    two(seconds / 3600, out);
    put(b":", out);
    two(seconds / 60 % 60, out);
    put(b":", out);
    two(seconds % 60, out);
    let fraction = micros % MICROS_PER_SECOND;
    if fraction > 0 {
        put(b".", out);
        integer::put_digits(fraction.unsigned_abs(), 6, out);
        while out.last() == Some(&b'0') {
            out.truncate(out.len() - 1);
        }
    }
}

fn offset(east: i64, out: &mut BytesMut) {
    put(if east >= 0 { b"+" } else { b"-" }, out);
    let seconds = east.abs();
    two(seconds / 3600, out);
    if seconds % 3600 != 0 {
        put(b":", out);
        two(seconds / 60 % 60, out);
    }
    if seconds % 60 != 0 {
        put(b":", out);
        two(seconds % 60, out);
    }
}
