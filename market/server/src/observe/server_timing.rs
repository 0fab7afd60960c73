//! The response header with the time that a call has taken (W3C Server Timing).

use std::{io::Write as _, time::Duration};

use http::HeaderValue;
use souk_proto::metadata::MARKET_TIME;

/// Enough bytes for the time of any call.
const BYTES: usize = 40;

/// Returns the value of `server-timing` for a time, in milliseconds.
pub(super) fn server_timing(took: Duration) -> Option<HeaderValue> {
    // By integers and on the stack, because every answer has one: formatting a float takes several times as long.
    let micros = u64::try_from(took.as_micros()).ok()?;
    let mut text = [0_u8; BYTES];
    let mut rest = &mut text[..];
    write!(rest, "{MARKET_TIME}{}.{:03}", micros / 1_000, micros % 1_000).ok()?;
    let length = BYTES - rest.len();
    HeaderValue::from_bytes(&text[..length]).ok()
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
