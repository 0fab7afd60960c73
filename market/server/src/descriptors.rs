//! The budget of file descriptors. Everything that holds one is bounded, so that a flood of connections can't take those
//! that the store needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use souk_certs::acceptor::{HEADERS, WAITING};

use crate::{
    config::Config,
    observe::{ADMIN_CONNECTIONS, ADMIN_WAITING},
    relay::CALLBACK_CONNECTIONS,
};

/// Descriptors for everything else: database files or connections, the search index, the log, event queues.
const OTHERS: usize = 512;
/// The fewest connections with which a market is worth starting.
const FEWEST_CONNECTIONS: usize = 64;

/// The limit of open files does not even suffice for a few connections.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may open {limit} files, but needs {needed}; raise the limit (LimitNOFILE= in the unit, or ulimit -n)"
)]
pub struct TooFewDescriptors {
    limit: u64,
    needed: u64,
}

/// Raises the soft limit of open files as far as the settings need, and lowers `limits.connections` if the hard limit is
/// below that. Returns a warning if it did.
///
/// # Errors
/// Returns an error if fewer than 64 connections would be left.
pub fn fit(config: &mut Config) -> Result<Option<String>, TooFewDescriptors> {
    let needed = others(config) + config.limits.connections as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(None);
    }
    // May fail only above the hard limit; the value that is then in force is read again.
    let raised = limit.maximum.map_or(needed, |hard| hard.min(needed));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    lower(config, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// Returns how many descriptors everything except established connections may use.
fn others(config: &Config) -> u64 {
    let headers = if config.server.proxy_protocol.is_empty() { 0 } else { HEADERS };
    let admin = config.server.admin_listen.map_or(0, |_| ADMIN_CONNECTIONS + ADMIN_WAITING);
    let handshakes = config.limits.handshakes + WAITING + headers;
    (handshakes + admin + CALLBACK_CONNECTIONS + OTHERS) as u64
}

fn lower(config: &mut Config, limit: u64) -> Result<Option<String>, TooFewDescriptors> {
    let others = others(config);
    let left = usize::try_from(limit.saturating_sub(others)).unwrap_or(usize::MAX);
    if left >= config.limits.connections {
        return Ok(None);
    }
    if left < FEWEST_CONNECTIONS {
        return Err(TooFewDescriptors { limit, needed: others + FEWEST_CONNECTIONS as u64 });
    }
    let wanted = std::mem::replace(&mut config.limits.connections, left);
    Ok(Some(format!(
        "this process may open {limit} files: only {left} connections are admitted instead of {wanted}; raise the limit \
         to {} (LimitNOFILE= in the unit), or lower limits.connections",
        others + wanted as u64
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_others_leave() {
        let mut config = Config::load(None).unwrap();
        let (others, wanted) = (others(&config), config.limits.connections);
        assert_eq!(lower(&mut config, others + wanted as u64), Ok(None));
        assert_eq!(config.limits.connections, wanted);
        let warning = lower(&mut config, others + 100).unwrap().expect("a warning");
        assert!(warning.contains("only 100 connections") && warning.contains("LimitNOFILE"), "{warning}");
        assert_eq!(config.limits.connections, 100);
        let refused = lower(&mut config, others + 63).unwrap_err();
        assert_eq!(refused, TooFewDescriptors { limit: others + 63, needed: others + 64 });
        assert_eq!(config.limits.connections, 100);
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_it_may() {
        let mut config = Config::load(None).unwrap();
        config.limits.connections = 1_000;
        let limit = getrlimit(Resource::Nofile);
        let needed = others(&config) + 1_000;
        let fits = limit.maximum.is_none_or(|hard| hard >= needed);
        assert_eq!(fit(&mut config).unwrap().is_none(), fits);
        assert!(!fits || getrlimit(Resource::Nofile).current.is_none_or(|soft| soft >= needed));
    }
}
