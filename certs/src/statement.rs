//! Statements: texts that a party signs with the key of its certificate, outside of a TLS connection.
//!
//! Each kind of statement has a prefix of its own, so that one can't be taken for another. The prefix must not begin with
//! the 64 spaces of a TLS 1.3 signature (RFC 8446 §4.4.3), nor with 0x30 as DER does.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::SignatureScheme;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::credentials::Credentials;
use crate::tls::provider;

/// The key can't sign statements: it is not a P-256 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the private key can't sign with ECDSA P-256; gen-certs makes keys that can")]
pub struct CannotSign;

impl Credentials {
    /// Returns the party's certificate, in DER.
    #[must_use]
    pub fn leaf_der(&self) -> CertificateDer<'static> {
        self.chain().swap_remove(0)
    }

    /// Signs `prefix` and `text` with the party's key: ECDSA with P-256 and SHA-256, in ASN.1 DER.
    ///
    /// # Errors
    /// Returns [`CannotSign`] for a key of another kind.
    pub fn sign_statement(&self, prefix: &[u8], text: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let key = provider().key_provider.load_private_key(self.key()).map_err(|_| CannotSign)?;
        let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).ok_or(CannotSign)?;
        signer.sign(&[prefix, text].concat()).map_err(|_| CannotSign)
    }
}

/// Returns whether the holder of a certificate has signed `prefix` and `text`. It does not say whether the certificate is
/// trusted.
#[must_use]
pub fn is_signed(certificate: &CertificateDer<'_>, prefix: &[u8], text: &[u8], signature: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let key = parsed.public_key().subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(&[prefix, text].concat(), signature).is_ok()
}
