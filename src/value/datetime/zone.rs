//! Time zones by name, from the IANA database that is compiled in.
//!
//! Its release may be newer or older than the server's: for a zone whose rules changed between them, the text of a `timestamptz` then differs by
//! what changed. The stored moment doesn't.
//!
//! Beyond the years that the database's library covers, the calendar repeats every 400 years, and so do the rules of every zone.

use super::super::ValueError;
use super::{MICROS_PER_SECOND, UNIX_EPOCH_DAY};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use std::cell::RefCell;
use std::sync::LazyLock;

/// The compiled-in database: no file of the host changes what a value means.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
/// Seconds in 400 years.
const CYCLE: i64 = 146_097 * 86_400;
/// 9000-01-01, from where on years are looked up 400 earlier.
const COVERED: i64 = 221_845_392_000;

thread_local! {
    /// The zone of the last value: sessions change theirs seldom.
    static LAST: RefCell<Option<(String, TimeZone)>> = const { RefCell::new(None) };
}

/// The zone of a `TimeZone` setting, as the server reports it.
pub(super) fn session(name: &str) -> Result<TimeZone, ValueError> {
    LAST.with_borrow_mut(|last| match last {
        Some((known, zone)) if known == name => Ok(zone.clone()),
        _ => {
            let zone = lookup(name)
                .or_else(|| fixed(name))
                .ok_or_else(|| ValueError::refused("pgward doesn't know the session's time zone"))?;
            *last = Some((name.to_owned(), zone.clone()));
            Ok(zone)
        }
    })
}

/// A zone of the database, by its name in any case.
pub(super) fn lookup(name: &str) -> Option<TimeZone> {
    DATABASE.get(name).ok()
}

/// What `SET TIME ZONE INTERVAL '+09:00'` and `SET TIME ZONE 9` are reported as: `<+09>-09`, `<-03:30>+03:30`; and other POSIX rules
/// with a name in angle brackets.
fn fixed(name: &str) -> Option<TimeZone> {
    let (abbreviation, posix) = name.strip_prefix('<')?.split_once('>')?;
    let seconds = |text: &str| {
        let (sign, text) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let mut pieces = text.split(':').map(|piece| match piece.len() {
            2 => piece.parse::<u8>().ok().filter(|number| *number < 60).map(i32::from),
            _ => None,
        });
        let hours = pieces.next()??;
        let minutes = pieces.next().unwrap_or(Some(0))?;
        let seconds = pieces.next().unwrap_or(Some(0))?;
        (pieces.next().is_none() && hours < 24).then_some(sign * ((hours * 60 + minutes) * 60 + seconds))
    };
    match (seconds(abbreviation), seconds(posix)) {
        // POSIX counts westwards.
        (Some(east), Some(west)) if east == -west => {
            let zone = TimeZone::fixed(Offset::from_seconds(east).ok()?);
            let same_name = zone.to_offset_info(Timestamp::UNIX_EPOCH).abbreviation() == abbreviation;
            same_name.then_some(zone)
        }
        _ => TimeZone::posix(name).ok(),
    }
}

fn covered(unix_seconds: i64) -> (i64, i64) {
    let cycles = if unix_seconds < COVERED {
        0
    } else {
        (unix_seconds - COVERED) / CYCLE + 1
    };
    (unix_seconds - cycles * CYCLE, cycles * CYCLE)
}

fn timestamp(unix_seconds: i64) -> Timestamp {
    Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::MIN)
}

/// Seconds east of UTC at a moment, and what clocks there call it.
pub(super) fn with_offset_at<T>(zone: &TimeZone, unix_seconds: i64, then: impl FnOnce(i64, &str) -> T) -> T {
    let info = zone.to_offset_info(timestamp(covered(unix_seconds).0));
    then(info.offset().seconds().into(), info.abbreviation())
}

/// Seconds east of UTC at a local time. Like the server: in a gap by the clocks before it, in an overlap by those after it.
pub(super) fn offset_at_local(zone: &TimeZone, day: i64, micros_of_day: i64) -> i64 {
    let local = (day - i64::from(UNIX_EPOCH_DAY)) * 86_400 + micros_of_day / MICROS_PER_SECOND;
    let (local, _) = covered(local);
    // Offsets are shorter than a day and boundaries further apart than two, so only the next one after a day before can matter.
    let day_before = timestamp(local - 86_400);
    let before = i64::from(zone.to_offset(day_before).seconds());
    let Some(boundary) = zone.following(day_before).next() else {
        return before;
    };
    let (boundary, after) = (boundary.timestamp().as_second(), i64::from(boundary.offset().seconds()));
    let (if_before, if_after) = (local - before, local - after);
    if if_before < boundary && if_after < boundary {
        before
    } else if if_before > boundary && if_after >= boundary {
        after
    } else if if_before > if_after {
        before
    } else {
        after
    }
}
