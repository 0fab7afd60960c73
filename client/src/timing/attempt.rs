//! The timing of one attempt, from sending it to the last byte of its answer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use souk_proto::{
    metadata::{MARKET_TIME, REQUEST_ID, SERVER_TIMING},
    reason::code_name,
};
use tonic::{Code, Status, body::Body};

use super::{AttemptLog, CallTiming, Timings};

/// How one attempt went.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Service and method, without the package.
    pub method: String,
    /// The status code; `None` if there was no answer or the attempt was cancelled.
    pub code: Option<Code>,
    /// The time from sending the request to the last byte of its answer.
    pub took: Duration,
    /// The part of that spent in the market until its answer began, if the market reports it.
    pub market: Option<Duration>,
    /// The id of the call in the market's log, if the market answered.
    pub request_id: Option<String>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let how = self.code.map_or("no answer", code_name);
        write!(f, "{how} in {:.1} ms", millis(self.took))?;
        if let Some(market) = self.market {
            write!(f, ", market {:.1} ms", millis(market))?;
        }
        match &self.request_id {
            Some(id) => write!(f, " [{id}]"),
            None => Ok(()),
        }
    }
}

/// Records an attempt once: at its end, or when it is cancelled.
pub(crate) struct Recorder(Option<UnderWay>);

struct UnderWay {
    began: Instant,
    method: String,
    market: Option<Duration>,
    request_id: Option<String>,
    /// `None` for a call without retries, which is reported separately.
    log: Option<AttemptLog>,
    timings: Timings,
}

impl Recorder {
    pub(super) fn begin(path: &str, log: Option<AttemptLog>, timings: Timings) -> Self {
        let path = path.trim_start_matches('/');
        let method = path.strip_prefix("shopping.v1.").unwrap_or(path).to_owned();
        let (market, request_id) = (None, None);
        Self(Some(UnderWay { began: Instant::now(), method, market, request_id, log, timings }))
    }

    /// Records the information in an answer's headers.
    fn answered(&mut self, headers: &HeaderMap) {
        let Some(under_way) = &mut self.0 else { return };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        under_way.request_id = text(REQUEST_ID).map(str::to_owned);
        under_way.market = text(SERVER_TIMING).and_then(market_time);
    }

    fn end(&mut self, code: Option<Code>) {
        let Some(UnderWay { began, method, market, request_id, log, timings }) = self.0.take() else {
            return;
        };
        let took = began.elapsed();
        let attempt = Attempt { method, code, took, market, request_id };
        match log {
            Some(log) => log.add(attempt),
            None => {
                let method = attempt.method.clone();
                (timings.0)(&CallTiming { method, took, attempts: vec![attempt] });
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// Returns what a market reports by `server-timing: market;dur=MILLISECONDS`.
fn market_time(text: &str) -> Option<Duration> {
    let millis: f64 = text.strip_prefix(MARKET_TIME)?.parse().ok()?;
    Duration::try_from_secs_f64(millis / 1_000.0).ok()
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    Status::from_header_map(headers).map(|status| status.code())
}

pin_project! {
    /// An attempt in progress, which is recorded when its answer ends or when it is dropped.
    pub(crate) struct TimedCall<F> {
        #[pin]
        call: F,
        recorder: Option<Recorder>,
    }
}

impl<F> TimedCall<F> {
    pub(super) fn new(call: F, recorder: Option<Recorder>) -> Self {
        Self { call, recorder }
    }
}

impl<F, E> Future for TimedCall<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = std::task::ready!(this.call.poll(context))?;
        let Some(mut recorder) = this.recorder.take() else { return Poll::Ready(Ok(response)) };
        recorder.answered(response.headers());
        // An answer without a body has its status in the headers.
        if let Some(code) = code_of(response.headers()) {
            recorder.end(Some(code));
            return Poll::Ready(Ok(response));
        }
        Poll::Ready(Ok(response.map(|body| Body::new(TimedBody { body, recorder }))))
    }
}

pin_project! {
    /// The body of an answer; its end is the end of the attempt.
    struct TimedBody {
        #[pin]
        body: Body,
        recorder: Recorder,
    }
}

impl http_body::Body for TimedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_of) {
                    this.recorder.end(Some(code));
                }
            }
            Some(Err(_)) | None => this.recorder.end(None),
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
    fn the_markets_own_time_is_read_as_it_is_written() {
        assert_eq!(market_time("market;dur=1.250"), Some(Duration::from_micros(1_250)));
        for other in ["", "market;dur=", "market;dur=-1", "market;dur=NaN", "cache;dur=1", "market;dur=1e300"]
        {
            assert_eq!(market_time(other), None, "{other}");
        }
    }
}
