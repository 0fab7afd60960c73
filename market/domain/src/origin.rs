//! Where a command came from, for the audit log.

use std::net::IpAddr;

/// The caller's role and address. Recorded in the audit log; the rules do not use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The role in the caller's certificate.
    pub role: &'static str,
    /// The peer address of the connection; `None` if it is not known.
    pub address: Option<IpAddr>,
}
