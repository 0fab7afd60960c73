//! Deadlines of calls: the client's `grpc-timeout`, which covers the call up to its last byte, and the market's own
//! limit, which covers it until the response begins.
//!
//! Calls with a request stream are answered at its end. The market's limit does not apply to them; they bound the
//! wait for each message themselves.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::request_streams::RequestStreams;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A layer that applies [`Deadline`].
#[derive(Clone, Debug)]
pub(super) struct DeadlineLayer {
    longest: Duration,
    streams: RequestStreams,
}

impl DeadlineLayer {
    /// Creates a layer with this limit for all calls except those with a request stream.
    pub(super) fn new(longest: Duration, streams: RequestStreams) -> Self {
        Self { longest, streams }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner, layer: self.clone() }
    }
}

/// A service whose calls end with DEADLINE_EXCEEDED when they take too long.
#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B, A> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    A: Body + Default,
{
    type Response = Response<BoundedBody<A>>;
    type Error = S::Error;
    type Future = Bounded<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A malformed timeout is ignored; the limit of the market still applies.
        let asked = request.headers().get(GRPC_TIMEOUT).and_then(asked_for);
        let DeadlineLayer { longest, streams } = &self.layer;
        let own = streams.messages_per_call(request.uri().path()).is_none().then_some(*longest);
        let now = Instant::now();
        // A time that the clock can't reach is as good as none.
        let at = |limit: Option<Duration>| limit.and_then(|limit| now.checked_add(limit));
        let (until_answer, until_end) = (at(own), at(asked));
        Bounded { call: self.inner.call(request), until_answer, until_end, timer: Timer::default() }
    }
}

/// Parses a `grpc-timeout` (gRPC over HTTP/2, "Timeout": up to 8 digits and a unit). Returns `None` if it is
/// malformed.
fn asked_for(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
    let number: u32 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let unit = match unit {
        "H" => Duration::from_secs(3_600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(unit.saturating_mul(number))
}

fn over() -> Status {
    let message = "the deadline is over; whether a change took effect is not known";
    Status::new(Code::DeadlineExceeded, message)
}

/// A timer that is set when something has to wait for it. Most calls have their answer at the first poll, and need none.
///
/// Boxed, because it moves from the call into the body, and a polled [`Sleep`] must not move.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Waits until the earlier of two times.
    fn poll(&mut self, until: [Option<Instant>; 2], context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = until.into_iter().flatten().min() else { return Poll::Pending };
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        // Set for the market's limit at first, which may be earlier than the client's.
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(context)
    }
}

pin_project! {
    /// A call and its two deadlines.
    pub(super) struct Bounded<F> {
        #[pin]
        call: F,
        until_answer: Option<Instant>,
        until_end: Option<Instant>,
        timer: Timer,
    }
}

impl<F, A, E> Future for Bounded<F>
where
    F: Future<Output = Result<Response<A>, E>>,
    A: Body + Default,
{
    type Output = Result<Response<BoundedBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The call is polled before the timer: if both are ready, a change that took effect should be
        // reported as such.
        if let Poll::Ready(answered) = this.call.poll(context) {
            // The market's own limit ends here: a response stream may last longer. The client's deadline goes on to its last byte.
            let (until_end, timer) = (*this.until_end, std::mem::take(this.timer));
            return Poll::Ready(
                answered.map(|answer| answer.map(|body| BoundedBody { body, until_end, timer })),
            );
        }
        ready!(this.timer.poll([*this.until_answer, *this.until_end], context));
        Poll::Ready(Ok(over().into_http()))
    }
}

pin_project! {
    /// A response body that ends with DEADLINE_EXCEEDED when the client's deadline has passed.
    pub(super) struct BoundedBody<A> {
        #[pin]
        body: A,
        until_end: Option<Instant>,
        timer: Timer,
    }
}

impl<A: Default> Default for BoundedBody<A> {
    fn default() -> Self {
        Self { body: A::default(), until_end: None, timer: Timer::default() }
    }
}

impl<A: Body> Body for BoundedBody<A> {
    type Data = A::Data;
    type Error = A::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        // A frame that is ready is sent even after the deadline. The timer is polled only when the body has
        // nothing, so it cannot cut off trailers that are already there.
        if let Poll::Ready(frame) = this.body.poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(this.timer.poll([*this.until_end, None], context));
        // gRPC reports the status of a stream in the trailers. Ending the body without them would reach the
        // client as a protocol error, not as DEADLINE_EXCEEDED.
        let mut trailers = HeaderMap::new();
        match over().add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(_) => Poll::Ready(None),
        }
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
    use std::convert::Infallible;

    use tokio::time::sleep;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn code(path: &str, timeout: Option<&str>) -> Option<Code> {
        let slow = service_fn(async |_: Request<()>| {
            sleep(Duration::from_secs(2)).await;
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        });
        let service = DeadlineLayer::new(Duration::from_secs(1), RequestStreams::default()).layer(slow);
        let mut request = Request::builder().uri(path);
        if let Some(timeout) = timeout {
            request = request.header(GRPC_TIMEOUT, timeout);
        }
        let answer = Box::pin(service.oneshot(request.body(()).unwrap())).await.unwrap();
        Status::from_header_map(answer.headers()).map(|status| status.code())
    }

    const BUY: &str = "/shopping.v1.BuyerService/BuyItem";
    const IMPORT: &str = "/shopping.v1.SellerService/ImportItems";

    #[tokio::test(start_paused = true)]
    async fn calls_are_bounded_but_not_those_that_are_sent_a_stream() {
        assert_eq!(code(BUY, None).await, Some(Code::DeadlineExceeded));
        assert_eq!(code(IMPORT, None).await, None);
        assert_eq!(code(IMPORT, Some("500m")).await, Some(Code::DeadlineExceeded));
        assert_eq!(code(IMPORT, Some("1H")).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_clients_time_is_over() {
        let endless = service_fn(async |_: Request<()>| {
            let silent = futures::stream::pending::<Result<Frame<bytes::Bytes>, Status>>();
            let body = tonic::body::Body::new(http_body_util::StreamBody::new(silent));
            Ok::<_, Infallible>(Response::new(body))
        });
        let service = DeadlineLayer::new(Duration::from_secs(1), RequestStreams::default()).layer(endless);
        let request = Request::builder().uri(BUY).header(GRPC_TIMEOUT, "30S").body(()).unwrap();
        let answer = Box::pin(service.oneshot(request)).await.unwrap();
        let mut body = Box::pin(answer.into_body());
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await.unwrap().unwrap();
        let status = Status::from_header_map(frame.trailers_ref().unwrap()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let read = |text: &'static str| asked_for(&HeaderValue::from_static(text));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "S", "1", "-1S", "1.5S", "123456789S", "5x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
