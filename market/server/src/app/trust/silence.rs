//! Why there is no news from the authority. Some reasons are transient; others need the operator, and are logged with what to
//! do.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rustls::AlertDescription;
use souk_certs::connector;
use souk_domain::Timestamp;
use souk_enrolment::{
    context::ContextError,
    renewal::RenewalError,
    trust::{BundleError, FetchError, Refused},
};
use souk_proto::Reason;
use tonic::Status;

/// How often a trouble that lasts is logged again.
const REPEAT: Duration = Duration::from_secs(3_600);

/// Why there is no news for the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    #[error("{} names no address of the authority; join again", .0.display())]
    NoAddress(PathBuf),
    #[error("the authority was not reached, or refused the call: {}", .0.message())]
    Call(#[from] Status),
    #[error("the authority did not answer in time")]
    Slow,
    #[error("the authority ended the stream")]
    Ended,
    #[error("the authority has sent no trust bundle yet")]
    Nothing,
    #[error("the roots have changed, and were caught up with")]
    CaughtUp,
    #[error("another process does not release the market's context")]
    Held,
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Update(#[from] RenewalError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("the bundle could not be taken: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A reason that needs the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// A bundle, or a list of it, is older than the one in use.
    Restored,
    /// There are two bundles of the same number.
    Forked,
    /// A bundle is not signed by a root that is trusted here, or of another trust domain.
    Foreign,
    /// A bundle was made in the future.
    Clock,
    /// A bundle is malformed.
    Malformed,
    /// The bundles of the authority do not lead on from the one in use.
    NotChained,
    /// The market's certificate was revoked.
    Revoked,
    /// The market's certificate has ended, or its root was retired.
    Expired,
    /// The authority does not accept the market's certificate for another reason.
    NotAccepted,
}

impl Trouble {
    /// Returns what the operator has to know; `None` if the reason is transient.
    pub(super) fn of(silence: &Silence) -> Option<Self> {
        match silence {
            Silence::Bundle(_) | Silence::Update(RenewalError::Bundle(_)) => Some(Self::Malformed),
            Silence::Update(RenewalError::Trust(refused)) => Some(Self::of_refused(refused)),
            Silence::Update(RenewalError::CatchUp(FetchError::Walk(_))) => Some(Self::NotChained),
            Silence::Call(status) | Silence::Update(RenewalError::CatchUp(FetchError::Call(status))) => {
                Self::of_status(status)
            }
            _ => None,
        }
    }

    fn of_refused(refused: &Refused) -> Self {
        match refused {
            Refused::Older { .. } | Refused::OlderList => Self::Restored,
            Refused::Forked { .. } => Self::Forked,
            Refused::Forged | Refused::OtherDomain { .. } => Self::Foreign,
            Refused::FromTheFuture { .. } => Self::Clock,
            _ => Self::Malformed,
        }
    }

    /// The authority refuses a certificate in the handshake or, on a connection that is older than the refusal, with a reason.
    fn of_status(status: &Status) -> Option<Self> {
        if let Some(rustls::Error::AlertReceived(alert)) = connector::tls_error(status) {
            return Some(match alert {
                AlertDescription::CertificateRevoked => Self::Revoked,
                AlertDescription::CertificateExpired => Self::Expired,
                AlertDescription::UnknownCA
                | AlertDescription::DecryptError
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown => Self::NotAccepted,
                _ => return None,
            });
        }
        match Reason::of(status)? {
            Reason::TrustNotChained => Some(Self::NotChained),
            Reason::CertificateRevoked => Some(Self::Revoked),
            Reason::CertificateExpired => Some(Self::Expired),
            Reason::CertificateRequired | Reason::RoleDenied => Some(Self::NotAccepted),
            _ => None,
        }
    }

    /// Returns whether a bundle was refused.
    pub(super) fn is_of_bundle(self) -> bool {
        matches!(self, Self::Restored | Self::Forked | Self::Foreign | Self::Clock | Self::Malformed)
    }

    /// Returns what to do. `folder` is that of the market's context.
    pub(super) fn advice(self, folder: &Path) -> String {
        let again = || {
            let folder = folder.display();
            format!(
                "run `gen-certs invite market NAME --again` on the authority's machine, and `market join CODE --dir {folder}` \
                 here"
            )
        };
        match self {
            Self::Restored => "if the authority was restored from a backup, run on its machine: gen-certs crl --at-least N, with \
                               N higher than every number that it has published before"
                .to_owned(),
            // The error says the rest.
            Self::Forked => "until then this market takes nothing from it".to_owned(),
            Self::Foreign => {
                "check that the addresses in context.toml lead to the authority that this market has joined".to_owned()
            }
            Self::Clock => "set the clocks of this machine and of the authority's".to_owned(),
            Self::Malformed => {
                "check that the market and the authority are of the same version; then report it".to_owned()
            }
            Self::NotChained => format!("this market has to join again: {}", again()),
            Self::Revoked => format!("if this market is to go on, {}", again()),
            Self::Expired => {
                format!("the market renews it by itself; if the log says that it can't, {}", again())
            }
            Self::NotAccepted => format!("if this is the right authority, {}", again()),
        }
    }
}

/// When each trouble was last logged.
#[derive(Debug, Default)]
pub(super) struct Reported(BTreeMap<Trouble, Timestamp>);

impl Reported {
    /// Returns whether a trouble is to be logged now: at once, and again after an hour.
    pub(super) fn is_due(&mut self, trouble: Trouble, now: Timestamp) -> bool {
        // A clock that was set back does not silence it.
        let is_due = self.0.get(&trouble).is_none_or(|at| now < *at || now >= at.plus(REPEAT));
        if is_due {
            self.0.insert(trouble, now);
        }
        is_due
    }

    /// Forgets all troubles, because there is news: the next one is logged at once.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, io};

    use souk_enrolment::trust::WalkRefused;
    use souk_proto::reason::DOMAIN;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn refusal(reason: Reason) -> Silence {
        let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
        Status::with_error_details(reason.code(), "refused", details).into()
    }

    fn alert(alert: AlertDescription) -> Silence {
        let tls = io::Error::other(rustls::Error::AlertReceived(alert));
        Status::from_error(Box::new(tls)).into()
    }

    #[test]
    fn refusals_that_need_the_operator_are_recognized() {
        let update = |refused: Refused| Silence::Update(refused.into());
        for (silence, expected) in [
            (refusal(Reason::TrustNotChained), Some(Trouble::NotChained)),
            (refusal(Reason::CertificateRevoked), Some(Trouble::Revoked)),
            (refusal(Reason::CertificateExpired), Some(Trouble::Expired)),
            (alert(AlertDescription::CertificateRevoked), Some(Trouble::Revoked)),
            (alert(AlertDescription::CertificateExpired), Some(Trouble::Expired)),
            (alert(AlertDescription::UnknownCA), Some(Trouble::NotAccepted)),
            (update(Refused::Older { offered: 4, in_use: 5 }), Some(Trouble::Restored)),
            (update(Refused::Forked { sequence: 5 }), Some(Trouble::Forked)),
            (update(Refused::Forged), Some(Trouble::Foreign)),
            (Silence::Bundle(BundleError::Malformed("sequence")), Some(Trouble::Malformed)),
            (Silence::Update(RenewalError::CatchUp(WalkRefused::TooLong.into())), Some(Trouble::NotChained)),
            (refusal(Reason::Overloaded), None),
            (refusal(Reason::Unavailable), None),
            (Status::unavailable("tcp connect error").into(), None),
            (alert(AlertDescription::InternalError), None),
            (Silence::Ended, None),
            (Silence::Held, None),
        ] {
            assert_eq!(Trouble::of(&silence), expected, "{silence}");
        }
    }

    #[test]
    fn lasting_trouble_is_logged_once_an_hour() {
        let mut reported = Reported::default();
        let at = |minutes: i64| Timestamp(minutes * 60 * 1_000_000);
        assert!(reported.is_due(Trouble::Restored, at(0)));
        assert!(!reported.is_due(Trouble::Restored, at(59)));
        assert!(reported.is_due(Trouble::Revoked, at(59)), "another one");
        assert!(reported.is_due(Trouble::Restored, at(60)));
        assert!(reported.is_due(Trouble::Restored, at(1)), "the clock was set back");
        reported.clear();
        assert!(reported.is_due(Trouble::Restored, at(1)));
    }

    #[test]
    fn every_trouble_has_advice() {
        for (trouble, part) in [
            (Trouble::Restored, "crl --at-least"),
            (Trouble::Forked, "until then"),
            (Trouble::Foreign, "context.toml"),
            (Trouble::Clock, "clocks"),
            (Trouble::Malformed, "version"),
            (Trouble::NotChained, "market join CODE --dir /srv/market"),
            (Trouble::Revoked, "--again"),
            (Trouble::Expired, "--again"),
            (Trouble::NotAccepted, "--again"),
        ] {
            let advice = trouble.advice(Path::new("/srv/market"));
            assert!(advice.contains(part), "{advice}");
        }
    }
}
