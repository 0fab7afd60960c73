//! Notifies the service manager that started the market of its state (systemd's `sd_notify(3)`): ready, reloading,
//! stopping and, with a watchdog, alive. Without `NOTIFY_SOCKET`, nothing is sent.

use std::{net::SocketAddr, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// Reports that the market is ready to serve at `address`.
pub fn opened(address: Option<SocketAddr>) {
    let status = address.map_or_else(String::new, |address| format!("open on {address}"));
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Reports that changed files are being loaded. [`reloaded`] must follow in any case.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // `Type=notify-reload` requires the time with the state, to tell this reload from an earlier one.
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot notify the service manager of the reload"),
    }
}

/// Reports that the reload has ended. Whether the files were adopted or rejected, the market keeps running.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// Reports that the market is shutting down.
pub fn closing() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Returns the interval of watchdog notifications, half of the manager's timeout. `None` without a watchdog.
pub fn watchdog() -> Option<Duration> {
    // Half of the time, as sd_watchdog_enabled(3) recommends.
    sd_notify::watchdog_enabled().map(|patience| patience / 2).filter(|pause| !pause.is_zero())
}

/// Sends watchdog notifications while `is_alive` returns true. When they stop, the manager restarts the market.
pub async fn keep_alive(pause: Duration, is_alive: impl Fn() -> bool) {
    ping(pause, is_alive, || notify(&[NotifyState::Watchdog])).await;
}

async fn ping(pause: Duration, is_alive: impl Fn() -> bool, notify: impl Fn()) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if is_alive() {
            notify();
        } else {
            tracing::error!("the market is not healthy: withholding watchdog notifications");
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager; check NOTIFY_SOCKET");
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
