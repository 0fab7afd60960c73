//! Binds the sockets of servers.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::TcpListener;

/// Binds a TCP socket. All IPv6 addresses (`[::]`), which on most systems include those of IPv4, stand for all
/// addresses of the machine: where there is no IPv6, the socket is bound to all IPv4 addresses, with a warning.
///
/// # Errors
/// The address is in use, does not belong to this machine, or needs privileges.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let Some(instead) = without_ipv6(address, &error) else { return Err(error) };
    let listener = TcpListener::bind(instead).await?;
    tracing::warn!(%address, %instead, %error, "this machine has no IPv6; listening on its IPv4 addresses only");
    Ok(listener)
}

/// Returns the address to bind instead of all addresses if that has failed because there is no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    // Everything else that can be wrong with "all addresses". For a missing IPv6 the kinds differ: EADDRNOTAVAIL if it is
    // switched off, EAFNOSUPPORT, which has no kind of its own, if the kernel does not have it.
    let is_other = matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory
    );
    let is_all = address.is_ipv6() && address.ip().is_unspecified();
    (is_all && !is_other).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EAFNOSUPPORT of Linux.
    const NO_SUCH_FAMILY: i32 = 97;

    #[test]
    fn all_addresses_are_those_of_ipv4_where_there_is_no_ipv6() {
        let all = "[::]:7443".parse().unwrap();
        for error in [io::Error::from_raw_os_error(NO_SUCH_FAMILY), io::ErrorKind::AddrNotAvailable.into()] {
            assert_eq!(without_ipv6(all, &error), Some("0.0.0.0:7443".parse().unwrap()));
            // An address of the operator's choice is not replaced.
            for other in ["[::1]:7443", "[2001:db8::1]:7443", "0.0.0.0:7443"] {
                assert_eq!(without_ipv6(other.parse().unwrap(), &error), None, "{other}");
            }
        }
        for kind in [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied] {
            assert_eq!(without_ipv6(all, &kind.into()), None, "{kind:?}");
        }
    }
}
