//! Renewing a certificate before it ends, and up to 30 days after.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use souk_certs::clock::Clock;
use souk_certs::credentials::Credentials;
use souk_certs::identity::{PeerCertificate, Role};
use souk_certs::pem;
use souk_certs::random::Random;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::record::{Record, RefusedCertificate};
use super::{RenewalError, described, trust};
use crate::context::{Context, Description, Generation, Locked};
use crate::join::{self, JoinError, Renewed};
use crate::key::PartyKey;
use crate::trust::keep::{take_addresses, with_bundle};
use crate::trust::{Accepted, Refused, SignedBundle, Trusted, accept, trusted_by};

/// How far the time of a renewal may be from two thirds of the certificate's life, as a part of that time. Certificates
/// that were issued together are thereby not renewed together.
const SPREAD: f64 = 0.1;

/// How long after a new root began to sign a market shows a certificate of it. In this time its clients get the trust
/// bundle with the root; the others find out from the authority.
pub const ROOT_SETTLES: Duration = Duration::days(1);

/// What a look at a certificate has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not due yet, or another process has renewed it meanwhile.
    NotDue,
    /// It was renewed; this is the new one.
    Renewed(PeerCertificate),
    /// Another process is changing the context.
    Busy,
}

/// Returns when two thirds of a certificate's life are over.
#[must_use]
pub fn nominal_due(certificate: &PeerCertificate) -> OffsetDateTime {
    certificate.not_before() + (certificate.not_after() - certificate.not_before()) * 2 / 3
}

/// Returns when a certificate is to be renewed: at two thirds of its life, ±10 %. Where in that range is fixed by the
/// certificate itself, so that every look comes to the same answer.
#[must_use]
pub fn due(certificate: &PeerCertificate) -> OffsetDateTime {
    let [first, second, ..] = *certificate.thumbprint();
    let place = f64::from(u16::from_be_bytes([first, second])) / f64::from(u16::MAX);
    let life = nominal_due(certificate) - certificate.not_before();
    certificate.not_before() + life * (1.0 - SPREAD + 2.0 * SPREAD * place)
}

/// How long the certificate that the authority has issued waits for another process to release the context.
const INSTALL_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// What is recorded until an attempt has ended, and stays if it never does.
const GIVEN_UP: &str = "the authority did not answer before the attempt was given up";

/// Renews the certificate of a context if it is [due], or another root signs now, and records how that went.
///
/// During a change of root, a party renews as soon as it knows the new root: the market has handed it over, so it accepts
/// certificates of it. A market waits for [`ROOT_SETTLES`], until its clients know the root as well. If the root of the
/// certificate is not trusted any more, nobody waits.
///
/// The context is locked while the key is made and while the certificate is installed, but not in between, so that news of
/// revocations do not wait for the authority. Another process that asks meanwhile does so with the same key, and the
/// authority answers with the same certificate; the second one finds it installed. The key of an attempt that failed is used
/// again by the next one, too: the authority may have issued a certificate for it.
///
/// # Errors
/// The certificate could not be renewed; it stays in use. If the market's roots have changed since the context was last
/// used, they are [caught up with](super::catch_up) first.
pub async fn renew(context: &Context, clock: Clock, random: Random) -> Result<Outcome, RenewalError> {
    renew_within(context, std::time::Duration::ZERO, clock, random).await
}

/// Like [`renew`], but waits at most `wait` for another process to release the context.
pub(super) async fn renew_within(
    context: &Context,
    wait: std::time::Duration,
    clock: Clock,
    random: Random,
) -> Result<Outcome, RenewalError> {
    let Some(locked) = context.lock_within(wait).await? else { return Ok(Outcome::Busy) };
    let description = described(context)?;
    let certificate = context.certificate(&description.trust_domain)?;
    if !look(&locked, &description, &certificate, clock.now(), random)? {
        return Ok(Outcome::NotDue);
    }
    let attempt = Attempt::begin(&locked, description, certificate.clone(), clock, random);
    drop(locked);
    let (key, answer) = match attempt {
        Ok(attempt) => {
            let answer = attempt.ask(context, clock, random).await;
            (Some(attempt.key), answer)
        }
        Err(error) => (None, Err(error)),
    };
    let Some(locked) = context.lock_within(INSTALL_WAIT).await? else { return Ok(Outcome::Busy) };
    // Another process was faster, or the party has joined again.
    if !is_in_use(context, &certificate)? {
        return Ok(Outcome::NotDue);
    }
    let renewed = match (key, answer) {
        (Some(key), Ok(Some(renewed))) => install(&locked, &renewed, &key, &certificate, clock, random),
        (_, Err(error)) => Err(error),
        (_, Ok(_)) => return Ok(Outcome::NotDue),
    };
    let now = clock.now();
    let record = Record::read(context);
    let record = match &renewed {
        Ok(_) => Record { renewed_at: Some(now), failed_at: None, error: None, refused: None, ..record },
        Err(error) => {
            let refused = error.is_final().then(|| RefusedCertificate::new(&certificate, error.to_string()));
            // It stays refused if the authority is not even reached the next time.
            let refused = refused.or_else(|| record.refused.clone());
            Record { failed_at: Some(now), error: Some(error.to_string()), refused, ..record }
        }
    };
    record.write(context, random.uuid_v4())?;
    renewed.map(Outcome::Renewed)
}

/// Returns whether the certificate is due, and records that somebody has looked. If it is due, the attempt counts as given
/// up until it ends: the caller may stop waiting, and the process may be killed.
fn look(
    locked: &Locked,
    description: &Description,
    certificate: &PeerCertificate,
    now: OffsetDateTime,
    random: Random,
) -> Result<bool, RenewalError> {
    let context = locked.context();
    let record = Record { looked_at: Some(now), ..Record::read(context) };
    record.write(context, random.uuid_v4())?;
    let is_due = now >= due(certificate)
        || match issuer(context, description)? {
            Issuer::Signing => false,
            Issuer::Retiring { since } => description.role() != Role::Market || now >= since + ROOT_SETTLES,
            Issuer::Untrusted => true,
        };
    if is_due {
        let begun = Record { failed_at: Some(now), error: Some(GIVEN_UP.to_owned()), ..record };
        begun.write(context, random.uuid_v4())?;
    }
    Ok(is_due)
}

/// Returns whether a certificate is still the one of the context.
fn is_in_use(context: &Context, certificate: &PeerCertificate) -> Result<bool, RenewalError> {
    let domain = described(context)?.trust_domain;
    Ok(context.certificate(&domain)?.thumbprint() == certificate.thumbprint())
}

/// What is sent to the authority. It was read together, so that the certificate is the one that is to be renewed.
struct Attempt {
    description: Description,
    certificate: PeerCertificate,
    credentials: Credentials,
    key: PartyKey,
}

impl Attempt {
    fn begin(
        locked: &Locked,
        description: Description,
        certificate: PeerCertificate,
        clock: Clock,
        random: Random,
    ) -> Result<Self, RenewalError> {
        let key = PartyKey::open_or_create(&locked.pending_key()?, random.uuid_v4())?;
        let credentials = loaded(locked.context(), &description, clock)?;
        Ok(Self { description, certificate, credentials, key })
    }

    /// Asks the authority, and once more if the roots have changed. Returns `None` if another process has renewed the
    /// certificate meanwhile.
    async fn ask(
        &self,
        context: &Context,
        clock: Clock,
        random: Random,
    ) -> Result<Option<Renewed>, RenewalError> {
        match ask(&self.description, &self.credentials, &self.key).await {
            Err(RenewalError::Authority(JoinError::Untrusted(_))) => {}
            answer => return answer.map(Some),
        }
        trust::catch_up(context, clock, random).await?;
        let description = described(context)?;
        let credentials = loaded(context, &description, clock)?;
        if credentials.identity().thumbprint() != self.certificate.thumbprint() {
            return Ok(None);
        }
        ask(&description, &credentials, &self.key).await.map(Some)
    }
}

fn loaded(context: &Context, description: &Description, clock: Clock) -> Result<Credentials, RenewalError> {
    let files = context.credential_files();
    Ok(Credentials::load_for_renewal(&files, &description.trust_domain, clock.now())?)
}

/// Asks the authority's addresses one after the other until one answers.
async fn ask(
    description: &Description,
    credentials: &Credentials,
    key: &PartyKey,
) -> Result<Renewed, RenewalError> {
    let mut last = RenewalError::NoAuthority;
    for authority in description.authorities() {
        match join::renew(authority, credentials, key).await.map_err(RenewalError::of_call) {
            Err(error @ RenewalError::Authority(JoinError::Unreached(_))) => last = error,
            renewed => return renewed,
        }
    }
    Err(last)
}

/// Puts a renewed certificate, its key and the bundle that came with it in place of those before, in one step: readers of
/// the generation before find it as long as there is only one after it.
fn install(
    locked: &Locked,
    renewed: &Renewed,
    key: &PartyKey,
    before: &PeerCertificate,
    clock: Clock,
    random: Random,
) -> Result<PeerCertificate, RenewalError> {
    let (context, now) = (locked.context(), clock.now());
    let domain = described(context)?.trust_domain;
    let trusted = trusted_by(context, &domain)?;
    let accepted = newer(&trusted, renewed, now)?;
    // The certificate may be of a root that only the bundle introduces.
    let roots = accepted.as_ref().map_or(&trusted, Accepted::trusted).roots();
    let new = join::check_renewed(renewed, key, roots, before.identity(), &domain, now)?;
    let next = Generation {
        certificate: pem::encode("CERTIFICATE", &renewed.certificate),
        key: key.to_pem(),
        ..context.generation()?
    };
    match &accepted {
        Some(accepted) => {
            locked.install(&with_bundle(next, accepted))?;
            take_addresses(locked, accepted, random.uuid_v4())?;
        }
        None => locked.install(&next)?,
    }
    locked.forget_pending()?;
    Ok(new)
}

/// Returns the bundle that came with a certificate, if it replaces what is trusted. One that is not newer changes nothing;
/// the certificate may be good all the same.
fn newer(
    trusted: &Trusted,
    renewed: &Renewed,
    now: OffsetDateTime,
) -> Result<Option<Accepted>, RenewalError> {
    let signed = SignedBundle::try_from(renewed.trust.clone())?;
    match accept(trusted, &signed, now) {
        Ok(accepted) => Ok(Some(accepted)),
        Err(Refused::InUse | Refused::Older { .. }) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

/// Which root a certificate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issuer {
    /// The one that signs now, which is the first.
    Signing,
    /// One that is still trusted, while another has signed since then.
    Retiring { since: OffsetDateTime },
    /// One that is not trusted any more.
    Untrusted,
}

/// Returns whether a context's certificate is of a root that is still trusted. If it is not, markets refuse it, and only
/// the authority accepts it, to renew it.
///
/// # Errors
/// The context can't be read.
pub fn is_of_trusted_root(context: &Context) -> Result<bool, RenewalError> {
    Ok(issuer(context, &described(context)?)? != Issuer::Untrusted)
}

/// Finds the root of a context's certificate by its name, which is distinct for each.
fn issuer(context: &Context, description: &Description) -> Result<Issuer, RenewalError> {
    let trusted = trusted_by(context, &description.trust_domain)?;
    let generation = context.generation()?;
    let leaf = CertificateDer::from_pem_slice(generation.certificate.as_bytes()).ok();
    let Some(leaf) = leaf.as_ref().and_then(parsed) else { return Ok(Issuer::Untrusted) };
    let roots: Vec<_> = trusted.roots().iter().filter_map(parsed).collect();
    let place = roots.iter().position(|root| root.subject().as_raw() == leaf.issuer().as_raw());
    Ok(match (place, roots.first()) {
        (Some(0), _) => Issuer::Signing,
        (Some(_), Some(signing)) => Issuer::Retiring { since: signing.validity().not_before.to_datetime() },
        _ => Issuer::Untrusted,
    })
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_a_tenth_of_the_time_on_both_sides() {
        // Of 90 days: 54 to 66.
        let life = time::Duration::days(60);
        assert_eq!(life * (1.0 - SPREAD), time::Duration::days(54));
        assert_eq!(life * (1.0 + SPREAD), time::Duration::days(66));
    }
}
