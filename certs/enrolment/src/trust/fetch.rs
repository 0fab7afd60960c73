//! Asking the authority for the way to its present roots, on a connection that can't be verified because the roots have
//! changed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use souk_certs::client::anonymous_config;
use souk_certs::connector::{ConnectOptions, Dial, DialError, connect_once};
use souk_certs::identity::Identity;
use souk_certs::{ServerRule, TlsError};
use souk_proto::v1::{self, trust_service_client::TrustServiceClient};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::Instant;
use tonic::{Request, Status, transport::Channel};

use super::accept::{Accepted, Trusted};
use super::bundle::{BundleError, MAX_BUNDLE_BYTES, SignedBundle};
use super::walk::{MAX_WALK, WalkRefused, walk};

/// Maximum duration of all calls together.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of an answer: a bundle with its signatures, or several smaller ones.
pub const MAX_TRUST_MESSAGE_BYTES: usize = MAX_BUNDLE_BYTES + 64 * 1024;

/// Why the present roots could not be caught up with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The authority was not reached.
    #[error("the authority was not reached")]
    Unreached(#[from] DialError),
    /// The call failed or was refused.
    #[error("{}", .0.message())]
    Call(#[from] Status),
    /// What was received is not a bundle.
    #[error(transparent)]
    Malformed(#[from] BundleError),
    /// The bundles do not lead on from what is trusted.
    #[error(transparent)]
    Walk(#[from] WalkRefused),
    /// The server never reaches the end of its bundles.
    #[error("the server sends no end of trust bundles")]
    Endless,
    /// The TLS configuration can't be built.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Asks the authority for the way from the roots that are trusted to the present ones, after neither it nor a market could
/// be verified any more. The connection shows no certificate, and sends nothing but the sequence. `own_end` is the last
/// second of the program's own certificate.
///
/// # Errors
/// The authority is not reached, or [`walk`] refuses its answer.
pub async fn catch_up(
    authority: &Dial,
    trusted: &Trusted,
    own_end: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Accepted, FetchError> {
    let verifier = Arc::new(Unverified::default());
    let config = anonymous_config(Arc::clone(&verifier))?;
    let options = ConnectOptions { keep_alive_interval: None, ..ConnectOptions::default() };
    let (channel, _closed) =
        connect_once(authority, Identity::Authority, config, trusted.domain(), options).await?;
    let chain = chain(channel, trusted.sequence()).await?;
    let leaf = verifier.leaf.get().ok_or(WalkRefused::NotTheAuthority)?;
    Ok(walk(trusted, &chain, leaf, own_end, now)?)
}

/// Collects the bundles after a sequence, the oldest first.
async fn chain(channel: Channel, known: i64) -> Result<Vec<SignedBundle>, FetchError> {
    let mut client = TrustServiceClient::new(channel).max_decoding_message_size(MAX_TRUST_MESSAGE_BYTES);
    let deadline = Instant::now() + FETCH_TIMEOUT;
    let (mut known_sequence, mut chain) = (known, Vec::new());
    // Each answer has at least one bundle, and there is a bound on those that help.
    for _ in 0..=MAX_WALK + 1 {
        let mut request = Request::new(v1::GetTrustRequest { known_sequence });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let answer = client.get_trust(request).await?.into_inner();
        for bundle in answer.bundles {
            let signed = SignedBundle::try_from(bundle)?;
            known_sequence = known_sequence.max(signed.open()?.sequence);
            chain.push(signed);
        }
        if known_sequence >= answer.latest_sequence {
            return Ok(chain);
        }
    }
    Err(FetchError::Endless)
}

/// Accepts any certificate, and remembers it.
#[derive(Debug, Default)]
struct Unverified {
    leaf: OnceLock<CertificateDer<'static>>,
}

impl ServerRule for Unverified {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        _beside_leaf: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _now: UnixTime,
    ) -> Result<(), rustls::Error> {
        // Set once: there is one connection.
        let _ = self.leaf.set(leaf.clone().into_owned());
        Ok(())
    }
}
