//! A channel over a single connection, for callers that decide themselves when to redial.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tonic::transport::Channel;

use super::{ConnectOptions, Dial, DialError, DialStep, Secured, dial, endpoint};
use crate::identity::{Identity, TrustDomain};

/// Resolves, always with an error, when the connection has ended: closed by either side, broken, or closed
/// because a ping was not answered.
pub type Closed = oneshot::Receiver<Infallible>;

/// The connection has ended, and this channel does not open another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the connection has ended")]
pub struct ConnectionEnded;

/// Dials `server` at `target` and returns a channel over that one connection.
///
/// When the connection ends, calls in progress fail with UNAVAILABLE, and so do later calls, with
/// [`ConnectionEnded`] among their sources. Unlike a [`channel`](super::channel) it does not redial. Must be
/// called inside a tokio runtime.
///
/// # Errors
/// Returns a [`DialError`] with the step that failed and the cause.
pub async fn connect_once(
    target: &Dial,
    server: Identity,
    config: Arc<ClientConfig>,
    domain: &TrustDomain,
    options: ConnectOptions,
) -> Result<(Channel, Closed), DialError> {
    let stream = dial(target, server, config, domain, options.connect_timeout).await?;
    let (held, closed) = oneshot::channel();
    // Taken by the first connect. When tonic tries to reconnect, it gets an error instead of a second
    // connection.
    let mut stream = Some(TokioIo::new(Held { stream, _until_dropped: held }));
    let connect = tower::service_fn(move |_: Uri| std::future::ready(stream.take().ok_or(ConnectionEnded)));
    let channel = endpoint(&server.dns_name(domain), options).connect_with_connector(connect).await;
    let failed = |error| DialError { step: DialStep::Tls, target: target.clone(), source: Box::new(error) };
    Ok((channel.map_err(failed)?, closed))
}

/// A stream that signals its end by dropping a sender. tonic owns the stream and reports its loss only to
/// calls, so the drop is the one event that is always seen.
struct Held {
    stream: Secured,
    _until_dropped: oneshot::Sender<Infallible>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
