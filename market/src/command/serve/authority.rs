//! `market serve --authority`: everything on one machine.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use souk_certs::connector::Dial;
use souk_help::LESS_COMMON;
use souk_server::config::{Config, StoreConfig};

use crate::{
    authority::{OwnAuthority, OwnAuthorityOptions},
    command::home,
};

/// The port of the enrolment service.
const ENROLMENT_PORT: u16 = souk_authority::pki::PORT;
/// The file name of the store, in the authority's folder.
const STORE: &str = "souk.db";

/// The flags of an authority in the market's process.
#[derive(Args)]
pub(super) struct OwnAuthorityArgs {
    /// Run an authority as well, at which others join with a code: makes what is missing in this folder
    /// [default: ~/.local/share/souk].
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    authority: Option<Option<PathBuf>>,
    /// The name or address of this machine for others, which goes into codes and certificates.
    #[arg(long, value_name = "HOST", requires = "authority", value_parser = host)]
    public: Option<String>,
    /// The address at which others join [default: port 7442 of the address in --listen].
    #[arg(long, help_heading = LESS_COMMON, value_name = "IP:PORT", requires = "authority")]
    enrolment_listen: Option<SocketAddr>,
}

impl OwnAuthorityArgs {
    /// Returns whether there is to be an authority.
    pub(super) fn is_given(&self) -> bool {
        self.authority.is_some()
    }

    /// Completes the settings: the store is in the authority's folder, and the market serves this machine alone, unless a
    /// flag or the settings file says otherwise.
    pub(super) fn complete(&self, config: &mut Config, is_listen_given: bool) -> anyhow::Result<()> {
        let Some(dir) = self.folder()? else { return Ok(()) };
        let defaults = Config::load(None)?;
        if !is_listen_given && config.server.listen == defaults.server.listen {
            config.server.listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        if config.store == defaults.store {
            config.store = StoreConfig::at(dir.join(STORE));
        }
        Ok(())
    }

    /// Starts the authority and gives the market its certificate. `market` is the address on which the market listens.
    pub(super) async fn open(
        &self,
        config: &mut Config,
        market: SocketAddr,
    ) -> anyhow::Result<Option<OwnAuthority>> {
        let Some(dir) = self.folder()? else { return Ok(None) };
        let listen = self.enrolment_listen.unwrap_or(SocketAddr::new(market.ip(), ENROLMENT_PORT));
        let options = OwnAuthorityOptions {
            dir: dir.clone(),
            trust_domain: config.tls.trust_domain.clone(),
            listen,
            market,
            public: self.public.clone(),
        };
        let own = OwnAuthority::open(&options).await?;
        config.tls.use_context(&own.context)?;
        if own.is_new {
            let folder = shown(&dir);
            souk_stdio::outln!("made an authority, the market's certificate and {STORE} in {folder}");
        }
        tracing::warn!(
            "the authority's key is in this process, so an intruder in the market can issue certificates; \
             `gen-certs serve` on another machine avoids that"
        );
        Ok(Some(own))
    }

    /// Says how others join.
    pub(super) fn report(&self, own: &OwnAuthority, market: SocketAddr) -> anyhow::Result<()> {
        let enrolment = own.enrolment.address;
        let dir = match self.folder()? {
            Some(dir) if home::data() != Some(dir.clone()) => format!(" --dir {}", shown(&dir)),
            _ => String::new(),
        };
        souk_stdio::outln!("the market is open at {market}, enrolment at {enrolment}");
        souk_stdio::outln!("invite somebody:  seller join \"$(gen-certs{dir} invite seller alice)\"");
        Ok(())
    }

    fn folder(&self) -> anyhow::Result<Option<PathBuf>> {
        match &self.authority {
            None => Ok(None),
            Some(Some(dir)) => Ok(Some(std::path::absolute(dir)?)),
            Some(None) => {
                home::data().map(Some).context("this user has no home folder; name one: --authority DIR")
            }
        }
    }
}

/// Checks that a text is a host, without a port.
fn host(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is no name or address of a machine; write it without a port");
    let is_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let dialled = if is_ipv6 { format!("[{text}]:1") } else { format!("{text}:1") };
    dialled.parse::<Dial>().map(|dial| dial.host).map_err(|_| wrong())
}

/// Returns a path as people write it, with `~` for the home folder.
fn shown(path: &Path) -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_host_has_no_port() {
        for text in ["market.example.org", "192.0.2.1", "2001:db8::1", "localhost"] {
            assert_eq!(host(text).unwrap(), text);
        }
        for text in ["", "a b", "market.example.org:7443", "[2001:db8::1]:7443", "http://market"] {
            assert!(host(text).is_err(), "accepted {text:?}");
        }
    }
}
