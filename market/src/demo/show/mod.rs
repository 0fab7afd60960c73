//! `market demo`: trade to watch, and then a market to join from another terminal.

mod invitation;
mod notes;
mod script;

use std::{net::SocketAddr, time::Duration};

use invitation::Invitation;
pub use invitation::print_env;
use script::Script;
use tokio::signal::unix::{SignalKind, signal};

use super::output;

/// The pause between two trades, so that a person can follow.
const PACE: Duration = Duration::from_millis(1_500);

/// Runs the demo until Ctrl-C, SIGTERM or the end of its output's reader, then removes everything.
pub async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let script = Script::set(listen).await?;
    let invitation = Invitation::write(script.market()).await?;
    let showing = async {
        script.opening(PACE).await?;
        say!("\n{}", invitation.text());
        script.go_on(PACE).await
    };
    let outcome = tokio::select! {
        outcome = showing => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = output::closed() => Ok(()),
    };
    say!("\nclosing the market");
    invitation.withdraw();
    script.close().await?;
    outcome?;
    say!("everything is removed");
    Ok(())
}
