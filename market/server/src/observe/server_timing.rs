//! The response header with the time that a call has taken (W3C Server Timing).

use std::time::Duration;

use http::HeaderValue;
use souk_proto::metadata::MARKET_TIME;

/// Enough bytes for the time of any call.
const BYTES: usize = 40;
/// Digits after the point.
const DECIMALS: usize = 3;

/// Returns the value of `server-timing` for a time, in milliseconds.
pub(super) fn server_timing(took: Duration) -> Option<HeaderValue> {
    // By integers and on the stack, because every answer has one: formatting a float takes several times as long.
    let mut micros = u64::try_from(took.as_micros()).ok()?;
    let mut text = [0; BYTES];
    let (mut at, mut digits) = (BYTES, 0);
    // From the end, with at least one digit before the point.
    while micros > 0 || digits <= DECIMALS {
        if digits == DECIMALS {
            at -= 1;
            text[at] = b'.';
        }
        at -= 1;
        text[at] = b'0' + u8::try_from(micros % 10).unwrap_or_default();
        micros /= 10;
        digits += 1;
    }
    let begin = at.checked_sub(MARKET_TIME.len())?;
    text[begin..at].copy_from_slice(MARKET_TIME.as_bytes());
    HeaderValue::from_bytes(&text[begin..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_with_three_decimals() {
        for (micros, text) in [
            (0, "market;dur=0.000"),
            (7, "market;dur=0.007"),
            (1_250, "market;dur=1.250"),
            (60_000_001, "market;dur=60000.001"),
            (u64::MAX, "market;dur=18446744073709551.615"),
        ] {
            assert_eq!(server_timing(Duration::from_micros(micros)).unwrap(), text);
        }
        assert_eq!(server_timing(Duration::MAX), None);
    }
}
