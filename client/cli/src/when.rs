//! Times as people read them: relative, in the local time zone, or in UTC.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How tables and cards show times. CSV and JSON always have UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeStyle {
    /// In UTC: 2026-11-25T08:12:03Z.
    Utc,
    /// In the local time zone: 2026-11-25 09:12.
    Local,
    /// By distance: 2 h ago. From a week on, the local date.
    #[default]
    Relative,
}

/// A time of the contract, to the second. In JSON, it is text in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(OffsetDateTime);

impl When {
    /// Converts a time of the contract; `None` if there is none.
    pub fn of(time: Option<&souk_proto::Timestamp>) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(time?.seconds).ok().map(Self)
    }

    /// Parses what [`rfc3339`](Self::rfc3339) has formatted.
    pub(super) fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self)
    }

    /// Formats the time in RFC 3339, in UTC.
    pub fn rfc3339(self) -> String {
        // Fails only for years that a timestamp of the contract can't have.
        self.0.format(&Rfc3339).unwrap_or_default()
    }
}

impl From<OffsetDateTime> for When {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.replace_nanosecond(0).unwrap_or(time))
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// From this distance on, a date says more.
const FAR: i64 = 7 * DAY;
/// Below this distance, the clocks of market and reader differ about as much.
const NEAR: i64 = 10;

/// Formats times in one style.
#[derive(Clone, Debug)]
pub(super) struct Times {
    style: TimeStyle,
    zone: TimeZone,
    now: OffsetDateTime,
}

impl Times {
    /// Formats in the system's time zone.
    pub(super) fn new(style: TimeStyle, now: OffsetDateTime) -> Self {
        Self { style, zone: TimeZone::system(), now }
    }

    /// Formats a time for a table.
    pub(super) fn short(&self, when: When) -> String {
        match self.style {
            TimeStyle::Utc => when.rfc3339(),
            TimeStyle::Local => self.local(when, "%Y-%m-%d %H:%M"),
            TimeStyle::Relative => self.distance(when).unwrap_or_else(|| self.local(when, "%Y-%m-%d")),
        }
    }

    /// Formats the time of day, for a line that stays while time goes on.
    pub(super) fn of_day(&self, when: When) -> String {
        match self.style {
            TimeStyle::Utc => when.rfc3339(),
            TimeStyle::Local | TimeStyle::Relative => self.local(when, "%H:%M:%S"),
        }
    }

    /// Formats a time for a card, which has room for all of it.
    pub(super) fn full(&self, when: When) -> String {
        let local = || self.local(when, "%Y-%m-%d %H:%M:%S %:z");
        match (self.style, self.distance(when)) {
            (TimeStyle::Utc, _) => when.rfc3339(),
            (TimeStyle::Relative, Some(distance)) => format!("{} ({distance})", local()),
            (TimeStyle::Local | TimeStyle::Relative, _) => local(),
        }
    }

    fn local(&self, when: When, format: &str) -> String {
        match Timestamp::from_second(when.0.unix_timestamp()) {
            Ok(time) => time.to_zoned_datetime(self.zone.clone()).strftime(format).to_string(),
            Err(_) => when.rfc3339(),
        }
    }

    /// Returns how long ago or ahead a time is; `None` if it is far away.
    fn distance(&self, when: When) -> Option<String> {
        let seconds = (self.now - when.0).whole_seconds();
        let amount = match seconds.abs() {
            ..NEAR => return Some("just now".to_owned()),
            away @ ..MINUTE => format!("{away} s"),
            away @ ..HOUR => format!("{} min", away / MINUTE),
            away @ ..DAY => format!("{} h", away / HOUR),
            away @ ..FAR => format!("{} d", away / DAY),
            _ => return None,
        };
        Some(if seconds < 0 { format!("in {amount}") } else { format!("{amount} ago") })
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

    fn times(style: TimeStyle) -> Times {
        // As POSIX writes it, one hour east of Greenwich.
        let zone = TimeZone::posix("CET-1").unwrap();
        Times { style, zone, now: NOW }
    }

    #[test]
    fn relative_times_become_dates_after_a_week() {
        let times = times(TimeStyle::Relative);
        let ago = |duration| times.short(When::from(NOW - duration));
        for (duration, words) in [
            (Duration::seconds(3), "just now"),
            (Duration::seconds(-3), "just now"),
            (Duration::seconds(59), "59 s ago"),
            (Duration::seconds(3_599), "59 min ago"),
            (Duration::hours(2), "2 h ago"),
            (Duration::hours(49), "2 d ago"),
            (Duration::minutes(-5), "in 5 min"),
            (Duration::days(7), "2026-11-18"),
            (Duration::days(-400), "2027-12-30"),
        ] {
            assert_eq!(ago(duration), words);
        }
        assert_eq!(times.full(When::from(NOW - Duration::hours(2))), "2026-11-25 11:00:00 +01:00 (2 h ago)");
        assert_eq!(times.full(When::from(NOW - Duration::days(9))), "2026-11-16 13:00:00 +01:00");
    }

    #[test]
    fn local_times_have_the_zone_of_the_reader_and_utc_none() {
        let when = When::from(datetime!(2026-11-24 23:30:05 UTC));
        assert_eq!(times(TimeStyle::Local).short(when), "2026-11-25 00:30");
        assert_eq!(times(TimeStyle::Local).full(when), "2026-11-25 00:30:05 +01:00");
        assert_eq!(times(TimeStyle::Relative).of_day(when), "00:30:05");
        assert_eq!(times(TimeStyle::Utc).short(when), "2026-11-24T23:30:05Z");
        assert_eq!(times(TimeStyle::Utc).full(when), "2026-11-24T23:30:05Z");
        assert_eq!(When::parse("2026-11-24T23:30:05Z"), Some(when));
    }
}
