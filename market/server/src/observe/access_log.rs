//! The access log: one line per call with caller, method, outcome and duration. Also ends the call's span. Of refused
//! calls, each party has a number of lines per second; the others are counted in one line.
//!
//! The layer is outside the guard, so that rejected calls are logged too; the caller is taken from the connection's
//! certificate. A call's status is in the trailers of its response, so the line is written when the response body
//! ends.

use std::{
    fmt::{self, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use souk_certs::{acceptor::PeerInfo, identity::Identity};
use souk_proto::{metadata, reason::code_name};
use tonic::{Code, Status};
use tower::{Layer, Service};

use uuid::Uuid;

use super::{
    CallTimes, Talker, calls::ThreadTimes, refused_lines::RefusedLines, server_timing::server_timing,
    traces::CallSpan,
};
use crate::{config::LogFormat, random::Random};

/// The header with the id that identifies the call in the log. The caller may choose it; otherwise the market assigns
/// one.
const REQUEST_ID: HeaderName = HeaderName::from_static(metadata::REQUEST_ID);
/// The response header with the time spent in the market, by which a caller can distinguish it from network latency.
const SERVER_TIMING: HeaderName = HeaderName::from_static(metadata::SERVER_TIMING);
/// Maximum length in bytes of an id chosen by the caller. A longer one is replaced.
const MAX_REQUEST_ID: usize = 64;

/// Maximum length in bytes of a method in the log. Those of the contract are shorter.
const MAX_METHOD: usize = 96;

/// What the connections of a server thread share.
#[derive(Clone, Debug)]
pub struct AccessLogOptions {
    format: LogFormat,
    times: ThreadTimes,
    random: Random,
    refused: RefusedLines,
}

impl AccessLogOptions {
    /// Creates the options of a server thread, which writes lines in this format and records the durations of calls in
    /// `times`.
    pub fn new(format: LogFormat, times: &Arc<CallTimes>, random: Random) -> Self {
        Self { format, times: times.of_thread(), random, refused: RefusedLines::default() }
    }
}

/// A layer that applies [`AccessLog`] to the calls of a connection. Behind one pointer, because a service is cloned for
/// each call.
#[derive(Clone, Debug)]
pub struct AccessLogLayer(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    options: AccessLogOptions,
    talker: Talker,
    peer: PeerInfo,
}

impl AccessLogLayer {
    /// Creates the layer for a connection from a peer, to whose usage the calls are added.
    pub fn new(options: &AccessLogOptions, talker: Talker, peer: PeerInfo) -> Self {
        Self(Arc::new(Connection { options: options.clone(), talker, peer }))
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessLog { inner, layer: self.clone() }
    }
}

/// A service that logs its calls.
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    inner: S,
    layer: AccessLogLayer,
}

impl<S, B, A> Service<Request<B>> for AccessLog<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<LoggedBody<A>>;
    type Error = S::Error;
    type Future = LoggedCall<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Connection { options, talker, .. } = &*self.layer.0;
        talker.add_call();
        // Only a plain id: it is copied into the log, where line breaks or escape sequences could forge
        // entries.
        let given = request.headers().get(REQUEST_ID).filter(|id| is_plain(id)).cloned();
        let id = given.unwrap_or_else(|| new_id(options.random.uuid_v4()));
        let line = Line {
            path: request.uri().path_and_query().cloned(),
            began: Instant::now(),
            span: CallSpan::begin(options.times.all(), &id, &request),
            id,
            layer: self.layer.clone(),
        };
        LoggedCall { call: self.inner.call(request), line: LineAtEnd(Some(line)) }
    }
}

/// Returns whether an id chosen by the caller is safe to log: short and of harmless characters.
fn is_plain(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.as_bytes().iter().all(allowed)
}

fn new_id(id: Uuid) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let id = id.simple().encode_lower(&mut buffer);
    // Cannot fail: hexadecimal digits are valid in a header.
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("none"))
}

/// The data of a log line that are known before the call ends.
struct Line {
    path: Option<PathAndQuery>,
    began: Instant,
    span: CallSpan,
    id: HeaderValue,
    layer: AccessLogLayer,
}

impl Line {
    fn write(self, outcome: Outcome) {
        let Connection { options, talker, peer } = &*self.layer.0;
        let took = self.began.elapsed();
        self.span.end(outcome.code());
        let path = self.path.as_ref().map_or("", PathAndQuery::path);
        options.times.add(path, outcome.code(), took);
        if outcome.is_refusal() {
            talker.add_refused();
        }
        // After the metrics, which do not depend on the log level.
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let party = peer.certificate.identity();
        if outcome.is_refusal() && !may_be_written(party, &options.refused) {
            return;
        }
        let who = Who(party);
        let what = Method(path.trim_start_matches('/').trim_start_matches("shopping.v1."));
        let outcome = outcome.as_str();
        let millis = took.as_secs_f64() * 1_000.0;
        let id = self.id.to_str().unwrap_or_default();
        let peer = peer.address;
        match options.format {
            LogFormat::Words => {
                tracing::info!(target: "souk::access", "{who} at {peer}: {what} {outcome} in {millis:.1} ms [{id}]");
            }
            LogFormat::Json => {
                tracing::info!(target: "souk::access", %who, %what, outcome, millis, %peer, id, "call");
            }
        }
    }
}

/// Returns whether there may be another line about a refused call of this party in this second.
fn may_be_written(party: Identity, refused: &RefusedLines) -> bool {
    refused.admit(party, move |left_out| {
        let who = Who(party);
        tracing::info!(target: "souk::access", %who, left_out, "more refused calls, without a line for each");
    })
}

/// Formats the method that was called. A caller may name any, of any length and with any characters.
struct Method<'a>(&'a str);

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0.as_bytes()[..self.0.len().min(MAX_METHOD)];
        for piece in shown.utf8_chunks() {
            for letter in piece.valid().chars() {
                // Others could change what a terminal shows.
                f.write_char(if letter.is_ascii_graphic() { letter } else { '?' })?;
            }
        }
        if shown.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

/// Formats the party in the certificate.
struct Who(Identity);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(identity) = self;
        f.write_str(identity.role().as_str())?;
        match identity.uuid() {
            Some(uuid) => write!(f, " {uuid}"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Ended(Code),
    /// The caller cancelled the call, or the connection broke.
    Abandoned,
}

impl Outcome {
    fn of(trailers: &HeaderMap) -> Option<Self> {
        // Only the code: `Status::from_header_map` would copy message, details and metadata, for every call.
        trailers.get(Status::GRPC_STATUS).map(|code| Self::Ended(Code::from_bytes(code.as_bytes())))
    }

    fn code(self) -> Option<Code> {
        match self {
            Self::Abandoned => None,
            Self::Ended(code) => Some(code),
        }
    }

    /// Returns whether the call was refused because of its caller, its method or its rate, not because of its content.
    fn is_refusal(self) -> bool {
        let Self::Ended(code) = self else { return false };
        matches!(
            code,
            Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::ResourceExhausted
        )
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Ended(code) => code_name(code),
        }
    }
}

pin_project! {
    /// A call in progress, whose line is written when it ends.
    pub struct LoggedCall<F> {
        #[pin]
        call: F,
        line: LineAtEnd,
    }
}

impl<F, A, E> Future for LoggedCall<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = Result<Response<LoggedBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = std::task::ready!(this.call.poll(context))?;
        // Moved into the body. If the call is dropped before this point, the drop of the future logs it as
        // abandoned.
        let mut line = LineAtEnd(this.line.0.take());
        if let LineAtEnd(Some(line)) = &line {
            let headers = response.headers_mut();
            headers.insert(REQUEST_ID, line.id.clone());
            headers.extend(server_timing(line.began.elapsed()).map(|time| (SERVER_TIMING, time)));
        }
        // A response without a body has the status in its headers (gRPC "Trailers-Only").
        if let Some(outcome) = Outcome::of(response.headers()) {
            line.write(outcome);
        }
        Poll::Ready(Ok(response.map(|body| LoggedBody { body, line })))
    }
}

/// Writes its line exactly once: when the response ends or, as abandoned, when it is dropped before.
struct LineAtEnd(Option<Line>);

impl LineAtEnd {
    fn write(&mut self, outcome: Outcome) {
        if let Some(line) = self.0.take() {
            line.write(outcome);
        }
    }
}

impl Drop for LineAtEnd {
    fn drop(&mut self) {
        self.write(Outcome::Abandoned);
    }
}

pin_project! {
    /// A response body whose end is the end of the call.
    pub struct LoggedBody<A> {
        #[pin]
        body: A,
        line: LineAtEnd,
    }
}

impl<A: Body> Body for LoggedBody<A> {
    type Data = A::Data;
    type Error = A::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(outcome) = frame.trailers_ref().and_then(Outcome::of) {
                    this.line.write(outcome);
                }
            }
            Some(Err(_)) => this.line.write(Outcome::Abandoned),
            // Does nothing if the trailers were logged: `write` takes the line, so a call is logged once.
            None => this.line.write(Outcome::Ended(Code::Ok)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_in_the_log_is_short_and_harmless() {
        assert_eq!(Method("BuyerService/BuyItem").to_string(), "BuyerService/BuyItem");
        assert_eq!(Method("a\u{9b}31m\nb\u{202e}").to_string(), "a?31m?b?");
        let long = Method(&"\u{e9}".repeat(4_096)).to_string();
        assert_eq!(long.len(), MAX_METHOD / 2 + 3);
        let longest = souk_proto::methods().iter().map(|method| method.path().len()).max();
        assert!(longest.is_some_and(|length| length < MAX_METHOD));
    }
}
