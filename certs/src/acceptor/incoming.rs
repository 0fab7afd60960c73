//! The stream of accepted connections that tonic's `serve_with_incoming` takes.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::Stream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{AcceptError, Acceptor, TlsConnection};

/// How long accepting rests after an error that would come again at once, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts from `listener`, with the handshakes running beside each other as tasks of the current runtime,
/// and yields those that succeed, in the order in which they finish. A failed handshake is logged and ends
/// nothing; a failing `accept` is logged and tried again after a pause. The stream never ends and never
/// yields an error. Dropping it closes the listener and abandons the handshakes in progress.
///
/// When the acceptor's bound on handshakes is reached, no connection is accepted: they wait in the kernel's
/// backlog.
pub fn incoming(listener: TcpListener, acceptor: Acceptor) -> impl Stream<Item = io::Result<TlsConnection>> {
    let state = Incoming { listener, acceptor, handshakes: JoinSet::new() };
    futures::stream::unfold(state, async |mut state| Some((Ok(state.next().await), state)))
}

struct Incoming {
    listener: TcpListener,
    acceptor: Acceptor,
    handshakes: JoinSet<Option<TlsConnection>>,
}

impl Incoming {
    async fn next(&mut self) -> TlsConnection {
        loop {
            tokio::select! {
                Some(finished) = self.handshakes.join_next() => {
                    // A panic in a handshake has been reported by the panic hook and costs that connection
                    // only.
                    if let Ok(Some(connection)) = finished {
                        return connection;
                    }
                }
                (slot, accepted) = async {
                    let slot = self.acceptor.slot().await;
                    (slot, self.listener.accept().await)
                } => match accepted {
                    Ok((tcp, address)) => {
                        let acceptor = self.acceptor.clone();
                        self.handshakes.spawn(async move {
                            let accepted = acceptor.accept_in(slot, tcp, address).await;
                            accepted.inspect_err(|error| log_refusal(address, error)).ok()
                        });
                    }
                    Err(error) => rest_after(&error).await,
                },
            }
        }
    }
}

/// A connection that broke while it waited is the peer's business; anything else is the machine's and would
/// come again at once.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::debug!(%error, "a connection broke before it was accepted");
        return;
    }
    tracing::warn!(%error, "connections cannot be accepted; trying again shortly");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// At `info`: anyone can cause these, so they must not drown what is the operator's to act on.
fn log_refusal(address: SocketAddr, error: &AcceptError) {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::info!(%address, cause, "connection refused: {error}");
}
