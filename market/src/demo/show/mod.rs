//! `market demo`: trade to watch, and then a market to join from another terminal.

mod invitation;
mod notes;
mod screen;
mod script;
mod stage;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    time::Duration,
};

use invitation::Invitation;
pub use invitation::print_env;
use screen::Screen;
use script::Script;
use stage::Stage;
use tokio::signal::unix::{SignalKind, signal};

use super::output;

/// The pause between two trades, so that a person can follow.
const PACE: Duration = Duration::from_millis(1_500);

/// Runs the demo until `q`, Ctrl-C, SIGTERM or the end of its output's reader, then removes everything. On a terminal it
/// has a screen; otherwise it prints lines.
pub async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let has_screen = io::stdin().is_terminal() && io::stdout().is_terminal();
    let (stage, backstage) = if has_screen {
        say!("opening a market …");
        let (stage, backstage) = Stage::with_screen();
        (stage, Some(backstage))
    } else {
        (Stage::plain(), None)
    };
    let script = Script::set(listen, stage).await?;
    let invitation = Invitation::write(script.market()).await?;
    let joining = invitation.text();
    let mut screen = backstage.map(|backstage| {
        let header = format!("a market is open at {}\n{joining}", script.market().address());
        Screen::open(header.trim_end(), backstage)
    });
    let showing = async {
        script.opening(PACE).await?;
        if !has_screen {
            say!("\n{joining}Ctrl-C here removes everything.\n");
        }
        script.go_on(PACE).await
    };
    let outcome = tokio::select! {
        outcome = showing => outcome,
        () = ended(screen.as_mut()) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = output::closed() => Ok(()),
    };
    let shown = screen.map_or(Ok(()), Screen::close);
    say!("\nclosing the market");
    invitation.withdraw();
    script.close().await?;
    outcome?;
    shown?;
    say!("everything is removed");
    Ok(())
}

/// Waits until the user ends the screen. Without one, it never returns.
async fn ended(screen: Option<&mut Screen>) {
    match screen {
        Some(screen) => screen.ended().await,
        None => std::future::pending().await,
    }
}
