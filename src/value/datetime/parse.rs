//! Dates and times from text, by the rules of PostgreSQL's appendix B.1: first the text falls into fields by their first
//! characters, then each field finds its place among those already known, in the order that `DateStyle` asks for.

use super::fields::{Fields, Kind, MAX_LENGTH};
use super::words::{Half, Word, keyword};
use super::{MICROS_PER_SECOND, Order, calendar, zone};
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// invalid_datetime_format
    Format,
    /// datetime_field_overflow
    Field,
    /// invalid_time_zone_displacement_value
    Displacement,
    /// A zone that doesn't exist.
    ZoneName,
    /// A form that PostgreSQL may read and pgward doesn't.
    Refused(&'static str),
}

/// What a text says.
pub(super) enum Moment {
    Infinity,
    NegativeInfinity,
    Epoch,
    Civil(Civil),
}

/// A calendar date with a time of day and perhaps a zone.
pub(super) struct Civil {
    year: i64,
    month: i64,
    of_month: i64,
    /// Since midnight; 24:00:00 is allowed.
    pub(super) micros: i64,
    pub(super) zone: Option<Zone>,
}

impl Civil {
    /// Days since 2000-01-01; `None` where the calendar functions of the server end.
    pub(super) fn day(&self) -> Option<i64> {
        let (year, month) = (self.year, self.month);
        let known = (year, month) >= (-4713, 11) && (year, month) < (5_874_898, 6);
        known.then(|| calendar::day_of(year, month, self.of_month))
    }
}

/// A time zone in a text.
pub(super) enum Zone {
    /// Seconds east of UTC.
    Offset(i64),
    Named(TimeZone),
}

pub(super) fn parse(text: &[u8], order: Order) -> Result<Moment, Fault> {
    if text.len() > MAX_LENGTH {
        return Err(Fault::Refused("it is too long"));
    }
    let mut fields = Fields::default();
    fields.split(text)?;
    let mut reader = Reader::new(order);
    for index in 0..fields.count {
        let next = fields.kind(index + 1);
        match reader.field(fields.kind(index), fields.text(index), next) {
            Err(Fault::Refused(_)) if !fields.may_be_a_date() => return Err(Fault::Format),
            result => result?,
        }
    }
    reader.finish()
}

const YEAR: u16 = 1;
const MONTH: u16 = 2;
const DAY: u16 = 4;
const YEAR_MONTH: u16 = YEAR | MONTH;
const MONTH_DAY: u16 = MONTH | DAY;
const DATE: u16 = YEAR | MONTH | DAY;
const DAY_OF_YEAR: u16 = 8;
const TIME: u16 = 16;
const ZONE: u16 = 32;
const WEEKDAY: u16 = 64;
const HALF: u16 = 128;
const ERA: u16 = 256;
/// `infinity`, `epoch`: whatever else stands there counts for nothing, but must be well formed.
const SPECIAL: u16 = 512;

/// What is known so far.
struct Reader {
    order: Order,
    /// Which of the parts are known.
    known: u16,
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    fraction: i64,
    /// The month came as a word, so a number can't be it.
    month_is_word: bool,
    /// The year came with one or two digits: 1970 to 2069.
    short_year: bool,
    before_christ: bool,
    half: Option<Half>,
    zone: Option<Zone>,
    special: Option<Moment>,
    /// A `t` came before: this field is the time.
    time_follows: bool,
}

impl Reader {
    fn new(order: Order) -> Self {
        Self {
            order,
            known: 0,
            year: 0,
            month: 0,
            day: 0,
            day_of_year: 0,
            hour: 0,
            minute: 0,
            second: 0,
            fraction: 0,
            month_is_word: false,
            short_year: false,
            before_christ: false,
            half: None,
            zone: None,
            special: None,
            time_follows: false,
        }
    }

    fn has(&self, parts: u16) -> bool {
        self.known & parts == parts
    }

    fn field(&mut self, kind: Kind, text: &str, next: Kind) -> Result<(), Fault> {
        let parts = match kind {
            Kind::Date if self.time_follows || self.has(MONTH_DAY) => self.zone_or_run_together(text)?,
            Kind::Date => self.date(text)?,
            Kind::Time => {
                self.time_follows = false;
                self.time(text)?
            }
            Kind::Offset => {
                self.zone = Some(Zone::Offset(offset(text)?));
                ZONE
            }
            Kind::Number if self.time_follows => {
                self.time_follows = false;
                self.special = None;
                let parts = self.run_together(text, self.known | DATE)?;
                if parts != TIME {
                    return Err(Fault::Format);
                }
                parts
            }
            Kind::Number => self.number_field(text)?,
            Kind::Word | Kind::Signed => match self.word(text, next)? {
                Some(parts) => parts,
                None => return Ok(()),
            },
            Kind::None => return Err(Fault::Format),
        };
        self.learn(parts)
    }

    fn learn(&mut self, parts: u16) -> Result<(), Fault> {
        if self.known & parts != 0 {
            return Err(Fault::Format);
        }
        self.known |= parts;
        Ok(())
    }

    /// A field with separators where the date is known already: `America/New_York`, or `103000-08` after a `t`.
    fn zone_or_run_together(&mut self, text: &str) -> Result<u16, Fault> {
        if self.time_follows || text.starts_with(|c: char| c.is_ascii_digit()) {
            self.time_follows = false;
            if self.has(TIME) {
                return Err(Fault::Format);
            }
            let at = text.find('-').ok_or(Fault::Format)?;
            let (time, zone) = text.split_at(at);
            self.zone = Some(Zone::Offset(offset(zone)?));
            return Ok(self.run_together(time, self.known)? | ZONE);
        }
        match zone::lookup(text) {
            Some(zone) => self.zone = Some(Zone::Named(zone)),
            // The server also takes POSIX rules here, and whatever files its own database has.
            None if text.contains(|c: char| !c.is_ascii_alphabetic() && !matches!(c, '/' | '_'))
                || text.starts_with("posix")
                || text.starts_with("right") =>
            {
                return Err(Fault::Refused("its time zone isn't known"));
            }
            None => return Err(Fault::ZoneName),
        }
        Ok(ZONE)
    }

    /// A date with separators. Text in it is the month.
    fn date(&mut self, text: &str) -> Result<u16, Fault> {
        let before = self.known;
        let mut parts = 0;
        self.month_is_word = false; // only a word within counts
        if pieces(text).any(str::is_empty) {
            return Err(Fault::Format);
        }
        for piece in pieces(text).filter(|piece| !is_number(piece)) {
            match keyword(piece) {
                Some(Word::Month(month)) => {
                    self.month = month;
                    self.month_is_word = true;
                    self.learn(MONTH)?;
                    parts |= MONTH;
                }
                Some(Word::Ignored) => {}
                _ => return Err(Fault::Format),
            }
        }
        for piece in pieces(text).filter(|piece| is_number(piece)) {
            let part = self.number(piece)?;
            self.learn(part)?;
            parts |= part;
        }
        if self.known & !(DAY_OF_YEAR | ZONE) != DATE {
            return Err(Fault::Format);
        }
        self.known = before; // the caller learns the parts
        Ok(parts)
    }

    fn number_field(&mut self, text: &str) -> Result<u16, Fault> {
        match text.find('.') {
            Some(_) if self.known & DATE == 0 => self.date(text),
            Some(at) if at > 2 => self.run_together(text, self.known),
            _ if text.len() >= 6 && (self.known & DATE == 0 || self.known & TIME == 0) => {
                self.run_together(text, self.known)
            }
            _ => self.number(text),
        }
    }

    /// One number: where it goes follows from what is known, and at first from the order.
    fn number(&mut self, text: &str) -> Result<u16, Fault> {
        if text.starts_with('.') {
            return Err(Fault::Format);
        }
        if let Some(at) = text.find('.') {
            if at > 2 {
                return self.run_together(text, self.known | DATE);
            }
            return Err(Fault::Refused("a number with a fraction stands where none is expected"));
        }
        let value = small(text).ok_or(Fault::Field)?;
        let length = text.len();
        if length == 3 && self.known & DATE == YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(DAY_OF_YEAR | MONTH | DAY);
        }
        let looks_like_year = length >= 3 || self.order == Order::Ymd;
        let part = match self.known & DATE {
            0 if looks_like_year => YEAR,
            0 if self.order == Order::Dmy => DAY,
            0 => MONTH,
            YEAR | DAY => MONTH,
            MONTH if self.month_is_word && looks_like_year => YEAR,
            MONTH => DAY,
            YEAR_MONTH => {
                if self.month_is_word && length >= 3 && self.short_year {
                    // The first number was the day after all: 08 January 1999 in the order YMD.
                    self.day = self.year;
                    self.year = value;
                    self.short_year = false;
                    return Ok(DAY);
                }
                DAY
            }
            MONTH_DAY => YEAR,
            DATE => return self.run_together(text, self.known),
            _ => return Err(Fault::Format),
        };
        match part {
            YEAR => {
                self.year = value;
                self.short_year = length <= 2;
            }
            MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(part)
    }

    /// `yyyymmdd`, `yymmdd`, `hhmmss`, `hhmm`.
    fn run_together(&mut self, text: &str, known: u16) -> Result<u16, Fault> {
        let digits = match text.split_once('.') {
            Some((_, fraction)) if fraction.contains('.') => return Err(Fault::Format),
            Some((digits, fraction)) => {
                self.fraction = micros_of(fraction);
                digits
            }
            None => text,
        };
        if !is_number(digits) {
            return Err(Fault::Format);
        }
        let pair = |from_end: usize| {
            let end = digits.len() - from_end;
            small(&digits[end - 2..end]).ok_or(Fault::Format)
        };
        if digits.len() == text.len() && known & DATE != DATE && digits.len() >= 6 {
            self.day = pair(0)?;
            self.month = pair(2)?;
            let year = &digits[..digits.len() - 4];
            self.year = small(year).ok_or(Fault::Refused("its year has too many digits"))?;
            if year.len() == 2 {
                self.short_year = true;
            }
            return Ok(DATE);
        }
        if known & TIME == 0 {
            (self.hour, self.minute, self.second) = match digits.len() {
                6 => (pair(4)?, pair(2)?, pair(0)?),
                4 => (pair(2)?, pair(0)?, 0),
                _ => return Err(Fault::Format),
            };
            if self.hour > 23 || self.minute > 59 || self.second > 59 {
                return Err(Fault::Refused("a field of its time is out of range"));
            }
            return Ok(TIME);
        }
        Err(Fault::Format)
    }

    /// `hh:mm`, `hh:mm:ss.ffffff`, `mm:ss.ffffff`.
    fn time(&mut self, text: &str) -> Result<u16, Fault> {
        let number = |text: &str| match text {
            "" => Ok(0),
            text if is_number(text) => small(text).ok_or(Fault::Field),
            _ => Err(Fault::Format),
        };
        let (clock, fraction) = match text.split_once('.') {
            Some((clock, fraction)) => (clock, Some(fraction)),
            None => (text, None),
        };
        if fraction.is_some_and(|fraction| !fraction.is_empty() && !is_number(fraction)) {
            return Err(Fault::Format);
        }
        self.fraction = fraction.map_or(0, micros_of);
        let mut pieces = clock.split(':');
        let (first, second, third) = (pieces.next().unwrap_or(""), pieces.next(), pieces.next());
        if pieces.next().is_some() {
            return Err(Fault::Format);
        }
        let (first, second) = (number(first)?, number(second.unwrap_or(""))?);
        (self.hour, self.minute, self.second) = match (third, fraction) {
            (Some(third), _) => (first, second, number(third)?),
            (None, Some(_)) => (0, first, second),
            (None, None) => (first, second, 0),
        };
        let whole = (self.hour * 60 + self.minute) * 60 + self.second;
        let too_much = self.hour > 24
            || self.minute > 59
            || self.second > 60
            || self.fraction > MICROS_PER_SECOND
            || whole * MICROS_PER_SECOND + self.fraction > super::MICROS_PER_DAY;
        if too_much {
            return Err(Fault::Field);
        }
        Ok(TIME)
    }

    /// Returns the parts that it gives; `None` for a word that gives none.
    fn word(&mut self, text: &str, next: Kind) -> Result<Option<u16>, Fault> {
        let word = match keyword(text) {
            Some(word) => word,
            None => self.unknown_word(text)?,
        };
        Ok(Some(match word {
            Word::Month(month) => {
                let mut part = MONTH;
                if self.has(MONTH) && !self.month_is_word && !self.has(DAY) && (1..=31).contains(&self.month) {
                    // The number that was taken for the month is the day: 08 January.
                    self.day = self.month;
                    part = DAY;
                }
                self.month_is_word = true;
                self.month = month;
                part
            }
            Word::Weekday => WEEKDAY,
            Word::Half(half) => {
                self.half = Some(half);
                HALF
            }
            Word::Era(before_christ) => {
                self.before_christ = before_christ;
                ERA
            }
            Word::Ignored => return Ok(None),
            Word::Time => {
                let sensible =
                    self.has(DATE) && matches!(next, Kind::Number | Kind::Time | Kind::Date) && !self.time_follows;
                if !sensible {
                    return Err(Fault::Format);
                }
                self.time_follows = true;
                return Ok(None);
            }
            Word::Midnight => {
                (self.hour, self.minute, self.second, self.fraction) = (0, 0, 0, 0);
                self.zone = Some(Zone::Offset(0));
                self.special = None;
                TIME | ZONE
            }
            Word::Infinity => {
                self.special = Some(Moment::Infinity);
                SPECIAL
            }
            Word::NegativeInfinity => {
                self.special = Some(Moment::NegativeInfinity);
                SPECIAL
            }
            Word::Epoch => {
                self.special = Some(Moment::Epoch);
                SPECIAL
            }
            Word::Utc => {
                if !matches!(self.zone, Some(Zone::Named(_))) {
                    self.zone = Some(Zone::Offset(0));
                }
                ZONE
            }
            Word::Unread(why) => return Err(Fault::Refused(why)),
        }))
    }

    /// Neither of the grammar: a zone's name or abbreviation, or nothing.
    fn unknown_word(&mut self, text: &str) -> Result<Word, Fault> {
        if matches!(text, "z" | "utc" | "gmt" | "zulu" | "uct" | "ut") {
            return Ok(Word::Utc);
        }
        if text.starts_with(['+', '-']) {
            return Err(Fault::Format);
        }
        if text.len() < 6 {
            // No abbreviation that PostgreSQL comes with is longer.
            return Err(Fault::Refused(
                "it holds a word that may be a time zone abbreviation; give the offset from UTC",
            ));
        }
        match zone::lookup(text) {
            Some(zone) => {
                self.zone = Some(Zone::Named(zone));
                Ok(Word::Utc)
            }
            None if matches!(text, "localtime" | "factory" | "posixrules") => {
                Err(Fault::Refused("its time zone isn't known"))
            }
            None => Err(Fault::Format),
        }
    }

    fn finish(mut self) -> Result<Moment, Fault> {
        if let Some(special) = self.special {
            return Ok(special);
        }
        if self.has(YEAR) {
            if self.before_christ {
                if self.year <= 0 {
                    return Err(Fault::Field);
                }
                self.year = 1 - self.year;
            } else if self.short_year {
                self.year += match self.year {
                    ..70 => 2000,
                    70..100 => 1900,
                    _ => 0,
                };
            } else if self.year <= 0 {
                return Err(Fault::Field);
            }
        }
        if self.has(DAY_OF_YEAR) {
            let day = calendar::day_of(self.year, 1, 1) + self.day_of_year - 1;
            (self.year, self.month, self.day) = calendar::date_of(day);
        }
        if self.has(MONTH) && !(1..=12).contains(&self.month) || self.has(DAY) && !(1..=31).contains(&self.day) {
            return Err(Fault::Field);
        }
        if self.has(DATE) && self.day > calendar::days_in_month(self.year, self.month) {
            return Err(Fault::Field);
        }
        match self.half {
            Some(_) if self.hour > 12 => return Err(Fault::Field),
            Some(Half::Am) if self.hour == 12 => self.hour = 0,
            Some(Half::Pm) if self.hour != 12 => self.hour += 12,
            _ => {}
        }
        if !self.has(DATE) {
            return Err(Fault::Format);
        }
        Ok(Moment::Civil(Civil {
            year: self.year,
            month: self.month,
            of_month: self.day,
            micros: ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.fraction,
            zone: self.zone,
        }))
    }
}

/// The runs of digits and of letters in a date. One byte after each is dropped whatever it is, as the server does; an empty run stands for
/// separators that nothing follows.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        Some(piece)
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number that the server's 32-bit `int` holds.
fn small(digits: &str) -> Option<i64> {
    digits.parse::<i32>().ok().map(i64::from)
}

/// The fraction of a second after a point, in the server's own floating-point arithmetic.
fn micros_of(digits: &str) -> i64 {
    let mut text = Zeroizing::new([b'0'; MAX_LENGTH + 2]);
    text[1] = b'.';
    let length = digits.len().min(MAX_LENGTH);
    text[2..2 + length].copy_from_slice(&digits.as_bytes()[..length]);
    let fraction: f64 = std::str::from_utf8(&text[..2 + length])
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    (fraction * MICROS_PER_SECOND as f64).round_ties_even() as i64
}

/// Seconds east of UTC: `+09`, `-0830`, `+05:45`, `-00:44:30`.
fn offset(text: &str) -> Result<i64, Fault> {
    let (negative, unsigned) = match text.split_at_checked(1) {
        Some(("+", rest)) => (false, rest),
        Some(("-", rest)) => (true, rest),
        _ => return Err(Fault::Format),
    };
    let number = |text: &str| match text {
        "" => Ok(0),
        text if is_number(text) => small(text).ok_or(Fault::Displacement),
        _ => Err(Fault::Format),
    };
    // Junk is found after a range error in the part before it.
    let junk = unsigned.find(|c: char| !c.is_ascii_digit() && c != ':');
    let mut pieces = unsigned[..junk.unwrap_or(unsigned.len())].splitn(3, ':');
    let (hours, minutes, seconds) = (pieces.next().unwrap_or(""), pieces.next(), pieces.next());
    let (seconds, more) = match seconds.and_then(|seconds| seconds.split_once(':')) {
        Some((seconds, _)) => (Some(seconds), true),
        None => (seconds, false),
    };
    let (hours, minutes, seconds) = match (minutes, junk) {
        (None, None) if unsigned.len() > 2 => {
            let together = number(hours)?;
            (together / 100, together % 100, 0)
        }
        _ => (
            number(hours)?,
            number(minutes.unwrap_or(""))?,
            number(seconds.unwrap_or(""))?,
        ),
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Fault::Displacement);
    }
    if junk.is_some() || more {
        return Err(Fault::Format);
    }
    let east = (hours * 60 + minutes) * 60 + seconds;
    Ok(if negative { -east } else { east })
}
