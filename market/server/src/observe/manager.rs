//! Tells the service manager that started the market (systemd's `sd_notify(3)`) how it is: open, taking changed files
//! over, closing; and, with a watchdog, that it is alive, for as long as it is. Started by anybody else (without
//! `NOTIFY_SOCKET`) it tells nobody.

use std::{net::SocketAddr, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// The market answers.
pub fn opened(address: Option<SocketAddr>) {
    let status = address.map_or_else(String::new, |address| format!("open on {address}"));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Changed files are looked at; [`reloaded`] follows, whatever becomes of them.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager was not told of the reload"),
    }
}

/// They were taken over, or refused: the market goes on either way.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// No further calls are taken.
pub fn closing() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// How often the manager wants to hear that the market is alive, if at all: twice within its patience.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2).filter(|pause| !pause.is_zero())
}

/// Tells the manager so, and leaves it out while `is_alive` denies it: then the manager starts the market again.
pub async fn keep_alive(pause: Duration, is_alive: impl Fn() -> bool) {
    ping(pause, is_alive, || tell(&[NotifyState::Watchdog])).await;
}

async fn ping(pause: Duration, is_alive: impl Fn() -> bool, tell: impl Fn()) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if is_alive() {
            tell();
        } else {
            tracing::error!("the market is not well: the service manager's watchdog is not fed");
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told; check NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_the_market_is_well() {
        const PAUSE: Duration = Duration::from_secs(1);
        let (well, fed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let (is_well, feed) = (Arc::clone(&well), Arc::clone(&fed));
        tokio::spawn(async move {
            let feed = || {
                feed.fetch_add(1, Ordering::SeqCst);
            };
            ping(PAUSE, || is_well.load(Ordering::SeqCst), feed).await;
        });
        let after = async |pauses| {
            tokio::time::sleep(PAUSE * pauses).await;
            fed.load(Ordering::SeqCst)
        };
        let first = after(5).await;
        assert!((5..=6).contains(&first), "{first}");
        well.store(false, Ordering::SeqCst);
        let ill = after(5).await;
        assert!(ill <= first + 1, "{ill}");
        well.store(true, Ordering::SeqCst);
        assert!(after(5).await > ill + 3);
    }
}
