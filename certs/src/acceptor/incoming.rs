//! The stream of accepted connections that tonic's `serve_with_incoming` takes.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::Stream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{AcceptError, Acceptor, TlsConnection};

/// How long to wait after an `accept` error that would recur immediately, such as EMFILE. Without the pause
/// the accept loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Returns a stream of the connections accepted from `listener` whose handshake succeeded.
///
/// Handshakes run concurrently as tasks of the current runtime, and connections are yielded in the order in
/// which their handshakes finish. A failed handshake is logged and does not end the stream; a failed `accept`
/// is logged and retried, after a pause if the cause is local. The stream never ends and never yields an
/// error. Dropping it closes the listener and aborts the handshakes in progress.
///
/// While [`AcceptorLimits::handshakes`](super::AcceptorLimits::handshakes) handshakes are in progress, no
/// connection is accepted; new ones wait in the kernel's backlog.
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
                    // A panic in a handshake task has already been reported by the panic hook. It must cost
                    // only that connection, so the join error is ignored.
                    if let Ok(Some(connection)) = finished {
                        return connection;
                    }
                }
                // The slot comes first: an accepted socket that has to wait for one would hold a file
                // descriptor and memory here, whereas the backlog is bounded by the kernel.
                (slot, accepted) = async {
                    let slot = self.acceptor.slot().await;
                    (slot, self.listener.accept().await)
                } => match accepted {
                    Ok((tcp, address)) => {
                        let acceptor = self.acceptor.clone();
                        // A task for each handshake, so that a client that stalls delays nobody else.
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

/// Logs an `accept` error and waits if it is likely to recur at once. A connection that broke in the backlog
/// concerns only its peer; any other error (no descriptors, no memory) affects every `accept`.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::debug!(%error, "a connection broke before it was accepted");
        return;
    }
    tracing::warn!(%error, "connections cannot be accepted; trying again shortly");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Logs a rejected connection at `info`, not `warn`: anyone can cause these, so they must not drown out the
/// messages that an operator has to act on.
fn log_refusal(address: SocketAddr, error: &AcceptError) {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::info!(%address, cause, "connection refused: {error}");
}
