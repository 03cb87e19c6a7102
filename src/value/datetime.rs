//! `date`, `timestamp(p)`, `timestamp(p) with time zone`.
//!
//! Canonical form: days (4 bytes) or microseconds (8 bytes) since 2000-01-01, the smallest and the largest number for the infinities.
//! Text is read by the rules of PostgreSQL's appendix B.1 and printed in every `DateStyle`. Named zones come from the IANA database
//! that pgward brings along, not from the server's.
//!
//! Refused with `0A000`, never guessed: words that need a clock (`now`, `today`), zone abbreviations other than UTC's (their meaning
//! is a server setting that clients can't see), Julian days, units written as words, time zones that pgward doesn't know.

mod calendar;
mod fields;
mod parse;
mod print;
mod words;
mod zone;

#[cfg(test)]
mod tests;

use super::{Format, LogicalType, Plaintext, Reading, TextStyle, ValueError, input};
use crate::wire::sqlstate::SqlState;
use bytes::BytesMut;
use parse::{Fault, Moment};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// First and last-but-one timestamp: 4714-11-24 BC, 294277-01-01.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..TIMESTAMPS_END;
const TIMESTAMPS_END: i64 = 9_223_371_331_200_000_000;
/// First and last-but-one date: 4714-11-24 BC, 5874898-06-03.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
/// 1970-01-01 in days since 2000-01-01.
const UNIX_EPOCH_DAY: i32 = -10_957;

/// The order of day, month and year in input, and of day and month in output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ymd,
    Dmy,
    Mdy,
}

/// How dates are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Iso,
    Sql,
    Postgres,
    German,
}

/// A parsed `DateStyle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DateStyle {
    shape: Shape,
    order: Order,
}

impl DateStyle {
    fn of(style: &TextStyle) -> Result<Self, ValueError> {
        let parsed = style.date_style.split_once(',').and_then(|(shape, order)| {
            Some(Self {
                shape: match shape.trim() {
                    "ISO" => Shape::Iso,
                    "SQL" => Shape::Sql,
                    "Postgres" => Shape::Postgres,
                    "German" => Shape::German,
                    _ => return None,
                },
                order: match order.trim() {
                    "YMD" => Order::Ymd,
                    "DMY" => Order::Dmy,
                    "MDY" => Order::Mdy,
                    _ => return None,
                },
            })
        });
        parsed.ok_or_else(|| ValueError::refused("this DateStyle isn't known"))
    }
}

pub(super) fn decode(
    ty: LogicalType,
    reading: Reading,
    format: Format,
    bytes: &[u8],
    style: &TextStyle,
    out: &mut Plaintext,
) -> Result<(), ValueError> {
    if ty == LogicalType::Date {
        let day = match format {
            Format::Text => parse_date(bytes, style)?,
            Format::Binary => {
                let day = i32::from_be_bytes(input::exact(bytes)?);
                if !is_date(day) {
                    return Err(out_of_range("date"));
                }
                day
            }
        };
        input::append(out, &day.to_be_bytes());
        return Ok(());
    }
    let micros = match format {
        Format::Text => parse_timestamp(ty, bytes, style)?,
        Format::Binary => {
            let micros = i64::from_be_bytes(input::exact(bytes)?);
            if !matches!(micros, i64::MIN | i64::MAX) && !TIMESTAMPS.contains(&micros) {
                return Err(out_of_range("timestamp"));
            }
            micros
        }
    };
    let micros = match (ty, reading) {
        (LogicalType::Timestamp(Some(digits)) | LogicalType::Timestamptz(Some(digits)), Reading::Assignment) => {
            round(micros, digits)
        }
        _ => micros,
    };
    input::append(out, &micros.to_be_bytes());
    Ok(())
}

pub(super) fn encode(
    ty: LogicalType,
    format: Format,
    canonical: &[u8],
    style: &TextStyle,
    out: &mut BytesMut,
) -> Result<(), ValueError> {
    let corrupted = || ValueError::corrupted(ty);
    if ty == LogicalType::Date {
        let day = Some(i32::from_be_bytes(input::canonical(ty, canonical)?))
            .filter(|day| is_date(*day))
            .ok_or_else(corrupted)?;
        match format {
            Format::Binary => out.extend_from_slice(canonical),
            Format::Text => print::date(day, DateStyle::of(style)?, out),
        }
        return Ok(());
    }
    let micros = Some(i64::from_be_bytes(input::canonical(ty, canonical)?))
        .filter(|micros| is_stored_timestamp(*micros))
        .ok_or_else(corrupted)?;
    match (format, ty) {
        (Format::Binary, _) => out.extend_from_slice(canonical),
        (Format::Text, LogicalType::Timestamptz(_)) => {
            print::timestamptz(micros, DateStyle::of(style)?, &style.time_zone, out)?;
        }
        (Format::Text, _) => print::timestamp(micros, DateStyle::of(style)?, out),
    }
    Ok(())
}

/// The assignment cast: midnight of the day; the infinities stay.
pub(super) fn date_to_timestamp(canonical: &[u8], out: &mut Plaintext) -> Result<(), ValueError> {
    let day = i32::from_be_bytes(input::canonical(LogicalType::Date, canonical)?);
    let micros = match day {
        i32::MIN => i64::MIN,
        i32::MAX => i64::MAX,
        day => Some(i64::from(day))
            .and_then(|day| day.checked_mul(MICROS_PER_DAY))
            .filter(|micros| TIMESTAMPS.contains(micros))
            .ok_or_else(|| ValueError::new(SqlState::DATETIME_OVERFLOW, "date out of range for timestamp"))?,
    };
    input::append(out, &micros.to_be_bytes());
    Ok(())
}

/// Appends the first of January of the value's year, for a mask; `None` for the infinities and what lies before the first possible one.
pub(super) fn first_of_year(ty: LogicalType, canonical: &[u8], out: &mut Plaintext) -> Option<()> {
    let first = |day: i64| {
        let (year, ..) = calendar::date_of(day);
        Some(calendar::day_of(year, 1, 1)).filter(|first| *first >= DATES.start.into())
    };
    match ty {
        LogicalType::Date => {
            let day = Some(i32::from_be_bytes(canonical.try_into().ok()?)).filter(|day| DATES.contains(day))?;
            input::append(out, &i32::try_from(first(day.into())?).ok()?.to_be_bytes());
        }
        _ => {
            let micros =
                Some(i64::from_be_bytes(canonical.try_into().ok()?)).filter(|micros| TIMESTAMPS.contains(micros))?;
            let first = first(micros.div_euclid(MICROS_PER_DAY))? * MICROS_PER_DAY;
            input::append(out, &first.to_be_bytes());
        }
    }
    Some(())
}

fn is_date(day: i32) -> bool {
    matches!(day, i32::MIN | i32::MAX) || DATES.contains(&day)
}

/// Also just past the last one: rounding to a column's precision leads there, and the server stores it.
fn is_stored_timestamp(micros: i64) -> bool {
    matches!(micros, i64::MIN | i64::MAX | TIMESTAMPS_END) || TIMESTAMPS.contains(&micros)
}

#[cold]
fn out_of_range(what: &str) -> ValueError {
    ValueError::new(SqlState::DATETIME_OVERFLOW, format!("{what} out of range"))
}

fn parse_date(text: &[u8], style: &TextStyle) -> Result<i32, ValueError> {
    let moment = parse::parse(text, DateStyle::of(style)?.order).map_err(|fault| fault.of("date"))?;
    match moment {
        Moment::Infinity => Ok(i32::MAX),
        Moment::NegativeInfinity => Ok(i32::MIN),
        Moment::Epoch => Ok(UNIX_EPOCH_DAY),
        Moment::Civil(civil) => civil
            .day()
            .and_then(|day| i32::try_from(day).ok())
            .filter(|day| DATES.contains(day))
            .ok_or_else(|| out_of_range("date")),
    }
}

fn parse_timestamp(ty: LogicalType, text: &[u8], style: &TextStyle) -> Result<i64, ValueError> {
    let zoned = matches!(ty, LogicalType::Timestamptz(_));
    let type_name = if zoned { "timestamp with time zone" } else { "timestamp" };
    let moment = parse::parse(text, DateStyle::of(style)?.order).map_err(|fault| fault.of(type_name))?;
    let civil = match moment {
        Moment::Infinity => return Ok(i64::MAX),
        Moment::NegativeInfinity => return Ok(i64::MIN),
        Moment::Epoch => return Ok(i64::from(UNIX_EPOCH_DAY) * MICROS_PER_DAY),
        Moment::Civil(civil) => civil,
    };
    let day = civil.day().ok_or_else(|| out_of_range("timestamp"))?;
    let local = i128::from(day) * i128::from(MICROS_PER_DAY) + i128::from(civil.micros);
    let east = match civil.zone {
        _ if !zoned => 0,
        Some(parse::Zone::Offset(east)) => east,
        Some(parse::Zone::Named(zone)) => zone::offset_at_local(&zone, day, civil.micros),
        None => zone::offset_at_local(&zone::session(&style.time_zone)?, day, civil.micros),
    };
    i64::try_from(local - i128::from(east) * i128::from(MICROS_PER_SECOND))
        .ok()
        .filter(|micros| TIMESTAMPS.contains(micros))
        .ok_or_else(|| out_of_range("timestamp"))
}

/// Rounds to `digits` fractional digits of a second, half away from 2000-01-01, as the server does.
fn round(micros: i64, digits: u8) -> i64 {
    if matches!(micros, i64::MIN | i64::MAX) || digits >= 6 {
        return micros;
    }
    let unit = 10i64.pow(6 - u32::from(digits));
    let rounded = (micros.unsigned_abs() + unit.unsigned_abs() / 2) / unit.unsigned_abs() * unit.unsigned_abs();
    match i64::try_from(rounded) {
        Ok(rounded) if micros < 0 => -rounded,
        Ok(rounded) => rounded,
        Err(_) => micros,
    }
}

impl Fault {
    /// The error that the type's input function raises.
    fn of(self, type_name: &str) -> ValueError {
        match self {
            Fault::Format => ValueError::new(
                SqlState::INVALID_DATETIME_FORMAT,
                format!("invalid input syntax for type {type_name}"),
            ),
            Fault::Field => ValueError::new(SqlState::DATETIME_OVERFLOW, "date/time field value out of range"),
            Fault::Displacement => ValueError::new(SqlState(*b"22009"), "time zone displacement out of range"),
            Fault::ZoneName => ValueError::new(SqlState(*b"22023"), "time zone not recognized"),
            Fault::Refused(why) => ValueError::refused(format!("pgward doesn't read this {type_name}: {why}")),
        }
    }
}
