//! The times in front of notifications: short, and in the user's time zone.

use jiff::{Timestamp, tz::TimeZone};
use time::OffsetDateTime;

/// Returns the local time in a zone, with the date unless it is today.
pub(super) fn short(moment: OffsetDateTime, now: OffsetDateTime, zone: &TimeZone) -> String {
    let local = |time: OffsetDateTime| {
        Timestamp::from_second(time.unix_timestamp()).map(|time| time.to_zoned_datetime(zone.clone()))
    };
    let (Ok(moment), Ok(now)) = (local(moment), local(now)) else { return "--:--".to_owned() };
    let format = if moment.date() == now.date() {
        "%H:%M"
    } else if moment.year() == now.year() {
        "%-d %b %H:%M"
    } else {
        "%-d %b %Y %H:%M"
    };
    moment.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn day_is_left_out_today_and_the_zone_is_the_readers() {
        let now = datetime!(2026-11-25 23:30 UTC);
        // As POSIX writes it, one hour east of Greenwich.
        let zone = TimeZone::posix("CET-1").unwrap();
        assert_eq!(short(datetime!(2026-11-25 23:05 UTC), now, &zone), "00:05");
        assert_eq!(short(datetime!(2026-11-25 22:05 UTC), now, &zone), "25 Nov 23:05");
        assert_eq!(short(datetime!(2025-01-02 08:09 UTC), now, &zone), "2 Jan 2025 09:09");
    }
}
