//! A layer for servers that gives every error a reason.
//!
//! The handlers' own errors carry `ErrorInfo`. Those that the gRPC library makes before or after a handler runs do not:
//! for a message that is too large or can't be decoded, for an unknown method or compression, for a call that took too
//! long. [`ExplainLayer`] adds it, in the response's headers as well as in its trailers. Where tonic's status code
//! differs from that of other gRPC implementations or blames the wrong side, it replaces the code too.
//!
//! It also refuses calls with more than [`MAX_METADATA_BYTES`] of metadata. HTTP/2 itself would answer these with 431
//! and no status; so a server with this layer allows [`HEADER_LIST_BYTES`] there, from where on it still does.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};

use crate::reason::{DOMAIN, Reason};

/// The maximum size of a call's metadata in bytes: a token of 2 KiB, trace context, and room for what proxies add. The
/// size is computed as in SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2).
pub const MAX_METADATA_BYTES: usize = 16 * 1024;

/// The maximum size of metadata that a server with this layer should accept on the level of HTTP/2, so that a call with
/// too much of it gets a status.
pub const HEADER_LIST_BYTES: u32 = 128 * 1024;

/// An extension of the response to a call with too much metadata, by which outer layers distinguish it from overload: the
/// code is the same.
#[derive(Clone, Copy, Debug)]
pub struct MetadataRefused;

/// What HTTP/2 adds to the size of a name and its value (RFC 9113, section 6.5.2).
const ENTRY_OVERHEAD: usize = 32;

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// tonic sends it with the status for a compression that it does not know.
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A layer that applies [`Explain`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ExplainLayer;

impl<S> Layer<S> for ExplainLayer {
    type Service = Explain<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Explain { inner }
    }
}

/// A service whose errors all have a reason.
#[derive(Clone, Debug)]
pub struct Explain<S> {
    inner: S,
}

impl<S, B, A> Service<Request<B>> for Explain<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    A: Default,
{
    type Response = Response<ExplainedBody<A>>;
    type Error = S::Error;
    type Future = Explained<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_small = metadata_bytes(&request) <= MAX_METADATA_BYTES;
        Explained { call: is_small.then(|| self.inner.call(request)) }
    }
}

/// Returns the size of a request's metadata and path.
fn metadata_bytes<B>(request: &Request<B>) -> usize {
    let entries = request.headers().iter();
    let bytes: usize = entries.map(|(name, value)| name.as_str().len() + value.len() + ENTRY_OVERHEAD).sum();
    bytes + request.uri().path().len()
}

pin_project! {
    /// A call whose error gets a reason.
    pub struct Explained<F> {
        // `None` if the call is refused because of its metadata.
        #[pin]
        call: Option<F>,
    }
}

impl<F, A, E> Future for Explained<F>
where
    F: Future<Output = Result<Response<A>, E>>,
    A: Default,
{
    type Output = Result<Response<ExplainedBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = self.project().call.as_pin_mut() else {
            let message = format!("the metadata is larger than {MAX_METADATA_BYTES} bytes; send less of it");
            let mut response = status(Reason::MetadataTooLarge, &message).into_http();
            response.extensions_mut().insert(MetadataRefused);
            return Poll::Ready(Ok(response));
        };
        let mut response = ready!(call.poll(context))?;
        // A response without a body has the status in its headers (gRPC "Trailers-Only").
        explain(response.headers_mut());
        Poll::Ready(Ok(response.map(|body| ExplainedBody { body })))
    }
}

pin_project! {
    /// A response body whose trailers get a reason if they report an error without one.
    #[derive(Default)]
    pub struct ExplainedBody<A> {
        #[pin]
        body: A,
    }
}

impl<A: Body> Body for ExplainedBody<A> {
    type Data = A::Data;
    type Error = A::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut frame = ready!(self.project().body.poll_frame(context));
        if let Some(trailers) = frame.as_mut().and_then(|frame| frame.as_mut().ok()?.trailers_mut()) {
            explain(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Adds a reason to the status in headers or trailers, if it is an error without one.
fn explain(headers: &mut HeaderMap) {
    let is_error = headers.get(Status::GRPC_STATUS).is_some_and(|code| code != "0");
    if !is_error || headers.contains_key(DETAILS) {
        return;
    }
    let Some(bare) = Status::from_header_map(headers) else { return };
    let (reason, message) = explanation(&bare, headers.contains_key(ACCEPT_ENCODING));
    // Fails only for a message that no header can hold, which tonic escapes. The status then stays as it is.
    let _ = status(reason, message).add_header(headers);
}

/// Returns the reason with which the client receives a status.
pub fn sent_reason(status: &Status) -> Reason {
    Reason::of(status).unwrap_or_else(|| explanation(status, false).0)
}

/// Returns the reason of a status that tonic made, and the message to send with it.
fn explanation(bare: &Status, names_encodings: bool) -> (Reason, &str) {
    let reason = match bare.code() {
        // OUT_OF_RANGE is for values such as an offset; for a message that exceeds a limit, all other implementations
        // send RESOURCE_EXHAUSTED.
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        Code::Unimplemented if names_encodings => Reason::CompressionUnsupported,
        Code::Unimplemented => Reason::MethodUnknown,
        // "MUST fail with INTERNAL status" (gRPC, "Compression").
        Code::Internal if bare.message().contains("compressed-flag") => Reason::CompressionUnnamed,
        // tonic blames itself for a message that it can't decode. Handlers never send a bare INTERNAL.
        Code::Internal | Code::InvalidArgument => Reason::RequestMalformed,
        Code::NotFound => Reason::ServiceUnknown,
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        Code::Cancelled => Reason::Cancelled,
        Code::Unavailable => Reason::Unavailable,
        _ => Reason::Internal,
    };
    // tonic has no message for an unknown method.
    let message = if bare.message().is_empty() { reason.meaning() } else { bare.message() };
    (reason, message)
}

fn status(reason: Reason, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
    Status::with_error_details(reason.code(), message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(bare: &Status) -> Status {
        let mut headers = HeaderMap::new();
        bare.add_header(&mut headers).unwrap();
        explain(&mut headers);
        Status::from_header_map(&headers).unwrap()
    }

    #[test]
    fn every_error_gets_a_reason_that_agrees_with_its_code() {
        for code in (1..=16).map(Code::from_i32) {
            let status = explained(&Status::new(code, "why"));
            let reason = Reason::of(&status).unwrap_or_else(|| panic!("{code:?}"));
            assert_eq!((status.code(), status.message()), (reason.code(), "why"), "{code:?}");
        }
        let status = explained(&Status::new(Code::Unimplemented, ""));
        assert_eq!(status.message(), Reason::MethodUnknown.meaning());
    }

    #[test]
    fn success_and_errors_with_details_stay_as_they_are() {
        let known = super::status(Reason::OutOfStock, "sold out");
        assert_eq!(Reason::of(&explained(&known)), Some(Reason::OutOfStock));
        let mut headers = HeaderMap::new();
        Status::ok("").add_header(&mut headers).unwrap();
        explain(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
