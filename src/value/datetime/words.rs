//! The words of dates, and what they mean whatever the settings.

/// What a word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Month(i64),
    Weekday,
    /// `am`, `pm`
    Half(Half),
    /// `ad`, `bc`: true for the latter.
    Era(bool),
    /// `at`, `on`
    Ignored,
    /// `t`: a time follows.
    Time,
    /// `allballs`: 00:00:00 UTC
    Midnight,
    Infinity,
    NegativeInfinity,
    Epoch,
    /// Zones whose meaning no setting changes.
    Utc,
    Unread(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Am,
    Pm,
}

const CLOCK: Word = Word::Unread("it depends on the clock; give the date itself");
const UNIT: Word = Word::Unread("units and Julian days aren't read");

/// Words that are part of the grammar whatever the settings; in PostgreSQL's own table, which the splitting depends on.
pub(super) fn keyword(word: &str) -> Option<Word> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if let Some(index) = MONTHS
        .iter()
        .position(|month| *month == word || word.len() == 3 && month.starts_with(word))
    {
        return Some(Word::Month(index as i64 + 1));
    }
    Some(match word {
        "sept" => Word::Month(9),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => Word::Weekday,
        "am" => Word::Half(Half::Am),
        "pm" => Word::Half(Half::Pm),
        "ad" => Word::Era(false),
        "bc" => Word::Era(true),
        "at" | "on" => Word::Ignored,
        "t" => Word::Time,
        "allballs" => Word::Midnight,
        "infinity" => Word::Infinity,
        "-infinity" => Word::NegativeInfinity,
        "epoch" => Word::Epoch,
        "now" | "today" | "tomorrow" | "yesterday" => CLOCK,
        "d" | "dow" | "doy" | "h" | "isodow" | "isoyear" | "j" | "jd" | "julian" | "m" | "mm" | "s" | "y" => UNIT,
        "dst" => Word::Unread("daylight-saving modifiers aren't read"),
        _ => return None,
    })
}

pub(super) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}
