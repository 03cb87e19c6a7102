//! Retention classes of access records: how long a record must be kept, by the law behind it (docs/RECORDS.md).

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use std::fmt;
use std::str::FromStr;

/// How long access records are kept. Standards of Measures to Ensure Safety, article 8(1): at least one year, at least two from 50,000
/// subjects or with unique identifiers or sensitive data. Nothing shorter can be expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RetentionClass {
    /// `access-2y`, the default.
    #[default]
    Access2y,
    /// `access-1y`
    Access1y,
}

impl RetentionClass {
    /// As written in the policy and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access2y => "access-2y",
            Self::Access1y => "access-1y",
        }
    }

    /// Whole calendar years.
    fn years(self) -> i64 {
        match self {
            Self::Access2y => 2,
            Self::Access1y => 1,
        }
    }

    /// When a record of this moment (microseconds since the Unix epoch) expires: the same UTC date and time, years later (29 February: the 28th).
    /// A moment outside the calendar never expires.
    pub fn expires_at(self, micros: i64) -> i64 {
        Timestamp::from_microsecond(micros)
            .ok()
            .and_then(|at| at.to_zoned(TimeZone::UTC).checked_add(self.years().years()).ok())
            .map_or(i64::MAX, |at| at.timestamp().as_microsecond())
    }
}

impl fmt::Display for RetentionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RetentionClass {
    type Err = super::JournalError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "access-2y" => Ok(Self::Access2y),
            "access-1y" => Ok(Self::Access1y),
            other => Err(super::JournalError::new(format!(
                "retention class {other:?} is not one for access records; use \"access-2y\" or \"access-1y\" (less than a year is not lawful)"
            ))),
        }
    }
}
