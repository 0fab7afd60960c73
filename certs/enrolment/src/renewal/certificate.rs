//! Renewing a certificate before it ends, and up to 30 days after.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use souk_certs::clock::Clock;
use souk_certs::credentials::Credentials;
use souk_certs::identity::{PeerCertificate, Role, TrustDomain};
use souk_certs::random::Random;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::record::Record;
use super::{RenewalError, described, trust};
use crate::context::{Context, Description, Generation, Locked};
use crate::join::{self, JoinError, Renewed};
use crate::key::PartyKey;
use crate::pem;
use crate::trust::{Refused, SignedBundle, accept, install, trusted_by};

/// How far the time of a renewal may be from two thirds of the certificate's life, as a part of that time. Certificates
/// that were issued together are thereby not renewed together.
const SPREAD: f64 = 0.1;

/// How long after a new root began to sign a market shows a certificate of it. In this time its clients get the trust
/// bundle with the root; the others find out from the authority.
pub const ROOT_SETTLES: Duration = Duration::days(1);

/// What a look at a certificate has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not due yet.
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

/// Renews the certificate of a context if it is [due], or another root signs now, and records how that went.
///
/// During a change of root, a party renews as soon as it knows the new root: the market has handed it over, so it accepts
/// certificates of it. A market waits for [`ROOT_SETTLES`], until its clients know the root as well. If the root of the
/// certificate is not trusted any more, nobody waits.
///
/// The key of an attempt that failed is used again by the next one: the authority may have issued a certificate for it.
///
/// # Errors
/// The certificate could not be renewed; it stays in use. If the market's roots have changed since the context was last
/// used, they are [caught up with](super::catch_up) first.
pub async fn renew(context: &Context, clock: Clock, random: Random) -> Result<Outcome, RenewalError> {
    let now = clock.now();
    let Some(locked) = context.try_lock()? else { return Ok(Outcome::Busy) };
    let description = described(context)?;
    let certificate = context.certificate(&description.trust_domain)?;
    let mut record = Record { looked_at: Some(now), ..Record::read(context) };
    // Before the attempt, which the caller may give up.
    record.write(context, random.uuid_v4())?;
    let is_due = now >= due(&certificate)
        || match issuer(context, &description)? {
            Issuer::Signing => false,
            Issuer::Retiring { since } => description.role() != Role::Market || now >= since + ROOT_SETTLES,
            Issuer::Untrusted => true,
        };
    if !is_due {
        return Ok(Outcome::NotDue);
    }
    let renewed = attempt(&locked, &description, &certificate, clock, random).await;
    // Catching up with roots may have changed it.
    record.trust_at = Record::read(context).trust_at;
    match &renewed {
        Ok(_) => record = Record { renewed_at: Some(now), failed_at: None, error: None, ..record },
        Err(error) => {
            record.failed_at = Some(now);
            record.error = Some(error.to_string());
        }
    }
    record.write(context, random.uuid_v4())?;
    renewed.map(Outcome::Renewed)
}

async fn attempt(
    locked: &Locked,
    description: &Description,
    certificate: &PeerCertificate,
    clock: Clock,
    random: Random,
) -> Result<PeerCertificate, RenewalError> {
    let context = locked.context();
    let key = PartyKey::open_or_create(&locked.pending_key()?, random.uuid_v4())?;
    let renewed = match ask(context, description, &key, clock).await {
        Err(RenewalError::Authority(JoinError::Untrusted(_))) => {
            trust::catch_up_locked(locked, clock, random).await?;
            ask(context, &described(context)?, &key, clock).await?
        }
        renewed => renewed?,
    };
    let now = clock.now();
    let domain = &description.trust_domain;
    take_bundle(locked, &renewed, domain, now, random)?;
    let roots = trusted_by(context, domain)?;
    let identity = certificate.identity();
    let new = join::check_renewed(&renewed, &key, roots.roots(), identity, domain, now)?;
    locked.install(&Generation {
        certificate: pem::certificate(&renewed.certificate),
        key: key.to_pem(),
        ..context.generation()?
    })?;
    locked.forget_pending()?;
    Ok(new)
}

/// Asks the authority's addresses one after the other until one answers.
async fn ask(
    context: &Context,
    description: &Description,
    key: &PartyKey,
    clock: Clock,
) -> Result<Renewed, RenewalError> {
    let files = context.credential_files();
    let credentials = Credentials::load_for_renewal(&files, &description.trust_domain, clock.now())?;
    let mut last = RenewalError::NoAuthority;
    for authority in description.authorities() {
        match join::renew(authority, &credentials, key).await {
            Err(error @ JoinError::Unreached(_)) => last = error.into(),
            renewed => return Ok(renewed?),
        }
    }
    Err(last)
}

/// Takes the bundle that came with the certificate, which may be of a root that only the bundle introduces. One that is
/// not newer changes nothing; the certificate may be good all the same.
fn take_bundle(
    locked: &Locked,
    renewed: &Renewed,
    domain: &TrustDomain,
    now: OffsetDateTime,
    random: Random,
) -> Result<(), RenewalError> {
    let signed = SignedBundle::try_from(renewed.trust.clone())?;
    match accept(&trusted_by(locked.context(), domain)?, &signed, now) {
        Ok(accepted) => install(locked, &accepted, random.uuid_v4()).map(drop).map_err(Into::into),
        Err(Refused::InUse | Refused::Older { .. }) => Ok(()),
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
