//! Encoding in PEM (RFC 7468), for the files of contexts.

use rustls_pki_types::CertificateDer;

/// Length of a line of base64 (RFC 7468 §2).
const LINE: usize = 64;

/// Encodes a certificate.
#[must_use]
pub fn certificate(der: &CertificateDer<'_>) -> String {
    encoded("CERTIFICATE", der)
}

/// Encodes a block with a label.
#[must_use]
pub fn encoded(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
