//! The stream of accepted connections that tonic's `serve_with_incoming` takes.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use futures::Stream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{AcceptError, Acceptor, Listener, TlsConnection};

/// Returns a stream of the connections accepted from `listener` whose handshake succeeded.
///
/// Handshakes run concurrently as tasks of the current runtime, and connections are yielded in the order in
/// which their handshakes finish. A failed handshake is logged and does not end the stream; a failed `accept`
/// is logged and retried, after a pause if the cause is local. The stream never ends and never yields an
/// error. Dropping it closes the listener and aborts the handshakes in progress.
///
/// Each source address has its share of the handshakes; see [`Sources`](super::Sources).
pub fn incoming(listener: TcpListener, acceptor: Acceptor) -> impl Stream<Item = io::Result<TlsConnection>> {
    let listener = Listener::new(listener, acceptor.sources().clone(), Vec::new());
    let state = Incoming { listener, acceptor, handshakes: JoinSet::new() };
    futures::stream::unfold(state, async |mut state| Some((Ok(state.next().await), state)))
}

struct Incoming {
    listener: Listener,
    acceptor: Acceptor,
    /// Bounded by the places, one of which each handshake holds.
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
                arrival = self.listener.next() => {
                    let acceptor = self.acceptor.clone();
                    // A task for each handshake, so that a client that stalls delays nobody else.
                    self.handshakes.spawn(async move {
                        let address = arrival.address;
                        let accepted = acceptor.accept_arrival(arrival).await;
                        accepted.inspect_err(|error| log_refusal(address, error)).ok()
                    });
                }
            }
        }
    }
}

/// Logs a rejected connection at `info`, not `warn`: anyone can cause these, so they must not drown out the
/// messages that an operator has to act on.
fn log_refusal(address: SocketAddr, error: &AcceptError) {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::info!(%address, cause, "connection refused: {error}");
}
