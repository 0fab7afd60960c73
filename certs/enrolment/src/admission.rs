//! What a newcomer's context is made of: the answer to its join, once the trust bundle in it has been checked.

use rustls_pki_types::CertificateDer;
use souk_certs::pem;
use thiserror::Error;
use time::OffsetDateTime;

use crate::code::InvitationCode;
use crate::context::{Description, Generation};
use crate::join::Joined;
use crate::key::PartyKey;
use crate::trust::{BundleError, Refused, SignedBundle, Trusted, accept};

/// The contents of a newcomer's context.
#[derive(Clone, Debug)]
pub struct Admission {
    /// What the context is for.
    pub description: Description,
    /// Its first generation of files.
    pub generation: Generation,
}

/// Why the authority's answer can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The trust bundle is malformed.
    #[error("the authority's answer can't be used: {0}")]
    Bundle(#[from] BundleError),
    /// The root of the code has not signed the trust bundle, or something else is wrong with it.
    #[error("the authority's answer can't be used: {0}")]
    Trust(#[from] Refused),
}

impl Admission {
    /// Takes the trust bundle of the answer, which the root of the code must have signed, and puts it together with the
    /// certificate and the key that this is for.
    ///
    /// # Errors
    /// Returns why the trust bundle is not accepted.
    pub fn of(
        joined: &Joined,
        key: &PartyKey,
        code: &InvitationCode,
        now: OffsetDateTime,
    ) -> Result<Self, AnswerError> {
        let signed = SignedBundle::try_from(joined.trust.clone())?;
        let roots: [CertificateDer<'static>; 1] = [joined.root.clone()];
        let trusted = Trusted::in_use(code.trust_domain().clone(), &roots, &[], None);
        let accepted = accept(&trusted, &signed, now)?;
        let bundle = accepted.bundle();
        let mut authority = bundle.authority_addresses();
        if authority.is_empty() {
            authority.push(code.authority().clone());
        }
        let description = Description {
            identity: joined.peer.identity(),
            name: joined.name.clone(),
            market: bundle.market_addresses(),
            authority,
            nearby: Vec::new(),
            trust_domain: code.trust_domain().clone(),
            invitation: code.id(),
            ephemeral: joined.ephemeral,
        };
        let generation = Generation {
            certificate: pem::encode("CERTIFICATE", &joined.certificate),
            key: key.to_pem(),
            roots: bundle.ca_pem(),
            lists: bundle.crl_pem(),
            trust: accepted.signed().to_bytes(),
        };
        Ok(Self { description, generation })
    }
}
