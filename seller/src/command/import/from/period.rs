//! The periods of sale prices.

use time::{
    Date, OffsetDateTime, PrimitiveDateTime,
    format_description::{BorrowedFormatItem, well_known::Iso8601},
    macros::format_description,
};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const DAY_AND_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
/// As Google writes it: `2026-11-24T11:07+0100`.
const MINUTE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute][offset_hour sign:mandatory][offset_minute]");
const SECOND: &[BorrowedFormatItem<'_>] = format_description!(
    "[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]"
);

/// Returns whether a sale has begun and not ended. An empty text is an open end. A day without a time is a day in UTC,
/// the last one included.
///
/// # Errors
/// Returns the text that can't be read as a time.
pub(super) fn is_on(begin: &str, end: &str, now: OffsetDateTime) -> Result<bool, String> {
    let has_begun = begin.is_empty() || time(begin, false)? <= now;
    let has_ended = !end.is_empty() && time(end, true)? <= now;
    Ok(has_begun && !has_ended)
}

fn time(text: &str, is_end: bool) -> Result<OffsetDateTime, String> {
    if let Ok(day) = Date::parse(text, DAY) {
        let day = if is_end { day.next_day().unwrap_or(day) } else { day };
        return Ok(day.midnight().assume_utc());
    }
    PrimitiveDateTime::parse(text, DAY_AND_TIME)
        .map(PrimitiveDateTime::assume_utc)
        .or_else(|_| OffsetDateTime::parse(text, MINUTE))
        .or_else(|_| OffsetDateTime::parse(text, SECOND))
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .map_err(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_sale_is_on_between_its_ends() {
        let now = datetime!(2026-11-30 12:00 UTC);
        for (begin, end, expected) in [
            ("", "", true),
            ("2026-11-30", "2026-11-30", true),
            ("2026-12-01", "", false),
            ("", "2026-11-29", false),
            ("2026-11-01 00:00:00", "2026-11-30 11:59:59", false),
            ("2026-11-24T11:07+0100", "2026-11-30T12:59+0100", false),
            ("2026-11-24T11:07+0100", "2026-11-30T13:01+0100", true),
            ("2026-11-24T11:07:30+0100", "2026-12-01T00:00:00Z", true),
        ] {
            assert_eq!(is_on(begin, end, now), Ok(expected), "{begin} to {end}");
        }
        assert_eq!(is_on("soon", "", now), Err("soon".to_owned()));
    }
}
