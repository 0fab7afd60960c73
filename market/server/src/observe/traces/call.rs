//! The span of a call, named after OpenTelemetry's semantic conventions for RPC.

use http::{HeaderMap, HeaderValue, Request};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Code;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::TARGET;
use crate::observe::CallTimes;

/// The method name of calls outside the contract, so that callers can't choose the names of spans.
const OTHER: &str = "_OTHER";
/// Maximum length in bytes of a `tracestate` that is propagated (the minimum that W3C Trace Context, 3.3.1.5,
/// requires).
const MAX_TRACE_STATE: usize = 512;

/// The span of a call in progress. Without a collector it is disabled and costs only the check of a flag.
#[derive(Debug)]
pub(in crate::observe) struct CallSpan(Span);

impl CallSpan {
    /// Starts the span, as a part of the caller's trace if it sent one. `methods` contains the methods of the
    /// contract. The span contains no parameters of the call.
    pub(in crate::observe) fn begin<B>(
        methods: &CallTimes,
        request_id: &HeaderValue,
        request: &Request<B>,
    ) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            "call",
            otel.name = Empty,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system = "grpc",
            rpc.service = Empty,
            rpc.method = Empty,
            rpc.grpc.status_code = Empty,
            souk.request_id = request_id.to_str().unwrap_or_default(),
        );
        if !span.is_disabled() {
            match methods.method(request.uri().path()) {
                Some((service, name)) => {
                    span.record("otel.name", format!("{service}/{name}"));
                    span.record("rpc.service", service);
                    span.record("rpc.method", name);
                }
                None => {
                    span.record("otel.name", OTHER);
                    span.record("rpc.method", OTHER);
                }
            }
            let context = TraceContextPropagator::new()
                .extract_with_context(&Context::new(), &Caller(request.headers()));
            if context.span().span_context().is_valid() {
                // This fails only if the span is not exported, and then it does not matter.
                let _ = span.set_parent(context);
            }
        }
        Self(span)
    }

    /// Ends the span. Without a code, the call was abandoned by its caller.
    pub(in crate::observe) fn end(self, code: Option<Code>) {
        if self.0.is_disabled() {
            return;
        }
        let code = code.unwrap_or(Code::Cancelled);
        self.0.record("rpc.grpc.status_code", code as i32);
        if is_the_servers_fault(code) {
            self.0.record("otel.status_code", "error");
        }
    }
}

/// Returns whether the semantic conventions count a code as an error of a server span. The others are errors of the
/// caller.
fn is_the_servers_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The trace context in the headers of a call.
struct Caller<'a>(&'a HeaderMap);

impl Extractor for Caller<'_> {
    /// Returns a header's value, or `None` if it occurs more than once and is therefore ambiguous.
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        only.to_str().ok().filter(|value| value.len() <= MAX_TRACE_STATE)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(headers: &[(&'static str, &str)]) -> Context {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Caller(&map))
    }

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_callers_trace_is_gone_on_with_only_when_it_is_clear() {
        let context = extracted(&[("traceparent", PARENT), ("tracestate", "vendor=1")]);
        let span = context.span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(span.is_sampled());
        for headers in [
            &[][..],
            &[("traceparent", "nonsense")],
            &[("traceparent", PARENT), ("traceparent", PARENT)],
            &[("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")],
        ] {
            assert!(!extracted(headers).span().span_context().is_valid(), "{headers:?}");
        }
    }

    #[test]
    fn a_state_beyond_bounds_is_left_out() {
        let long = format!("vendor={}", "x".repeat(MAX_TRACE_STATE));
        let context = extracted(&[("traceparent", PARENT), ("tracestate", &long)]);
        assert!(context.span().span_context().is_valid());
        assert_eq!(context.span().span_context().trace_state().header(), "");
    }
}
