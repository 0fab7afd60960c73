//! An authority in the market's own process: for one machine, and for demos.
//!
//! The enrolment service has a thread and a runtime of its own, so that a flood of newcomers takes no time from trade. The
//! authority's key is in the memory of this process all the same: an intruder in the market can issue certificates. An
//! authority on another machine (`gen-certs serve`) avoids that.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, bail};
use souk_authority::{
    enrolment::Enrolment,
    invitation::book::{BookError, MIN_VALIDITY, NewInvitation},
    pki::{InitOptions, Pki, PkiError, Setup},
};
use souk_certs::{
    clock::Clock,
    connector::Dial,
    identity::{Role, TrustDomain},
    listener,
    random::Random,
};
use souk_enrolment::{code::InvitationCode, context::Context, host::join_host};
use tokio::{net::TcpListener, runtime::Builder};
use tokio_util::sync::CancellationToken;

/// The folder of the market's context, in the authority's.
const MARKET_FOLDER: &str = "market";
/// The name of the market that belongs to the authority.
const MARKET_NAME: &str = "market-1";
/// The number of threads of the service's runtime.
const THREADS: usize = 1;

/// What an authority in this process is to serve.
#[derive(Clone, Debug)]
pub struct OwnAuthorityOptions {
    /// The folder of the authority, which is made if it is missing.
    pub dir: PathBuf,
    /// The trust domain of an authority that is made.
    pub trust_domain: TrustDomain,
    /// The address on which the enrolment service listens.
    pub listen: SocketAddr,
    /// The address on which the market listens.
    pub market: SocketAddr,
    /// The host that goes into codes and bundles. `None` means the host before, or else the address on which the service
    /// listens.
    pub public: Option<String>,
}

/// An enrolment service on a thread of its own.
#[derive(Debug)]
pub struct EnrolmentThread {
    /// The address on which it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

/// An authority in this process, with the context of its market.
#[derive(Debug)]
pub struct OwnAuthority {
    /// The folder of the market's context.
    pub context: PathBuf,
    /// Whether the authority was made by this call.
    pub is_new: bool,
    /// The service.
    pub enrolment: EnrolmentThread,
}

impl EnrolmentThread {
    /// Starts the service of a folder that is set up for it.
    ///
    /// # Errors
    /// The folder can't be used, or the thread can't be started.
    pub fn start(dir: &Path, listener: TcpListener) -> anyhow::Result<Self> {
        let service = Enrolment::open(dir, Clock::SYSTEM, Random::SYSTEM)?;
        let address = listener.local_addr()?;
        // It belongs to the runtime that is current when it is made.
        let listener = listener.into_std()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("enrolment")
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = move || {
            let outcome = runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                service.serve(listener, stopped.cancelled()).await?;
                Ok::<_, anyhow::Error>(())
            });
            if let Err(error) = outcome {
                tracing::error!(
                    "the enrolment service has ended, nobody can join until the market is restarted: {error:#}"
                );
            }
        };
        let thread = thread::Builder::new().name("enrolment".to_owned()).spawn(serve)?;
        Ok(Self { address, stop, thread })
    }

    /// Stops the service, and waits until it has ended.
    pub fn close(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            tracing::error!("the enrolment service has panicked");
        }
    }
}

impl OwnAuthority {
    /// Makes what is missing, starts the service, and gives the market its certificate.
    ///
    /// # Errors
    /// The address is in use, a file can't be read or written, or the folder is another program's.
    pub async fn open(options: &OwnAuthorityOptions) -> anyhow::Result<Self> {
        let OwnAuthorityOptions { dir, listen, market, .. } = options;
        let bound = listener::bind(*listen).await;
        let bound =
            bound.with_context(|| format!("can't listen on {listen}; choose another --enrolment-listen"))?;
        let now = Clock::SYSTEM.now();
        let opened = Pki::open(dir);
        // Also if an earlier start was killed while it made the folder.
        let is_new = matches!(opened, Err(PkiError::NotInitialised { .. }));
        let mut pki = if is_new {
            let trust_domain = options.trust_domain.clone();
            let init = InitOptions { trust_domain, without_market: true, ..InitOptions::default() };
            Pki::init(dir, &init, now)?
        } else {
            opened?
        };
        let setup = setup(options, pki.setup(), bound.local_addr()?, *market)?;
        if pki.setup() != Some(&setup) {
            pki.set_up(&setup, now)?;
        }
        let enrolment = EnrolmentThread::start(dir, bound)?;
        let context = dir.join(MARKET_FOLDER);
        if let Err(error) = join_own(&mut pki, &Context::at(&context), reachable(enrolment.address)).await {
            enrolment.close();
            return Err(error);
        }
        Ok(Self { context, is_new, enrolment })
    }
}

/// Joins the market to the authority in this process, unless it has joined before.
async fn join_own(pki: &mut Pki, context: &Context, at: Dial) -> anyhow::Result<()> {
    if context.is_complete() {
        return Ok(());
    }
    let now = Clock::SYSTEM.now();
    let new = NewInvitation {
        role: Role::Market,
        name: MARKET_NAME.to_owned(),
        again: pki.find(MARKET_NAME).is_ok(),
        validity: MIN_VALIDITY,
    };
    let code = match pki.invite(new.clone(), now) {
        // A start before was interrupted, and nobody has its code any more: this one replaces it.
        Err(PkiError::Book(BookError::Invited { .. })) => {
            pki.invite(NewInvitation { again: true, ..new }, now)?.0
        }
        invited => invited?.0,
    };
    // By an address of this machine: the public one may not be reachable from inside its network.
    let here = InvitationCode::new(
        code.id(),
        code.secret().clone(),
        code.root(),
        at.clone(),
        code.trust_domain().clone(),
    )?;
    join_host(context, &here, vec![at], (Clock::SYSTEM, Random::SYSTEM)).await?;
    Ok(())
}

/// Decides what goes into codes and bundles. A host that others know stays, whatever the market listens on: parties outside
/// renew their certificates there.
fn setup(
    options: &OwnAuthorityOptions,
    before: Option<&Setup>,
    enrolment: SocketAddr,
    market: SocketAddr,
) -> anyhow::Result<Setup> {
    let host = match (&options.public, before) {
        (Some(host), _) => host.clone(),
        (None, Some(before)) if !is_loopback(&before.public.host) => {
            warn_of_host(&before.public.host, enrolment.ip());
            before.public.host.clone()
        }
        (None, _) if !enrolment.ip().is_unspecified() => enrolment.ip().to_string(),
        (None, _) => {
            bail!("other machines need a name or an address of this one; give it with --public HOST")
        }
    };
    let own = Dial { host: host.clone(), port: market.port() };
    // Markets that an operator has added stay, after this one.
    let others = before.map_or(&[][..], others).iter().filter(|other| **other != own);
    let markets = std::iter::once(own.clone()).chain(others.cloned()).collect();
    let ephemeral = before.is_some_and(|before| before.ephemeral);
    Ok(Setup { public: Dial { host, port: enrolment.port() }, markets, ephemeral })
}

/// Returns the markets other than that of this process, whose earlier address is the first and has the public host.
fn others(before: &Setup) -> &[Dial] {
    match before.markets.split_first() {
        Some((own, others)) if own.host == before.public.host => others,
        _ => &before.markets,
    }
}

/// Warns if others will look for this machine at an address on which it does not seem to listen. A translation of addresses
/// may lead there all the same.
fn warn_of_host(host: &str, listens_on: IpAddr) {
    if !listens_on.is_unspecified() && host.parse() != Ok(listens_on) {
        tracing::warn!(
            "codes and bundles name {host} as the address of this machine, as before, but it listens on {listens_on}; pass --public \
             {host} if that is right, or another host"
        );
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the address at which this machine reaches a service that listens on an address.
fn reachable(listen: SocketAddr) -> Dial {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Dial { host: ip.to_string(), port: listen.port() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(public: Option<&str>) -> OwnAuthorityOptions {
        OwnAuthorityOptions {
            dir: PathBuf::new(),
            trust_domain: TrustDomain::default(),
            listen: "0.0.0.0:7442".parse().unwrap(),
            market: "0.0.0.0:7443".parse().unwrap(),
            public: public.map(str::to_owned),
        }
    }

    fn set_up(public: &str, markets: &[&str]) -> Setup {
        let markets = markets.iter().map(|market| market.parse().unwrap()).collect();
        Setup { public: public.parse().unwrap(), markets, ephemeral: false }
    }

    /// Starts with or without `--public`, listening on this address with the port 7442, and for the market another one.
    fn start(public: Option<&str>, before: Option<&Setup>, ip: &str, port: u16) -> anyhow::Result<Setup> {
        let ip: IpAddr = ip.parse().unwrap();
        setup(&options(public), before, SocketAddr::new(ip, 7442), SocketAddr::new(ip, port))
    }

    #[test]
    fn first_start_names_the_given_host_or_the_address() {
        let named = start(Some("market.example.org"), None, "0.0.0.0", 7443).unwrap();
        assert_eq!(named, set_up("market.example.org:7442", &["market.example.org:7443"]));
        let local = start(None, None, "127.0.0.1", 7443).unwrap();
        assert_eq!(local, set_up("127.0.0.1:7442", &["127.0.0.1:7443"]));
        assert!(start(None, None, "0.0.0.0", 7443).is_err());
        assert!(start(None, Some(&local), "0.0.0.0", 7443).is_err(), "others can't use a loopback address");
    }

    #[test]
    fn restart_keeps_the_public_host() {
        let before = start(Some("market.example.org"), None, "0.0.0.0", 7443).unwrap();
        for ip in ["0.0.0.0", "192.168.1.5", "127.0.0.1"] {
            assert_eq!(start(None, Some(&before), ip, 7443).unwrap(), before, "{ip}");
        }
        let local = start(None, None, "127.0.0.1", 7443).unwrap();
        let open = start(None, Some(&local), "192.168.1.5", 7443).unwrap();
        assert_eq!(open, set_up("192.168.1.5:7442", &["192.168.1.5:7443"]));
    }

    #[test]
    fn own_address_of_before_gives_way_and_those_of_others_stay() {
        let mut before = start(Some("old.example.org"), None, "0.0.0.0", 7443).unwrap();
        before.markets.push("m2.example.org:7443".parse().unwrap());
        let moved = start(Some("new.example.org"), Some(&before), "0.0.0.0", 7443).unwrap();
        assert_eq!(moved, set_up("new.example.org:7442", &["new.example.org:7443", "m2.example.org:7443"]));
        let other_port = start(None, Some(&moved), "0.0.0.0", 7555).unwrap();
        assert_eq!(
            other_port,
            set_up("new.example.org:7442", &["new.example.org:7555", "m2.example.org:7443"])
        );
        // Made by `gen-certs init`: the markets are elsewhere.
        let apart = set_up("ca.example.org:7442", &["m1.example.org:7443"]);
        let beside = start(None, Some(&apart), "0.0.0.0", 7443).unwrap();
        assert_eq!(beside, set_up("ca.example.org:7442", &["ca.example.org:7443", "m1.example.org:7443"]));
    }

    #[tokio::test]
    async fn start_that_was_interrupted_before_the_join_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("souk");
        let now = Clock::SYSTEM.now();
        let mut pki =
            Pki::init(&dir, &InitOptions { without_market: true, ..InitOptions::default() }, now).unwrap();
        pki.set_up(&set_up("127.0.0.1:7442", &["127.0.0.1:7443"]), now).unwrap();
        let new = NewInvitation {
            role: Role::Market,
            name: MARKET_NAME.to_owned(),
            again: false,
            validity: MIN_VALIDITY,
        };
        pki.invite(new, now).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let enrolment = EnrolmentThread::start(&dir, listener).unwrap();
        let context = Context::at(dir.join(MARKET_FOLDER));
        let joined = join_own(&mut pki, &context, reachable(enrolment.address)).await;
        enrolment.close();
        joined.unwrap();
        assert!(context.is_complete());
    }
}
