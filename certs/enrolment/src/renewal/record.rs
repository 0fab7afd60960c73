//! When a context was looked after, and how that went: `renewal.toml`. One-shot commands look at most once an hour, and
//! `doctor` shows the last result.

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use souk_certs::file::{self, Secrecy};
use souk_certs::identity::PeerCertificate;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::context::{Context, ContextError};

/// How often a program looks whether the certificate is due.
pub const LOOK_EVERY: Duration = Duration::hours(1);

/// The maximum size of the file in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What is known about earlier looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// When a program last looked whether to renew the certificate, whatever came of it.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<OffsetDateTime>,
    /// When the certificate was last renewed.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub renewed_at: Option<OffsetDateTime>,
    /// When the last attempt to renew it failed; unset by a success.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<OffsetDateTime>,
    /// Why it failed, or that it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the market or the authority was last asked for a newer trust bundle, whatever came of it.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub trust_at: Option<OffsetDateTime>,
    /// The certificate that the authority does not renew any more, whatever later attempts led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedCertificate>,
}

/// A certificate of which another attempt to renew it will not help: see
/// [`RenewalError::is_final`](super::RenewalError::is_final).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCertificate {
    /// Its thumbprint, in hex.
    pub thumbprint: String,
    /// Why the authority refuses to renew it.
    pub reason: String,
}

impl RefusedCertificate {
    pub(super) fn new(certificate: &PeerCertificate, reason: String) -> Self {
        Self { thumbprint: HEXLOWER.encode(certificate.thumbprint()), reason }
    }
}

impl Record {
    /// Reads the record of a context. One that is missing or damaged is empty: nothing depends on it but the frequency
    /// of looks.
    #[must_use]
    pub fn read(context: &Context) -> Self {
        file::read(&path(context), MAX_BYTES)
            .ok()
            .and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Writes the record. `unique` is a new id, for the name of a temporary file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, context: &Context, unique: Uuid) -> Result<(), ContextError> {
        let path = path(context);
        let text = toml::to_string(self)
            .map_err(|error| ContextError::Malformed { path: path.clone(), problem: error.to_string() })?;
        file::replace(&path, text.as_bytes(), Secrecy::Public, unique).map_err(|source| ContextError::Io {
            action: "write",
            path,
            source,
        })
    }

    /// Returns why the authority does not renew this certificate any more; `None` if an attempt may succeed.
    #[must_use]
    pub fn refusal_of(&self, certificate: &PeerCertificate) -> Option<&str> {
        let thumbprint = HEXLOWER.encode(certificate.thumbprint());
        let refused = self.refused.as_ref().filter(|refused| refused.thumbprint == thumbprint);
        refused.map(|refused| refused.reason.as_str())
    }

    /// Returns whether it is time to look again whether to renew the certificate. A clock that was set back does not
    /// keep a program from looking.
    #[must_use]
    pub fn is_time_to_look(&self, now: OffsetDateTime) -> bool {
        is_past(self.looked_at, now)
    }

    /// Returns whether it is time to ask for a newer trust bundle again.
    #[must_use]
    pub fn is_time_for_trust(&self, now: OffsetDateTime) -> bool {
        is_past(self.trust_at, now)
    }
}

fn is_past(last: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    last.is_none_or(|last| last > now || now - last >= LOOK_EVERY)
}

fn path(context: &Context) -> PathBuf {
    context.folder().join("renewal.toml")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_damaged_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        assert_eq!(Record::read(&context), Record::default());
        let record = Record {
            looked_at: Some(datetime!(2026-12-01 10:00 UTC)),
            error: Some("the authority was not reached".into()),
            trust_at: Some(datetime!(2026-12-01 09:00 UTC)),
            refused: Some(RefusedCertificate {
                thumbprint: "0f".into(),
                reason: "a copy was renewed".into(),
            }),
            ..Record::default()
        };
        record.write(&context, Uuid::nil()).unwrap();
        assert_eq!(Record::read(&context), record);
        std::fs::write(path(&context), "looked_at = 7").unwrap();
        assert_eq!(Record::read(&context), Record::default());
    }

    #[test]
    fn looks_are_an_hour_apart_whatever_the_clock_does() {
        let at = datetime!(2026-12-01 10:00 UTC);
        let record = Record { looked_at: Some(at), ..Record::default() };
        assert!(Record::default().is_time_to_look(at));
        assert!(!record.is_time_to_look(at + Duration::minutes(59)));
        assert!(record.is_time_to_look(at + LOOK_EVERY));
        assert!(record.is_time_to_look(at - Duration::seconds(1)));
    }
}
