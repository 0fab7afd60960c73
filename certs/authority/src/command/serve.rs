//! `gen-certs serve`: the enrolment service, until SIGINT or SIGTERM.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use souk_certs::clock::Clock;
use souk_certs::connector::Dial;
use souk_certs::listener;
use souk_certs::random::Random;
use tokio::signal::unix::{SignalKind, signal};

use super::public::{Markets, Public};
use crate::enrolment::Enrolment;
use crate::pki::{PORT, Pki, Setup};

/// The address to listen on: all addresses of the machine.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), PORT);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gen-certs serve\n  gen-certs serve --public ca.example.org --market m1.example.org:7443"
)]
pub(super) struct Args {
    /// Address to listen on
    #[arg(long, env = "SOUK_ENROLMENT_LISTEN", hide_env_values = true, default_value_t = LISTEN, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Change where newcomers reach this service; it is part of each code. The port is 7442 unless given
    #[arg(long, value_name = "HOST[:PORT]")]
    public: Option<Public>,
    #[command(flatten)]
    markets: Markets,
}

impl Args {
    pub(super) fn run(&self, dir: &Path, clock: Clock, out: &mut dyn Write) -> anyhow::Result<()> {
        tracing_subscriber::fmt()
            .with_env_filter(filter()?)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        let mut pki = Pki::open(dir)?;
        if let Some(setup) = self.changed(&pki) {
            pki.set_up(&setup, clock.now())?;
        }
        let service = Enrolment::open(dir, clock, Random::SYSTEM)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let bound = listener::bind(self.listen).await;
            let bound =
                bound.with_context(|| format!("can't listen on {}; choose another --listen", self.listen))?;
            writeln!(out, "enrolment is open at {}", bound.local_addr()?)?;
            out.flush()?;
            ready();
            service.serve(bound, stopped()?).await?;
            Ok(())
        })
    }

    /// Returns the setup if the flags change it.
    fn changed(&self, pki: &Pki) -> Option<Setup> {
        let before = pki.setup();
        let public = self.public.as_ref().map(|Public(public)| public.clone());
        let markets: Vec<Dial> = self.markets.addresses();
        if public.is_none() && markets.is_empty() {
            return None;
        }
        Some(Setup {
            public: public.or_else(|| before.map(|setup| setup.public.clone()))?,
            markets: if markets.is_empty() {
                before.map(|setup| setup.markets.clone()).unwrap_or_default()
            } else {
                markets
            },
            ephemeral: before.is_some_and(|setup| setup.ephemeral),
        })
    }
}

fn filter() -> anyhow::Result<tracing_subscriber::EnvFilter> {
    const LEVEL: &str = "info";
    let given = std::env::var("SOUK_LOG").ok().filter(|given| !given.is_empty());
    given.as_deref().unwrap_or(LEVEL).parse().context("SOUK_LOG is not a log level")
}

/// Resolves at SIGINT or SIGTERM. The handlers are installed before it returns.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Tells the service manager that started the process that the service is open. Does nothing without one.
fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "the service manager was not notified");
    }
}
