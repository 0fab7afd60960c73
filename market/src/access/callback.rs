//! Which callback addresses may be registered.
//!
//! The market connects to what is registered, so an address is a request to the market to open a
//! connection inside its own network. Therefore: the address that the party connects from is always fine;
//! any other needs the operator's leave; some never are. A name is resolved once, here, and the address
//! that was checked is the one that is dialled from then on. Refusals sound the same whatever is found
//! behind an address, so that the market is no port scanner.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use ipnet::IpNet;
use souk_proto::Reason;
use tonic::Status;

use crate::{config::CallbackConfig, domain::Callback, wire};

/// How long a name may take to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest name (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// The operator's policy.
pub struct CallbackPolicy {
    allowed: Vec<IpNet>,
    allow_loopback: bool,
    own: SocketAddr,
}

impl CallbackPolicy {
    /// With the operator's settings, for a market that listens at `own`.
    pub fn new(config: &CallbackConfig, own: SocketAddr) -> Self {
        Self { allowed: config.allow.clone(), allow_loopback: config.allow_loopback, own }
    }

    /// Checks an address that a party connecting from `peer` asks for; an empty host stands for the
    /// address that it connects from.
    pub async fn resolve(&self, host: &str, port: u32, peer: SocketAddr) -> Result<Callback, Status> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(refused)?;
        let source = peer.ip().to_canonical();
        let address = if host.is_empty() { source } else { look_up(host, port).await?.to_canonical() };
        let from_elsewhere = address != source && !self.allowed.iter().any(|net| net.contains(&address));
        if from_elsewhere || self.is_forbidden(address, port) {
            return Err(refused());
        }
        Ok(Callback { host: address.to_string(), port })
    }

    fn is_forbidden(&self, address: IpAddr, port: u16) -> bool {
        let is_own = port == self.own.port() && self.listens_at(address);
        let is_link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        address.is_unspecified()
            || address.is_multicast()
            || is_link_local
            || is_own
            || (address.is_loopback() && !self.allow_loopback)
    }

    fn listens_at(&self, address: IpAddr) -> bool {
        let own = self.own.ip().to_canonical();
        address == own || address.is_loopback() || (own.is_unspecified() && is_local(address))
    }
}

/// Whether an address is this machine's: only then can a socket be bound to it. Nothing is sent.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Resolves a name, once. A name with several addresses stands for its first.
async fn look_up(host: &str, port: u16) -> Result<IpAddr, Status> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    if host.len() > MAX_HOST_BYTES {
        return Err(refused());
    }
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    let mut addresses = found.map_err(|_| refused())?.map_err(|_| refused())?;
    addresses.next().map(|address| address.ip()).ok_or_else(refused)
}

fn refused() -> Status {
    wire::status(
        Reason::CallbackRefused,
        "the market does not call that address; leave the host empty to be called where you connect from",
        [],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], allow_loopback: bool) -> CallbackPolicy {
        let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
        let config = CallbackConfig { allow, allow_loopback };
        CallbackPolicy::new(&config, "198.51.100.1:7443".parse().unwrap())
    }

    async fn resolve(policy: &CallbackPolicy, host: &str, port: u32, peer: &str) -> Option<String> {
        let peer = SocketAddr::new(peer.parse().unwrap(), 50_000);
        policy
            .resolve(host, port, peer)
            .await
            .ok()
            .map(|callback| format!("{}:{}", callback.host, callback.port))
    }

    #[tokio::test]
    async fn the_address_that_a_party_connects_from_is_fine() {
        let policy = policy(&[], false);
        assert_eq!(resolve(&policy, "", 7444, "203.0.113.9").await.unwrap(), "203.0.113.9:7444");
        assert_eq!(resolve(&policy, "203.0.113.9", 7444, "203.0.113.9").await.unwrap(), "203.0.113.9:7444");
        assert_eq!(resolve(&policy, "", 7444, "::ffff:203.0.113.9").await.unwrap(), "203.0.113.9:7444");
    }

    #[tokio::test]
    async fn other_hosts_need_leave() {
        let peer = "203.0.113.9";
        assert_eq!(resolve(&policy(&[], false), "192.0.2.7", 7444, peer).await, None);
        let allowed = policy(&["192.0.2.0/24"], false);
        assert_eq!(resolve(&allowed, "192.0.2.7", 7444, peer).await.unwrap(), "192.0.2.7:7444");
        assert_eq!(resolve(&allowed, "192.0.3.7", 7444, peer).await, None);
    }

    #[tokio::test]
    async fn some_addresses_are_never_called() {
        let everything = policy(&["0.0.0.0/0", "::/0"], false);
        for host in [
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "localhost",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "198.51.100.1",
            "",
            "no such host",
            &"x".repeat(300),
        ] {
            assert_eq!(resolve(&everything, host, 7443, "127.0.0.1").await, None, "{host}");
        }
        assert_eq!(resolve(&everything, "192.0.2.7", 0, "203.0.113.9").await, None);
        assert_eq!(resolve(&everything, "192.0.2.7", 65_536, "203.0.113.9").await, None);
    }

    #[tokio::test]
    async fn loopback_is_called_only_when_the_operator_says_so() {
        assert!(resolve(&policy(&[], true), "", 7444, "127.0.0.1").await.is_some());
        assert!(resolve(&policy(&[], false), "", 7444, "127.0.0.1").await.is_none());
        // The market itself is no callback server.
        assert!(resolve(&policy(&[], true), "", 7443, "127.0.0.1").await.is_none());
    }

    #[test]
    fn a_market_that_listens_everywhere_knows_its_own_addresses() {
        let config = CallbackConfig { allow: Vec::new(), allow_loopback: true };
        for own in ["0.0.0.0:7443", "[::]:7443"] {
            let policy = CallbackPolicy::new(&config, own.parse().unwrap());
            assert!(policy.listens_at("127.0.0.2".parse().unwrap()));
            // Documentation addresses (RFC 5737) are nobody's.
            assert!(!policy.listens_at("192.0.2.7".parse().unwrap()));
        }
    }
}
