//! What a context trusts, and putting an accepted bundle into it.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use souk_certs::connector::Dial;
use souk_certs::identity::TrustDomain;
use uuid::Uuid;

use super::accept::{Accepted, Trusted};
use super::bundle::SignedBundle;
use crate::context::{Context, ContextError, Description, Generation, Locked};

/// Returns what a context trusts: the roots and lists of the generation in use, and the bundle beside them.
///
/// # Errors
/// The context is incomplete, or a file of it can't be read or is malformed.
pub fn trusted_by(context: &Context, domain: &TrustDomain) -> Result<Trusted, ContextError> {
    let generation = context.generation()?;
    let malformed = |file: &str| ContextError::Malformed {
        path: context.folder().join("live").join(file),
        problem: "it is not well-formed PEM".to_owned(),
    };
    let roots = CertificateDer::pem_slice_iter(generation.roots.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| malformed("ca.pem"))?;
    let lists = CertificateRevocationListDer::pem_slice_iter(generation.lists.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| malformed("crl.pem"))?;
    // Without one, the next bundle is judged by the roots and the numbers of the lists alone.
    let stored = SignedBundle::from_bytes(&generation.trust).ok();
    Ok(Trusted::in_use(domain.clone(), &roots, &lists, stored.as_ref()))
}

/// Puts the roots and lists of an accepted bundle in place of those of the context, together, and the addresses of markets
/// and authorities into its description. `unique` is a new id, for the name of a temporary file. Returns whether anything
/// changed: another process may have been faster.
///
/// # Errors
/// A file can't be read or written. The generation before then stays in use.
pub fn install(locked: &Locked, accepted: &Accepted, unique: Uuid) -> Result<bool, ContextError> {
    let (context, bundle) = (locked.context(), accepted.bundle());
    if trusted_by(context, &bundle.trust_domain)?.sequence() >= bundle.sequence {
        return Ok(false);
    }
    locked.install(&with_bundle(context.generation()?, accepted))?;
    // Only after the files: a crash in between leaves the addresses of before, which the next bundle replaces.
    take_addresses(locked, accepted, unique)?;
    Ok(true)
}

/// Returns a generation with the roots and lists of an accepted bundle in place of its own.
pub(crate) fn with_bundle(generation: Generation, accepted: &Accepted) -> Generation {
    let bundle = accepted.bundle();
    Generation {
        roots: bundle.ca_pem(),
        lists: bundle.crl_pem(),
        trust: accepted.signed().to_bytes(),
        ..generation
    }
}

/// Puts the addresses that an accepted bundle has into the description of a context.
pub(crate) fn take_addresses(locked: &Locked, accepted: &Accepted, unique: Uuid) -> Result<(), ContextError> {
    let Some(before) = locked.context().description()? else { return Ok(()) };
    let next = with_addresses(&before, accepted);
    if next == before { Ok(()) } else { locked.describe(&next, unique) }
}

/// Takes over the addresses that a bundle has. None leaves those before, so that an authority without a service does not
/// make its parties forget where the market is; one that does not parse is left out.
fn with_addresses(before: &Description, accepted: &Accepted) -> Description {
    let or_before =
        |found: Vec<Dial>, before: &[Dial]| if found.is_empty() { before.to_vec() } else { found };
    let bundle = accepted.bundle();
    Description {
        market: or_before(bundle.market_addresses(), &before.market),
        authority: or_before(bundle.authority_addresses(), &before.authority),
        ..before.clone()
    }
}
