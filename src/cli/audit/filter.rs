//! Which records `pgward audit show` shows.

use crate::audit::{AuditAction, AuditDecision, Entry};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use std::str::FromStr;

/// All conditions that are given must hold; of a repeated one, any.
#[derive(clap::Args, Debug, Default)]
pub(super) struct Filter {
    /// Handler.
    #[arg(long, value_name = "NAME")]
    pub handler: Vec<String>,
    /// Table: `schema.table`, or the bare name in any schema.
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// Column; with --table, of that table.
    #[arg(long, value_name = "COLUMN")]
    pub column: Vec<String>,
    /// Data subject, by pseudonym.
    #[arg(long, value_name = "PSEUDONYM")]
    pub subject: Vec<String>,
    /// What was done: read, write, create, delete, search, export, ddl, connect, rights, key, lifecycle, log.
    #[arg(long, value_name = "ACTION", value_parser = word::<AuditAction>)]
    pub action: Vec<AuditAction>,
    /// What the policy said: allowed, masked, refused.
    #[arg(long, value_name = "DECISION", value_parser = word::<AuditDecision>)]
    pub decision: Vec<AuditDecision>,
    /// From this moment on: 2026-11-22T09:00:00+09:00, 2026-11-22 (UTC), or how long ago: 2h, 30m, 7d.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,
    /// Before this moment.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
}

/// A moment as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, Timestamp::now())
    }
}

impl Moment {
    pub(super) fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self(at));
        }
        if let Ok(date) = text.parse::<Date>() {
            return date
                .to_zoned(TimeZone::UTC)
                .map(|at| Self(at.timestamp()))
                .map_err(|e| e.to_string());
        }
        let ago: Span = text.parse().map_err(|_| {
            "not a moment: write 2026-11-22T09:00:00Z, 2026-11-22, or how long ago: 2h, 30m, 7d".to_owned()
        })?;
        now.to_zoned(TimeZone::UTC)
            .checked_sub(ago.abs())
            .map(|at| Self(at.timestamp()))
            .map_err(|e| e.to_string())
    }
}

/// Reads an enum by the word that stands in the journal, so that there is one spelling.
fn word<T: for<'de> serde::Deserialize<'de>>(text: &str) -> Result<T, String> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text)).map_err(|e| e.to_string())
}

impl Filter {
    /// Whether a record is to be shown.
    pub fn matches(&self, entry: &Entry) -> bool {
        let any = |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == found);
        let object = || {
            entry.objects.iter().any(|object| {
                let table = self.table.is_empty()
                    || self.table.iter().any(|wanted| match wanted.split_once('.') {
                        Some((schema, table)) => *object.schema == *schema && *object.table == *table,
                        None => *object.table == **wanted,
                    });
                table && any(&self.column, &object.column)
            })
        };
        any(&self.handler, &entry.handler)
            && (self.action.is_empty() || self.action.contains(&entry.action))
            && (self.decision.is_empty() || self.decision.contains(&entry.decision))
            && (self.subject.is_empty() || self.subject.iter().any(|wanted| entry.subjects.contains(wanted)))
            && ((self.table.is_empty() && self.column.is_empty()) || object())
            && self
                .since
                .is_none_or(|since| entry.ts_end.is_some_and(|at| at >= since.0))
            && self
                .until
                .is_none_or(|until| entry.ts_start.is_some_and(|at| at < until.0))
    }
}
