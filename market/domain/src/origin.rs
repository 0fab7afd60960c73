//! Where commands come from.

use std::net::IpAddr;

/// Who asks for a change, and from where. The audit log's; the rules don't look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The role in the caller's certificate.
    pub role: &'static str,
    /// Where its connection comes from.
    pub address: Option<IpAddr>,
}
