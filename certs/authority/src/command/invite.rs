//! `gen-certs invite`: prints one invitation code, and nothing else, on standard output.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use souk_certs::identity::Role;
use time::{Duration, OffsetDateTime};

use crate::invitation::book::{MAX_VALIDITY, MIN_VALIDITY, NewInvitation};
use crate::pki::Pki;

/// Validity of an invitation, unless another is given.
const VALIDITY: &str = "24h";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gen-certs invite seller alice\n  seller join \"$(gen-certs invite seller alice)\"\n  gen-certs invite market m1 --expires 1h"
)]
pub(super) struct Args {
    /// Role of the party: seller, buyer, operator or market
    role: Role,
    /// Name of the party; of a market, the name of its host
    name: String,
    /// How long the code is valid: minutes, hours or days, from 5m to 7d
    #[arg(long, default_value = VALIDITY, value_parser = validity, value_name = "TIME")]
    expires: Duration,
    /// Invite a party that exists to get another certificate for the same identity; its open invitation is
    /// cancelled
    #[arg(long)]
    again: bool,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut pki = Pki::open(dir)?;
        let new = NewInvitation {
            role: self.role,
            name: self.name.clone(),
            again: self.again,
            validity: self.expires,
        };
        let (code, expires) = pki.invite(new, now)?;
        // On standard output alone, so that "$(gen-certs invite …)" is the code.
        writeln!(out, "{}", code.reveal())?;
        out.flush()?;
        let until = expires.replace_nanosecond(0).unwrap_or(expires);
        souk_stdio::errln!(
            "for one use by the {} {}, until {until}; anybody who has the code gets the certificate",
            self.role,
            self.name
        );
        Ok(())
    }
}

/// Parses a time such as `90m`, `24h` or `7d`.
fn validity(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let of_one = match unit {
        "m" => Duration::MINUTE,
        "h" => Duration::HOUR,
        "d" => Duration::DAY,
        _ => bail!("write minutes, hours or days, such as 90m, 24h or 7d"),
    };
    let number: i32 = number.parse()?;
    let validity =
        of_one.checked_mul(number).filter(|validity| (MIN_VALIDITY..=MAX_VALIDITY).contains(validity));
    validity.ok_or_else(|| anyhow::anyhow!("an invitation is valid from 5m to 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_from_five_minutes_to_seven_days() {
        for (text, expected) in [("5m", MIN_VALIDITY), ("24h", Duration::DAY), ("7d", MAX_VALIDITY)] {
            assert_eq!(validity(text).unwrap(), expected);
        }
        for text in ["", "m", "4m", "8d", "-1h", "5", "5s", "5 m", "999999999d", "5é"] {
            assert!(validity(text).is_err(), "accepted {text:?}");
        }
    }
}
