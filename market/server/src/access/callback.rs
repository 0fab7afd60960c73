//! The policy for callback addresses.
//!
//! The market connects to registered addresses, so registering one asks it to open a connection from inside its
//! own network (server-side request forgery). Therefore the source address of the party's connection is always
//! permitted, any other address must be on the operator's allow list, and some never are. A name is resolved
//! once, here, and the checked address is the one that is dialled from then on, which rules out DNS rebinding.
//! It is not resolved at all if no address that it could have would be permitted.
//! All rejections have the same text, so that the market can't be used as a port scanner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;
use souk_domain::{Callback, PartyId};
use souk_proto::Reason;
use tonic::Status;

use super::resolver::{Resolver, Unresolved};
use crate::{config::CallbackConfig, ledger::OVERLOAD_RETRY_DELAY, wire};

/// Maximum length of a host name (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// The policy from the operator's settings.
#[derive(Clone, Debug)]
pub struct CallbackPolicy {
    allowed: Vec<IpNet>,
    allow_loopback: bool,
    own: SocketAddr,
    resolver: Resolver,
}

impl CallbackPolicy {
    /// Creates the policy for a market that listens on `own`, an address that is never permitted.
    pub fn new(config: &CallbackConfig, own: SocketAddr) -> Self {
        let CallbackConfig { allow, allow_loopback } = config;
        let resolver = Resolver::system();
        Self { allowed: allow.clone(), allow_loopback: *allow_loopback, own, resolver }
    }

    /// Returns the number of host names that are being resolved.
    pub fn lookups(&self) -> usize {
        self.resolver.lookups()
    }

    /// Resolves and checks the address that a party connecting from `peer` wants to register. An empty host means
    /// the IP address of `peer`.
    pub async fn resolve(
        &self,
        party: PartyId,
        (host, port): (&str, u32),
        peer: SocketAddr,
    ) -> Result<Callback, Status> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(refused)?;
        // Canonical, so that ::ffff:a.b.c.d cannot evade the rules for a.b.c.d.
        let source = peer.ip().to_canonical();
        let address = match literal(host) {
            _ if host.is_empty() => source,
            Some(address) => address,
            None => self.look_up(party, (host, port), source).await?,
        };
        if !self.allows(address, port, source) {
            return Err(refused());
        }
        // The address, never the name: a name could resolve to another host by the time of the call.
        Ok(Callback { host: address.to_string(), port })
    }

    /// Resolves a name, unless no address that it could have would be allowed.
    async fn look_up(
        &self,
        party: PartyId,
        (host, port): (&str, u16),
        source: IpAddr,
    ) -> Result<IpAddr, Status> {
        let could_be_allowed = !self.allowed.is_empty() || self.allows(source, port, source);
        if host.len() > MAX_HOST_BYTES || !could_be_allowed {
            return Err(refused());
        }
        let found = self.resolver.first_address(party, host, port).await;
        found.map(|address| address.to_canonical()).map_err(|why| match why {
            Unresolved::Unknown => refused(),
            Unresolved::Busy => wire::try_again(
                Reason::Overloaded,
                "the market resolves as many host names as it may; give an IP address, leave the host empty to be \
                 called where you connect from, or try again in a moment",
                OVERLOAD_RETRY_DELAY,
            ),
        })
    }

    /// Returns whether a party that connects from `source` may be called at an address.
    fn allows(&self, address: IpAddr, port: u16, source: IpAddr) -> bool {
        let is_listed = address == source || self.allowed.iter().any(|net| net.contains(&address));
        is_listed && !self.is_forbidden(address, port)
    }

    /// Returns whether a registered address may still be called. It is checked again before each dial, because the
    /// settings may have changed since the registration.
    pub fn permits(&self, callback: &Callback) -> bool {
        // A host that is no address was not stored by `resolve`, so it is rejected rather than resolved.
        let address: Option<IpAddr> = callback.host.parse().ok();
        address.is_some_and(|address| !self.is_forbidden(address.to_canonical(), callback.port))
    }

    fn is_forbidden(&self, address: IpAddr, port: u16) -> bool {
        if let IpAddr::V6(v6) = address
            && let Some(inside) = embedded(v6)
            && self.is_forbidden(IpAddr::V4(inside), port)
        {
            return true;
        }
        is_special(address)
            || (self.listens_at(address) && (port == self.own.port() || !self.allow_loopback))
            || (address.is_loopback() && !self.allow_loopback)
    }

    fn listens_at(&self, address: IpAddr) -> bool {
        let own = self.own.ip().to_canonical();
        address == own || address.is_loopback() || (own.is_unspecified() && is_local(address))
    }
}

/// Returns whether an address belongs to no host, or only to services of a cloud provider.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // RFC 1122 "this network", RFC 1112 class E, and the metadata service of Alibaba Cloud. Other clouds
            // use a link-local address.
            let [first, ..] = v4.octets();
            v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_link_local()
                || v4.is_broadcast()
                || first == 0
                || first >= 240
                || v4.octets() == [100, 100, 100, 200]
        }
        IpAddr::V6(v6) => {
            // RFC 3879 site-local, and the metadata service of AWS.
            let [first, ..] = v6.segments();
            v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || first & 0xffc0 == 0xfec0
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// Returns the IPv4 address embedded in an IPv6 address: NAT64 (RFC 6052), 6to4 (RFC 3056) or IPv4-compatible
/// (RFC 4291). It is checked as well, because it may be the address that is reached in the end.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        _ => None,
    }
}

/// Returns whether an address belongs to this machine. Only then can a socket be bound to it; nothing is sent.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Returns the address that a host is, if it is no name.
fn literal(host: &str) -> Option<IpAddr> {
    // An IPv6 literal may come in brackets (RFC 3986). The brackets are removed for parsing only.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().map(|address: IpAddr| address.to_canonical())
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
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn policy(allow: &[&str], allow_loopback: bool) -> CallbackPolicy {
        let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
        let config = CallbackConfig { allow, allow_loopback };
        CallbackPolicy::new(&config, "198.51.100.1:7443".parse().unwrap())
    }

    async fn resolve(policy: &CallbackPolicy, host: &str, port: u32, peer: &str) -> Option<String> {
        let peer = SocketAddr::new(peer.parse().unwrap(), 50_000);
        policy
            .resolve(PartyId(uuid::Uuid::nil()), (host, port), peer)
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
    async fn name_is_resolved_only_if_an_address_of_it_could_be_allowed() {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = |policy: CallbackPolicy| {
            let lookups = Arc::clone(&lookups);
            let resolver = Resolver::by(move |_, port| {
                lookups.fetch_add(1, Ordering::SeqCst);
                Ok(vec![SocketAddr::from(([203, 0, 113, 9], port))])
            });
            CallbackPolicy { resolver, ..policy }
        };
        let (nothing, something) = (counted(policy(&[], false)), counted(policy(&["192.0.2.0/24"], false)));
        // Loopback is forbidden, and nothing else is allowed.
        assert_eq!(resolve(&nothing, "a.example", 7444, "127.0.0.1").await, None);
        assert_eq!(resolve(&nothing, "a.example", 0, "203.0.113.9").await, None);
        assert_eq!(resolve(&nothing, &"x".repeat(300), 7444, "203.0.113.9").await, None);
        assert_eq!(lookups.load(Ordering::SeqCst), 0);
        assert_eq!(resolve(&nothing, "a.example", 7444, "203.0.113.9").await.unwrap(), "203.0.113.9:7444");
        assert_eq!(resolve(&something, "a.example", 7444, "127.0.0.1").await, None);
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
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
            // Addresses for documentation (RFC 5737) belong to no machine.
            assert!(!policy.listens_at("192.0.2.7".parse().unwrap()));
        }
    }

    #[test]
    fn what_stands_for_a_forbidden_address_is_forbidden_too() {
        let policy = policy(&["::/0", "0.0.0.0/0"], false);
        for address in [
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "fec0::1",
            "fd00:ec2::254",
            "0.1.2.3",
            "240.0.0.1",
            "100.100.100.200",
            "169.254.169.254",
        ] {
            let callback = Callback { host: address.to_owned(), port: 7444 };
            assert!(!policy.permits(&callback), "{address}");
        }
        for address in ["192.0.2.1", "2001:db8::1", "64:ff9b::c000:201"] {
            assert!(policy.permits(&Callback { host: address.to_owned(), port: 7444 }), "{address}");
        }
    }

    #[test]
    fn a_callback_that_was_registered_under_another_policy_is_called_no_more() {
        let loopback = Callback { host: "127.0.0.1".to_owned(), port: 7444 };
        assert!(policy(&[], true).permits(&loopback));
        assert!(!policy(&[], false).permits(&loopback));
    }
}
