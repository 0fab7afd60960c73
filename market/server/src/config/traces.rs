//! Settings of the export of spans.

use http::Uri;
use serde::Deserialize;

use super::ConfigError;

/// The export of spans to an OpenTelemetry collector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceConfig {
    /// Address of a collector that accepts OTLP over gRPC. If empty, no spans are created.
    pub otlp_endpoint: String,
    /// Share of calls that are traced, 0 to 1. For a call with a `traceparent`, its caller's decision applies.
    pub sample_ratio: f64,
}

impl TraceConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| Err(ConfigError::OutOfBounds { key, problem: problem.into() });
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return wrong("traces.sample_ratio", "give 0 to 1");
        }
        if self.otlp_endpoint.is_empty() {
            return Ok(());
        }
        let Some((_, authority)) = self.collector() else {
            return wrong("traces.otlp_endpoint", "write it like http://localhost:4317, with http or https");
        };
        if authority.contains('@') {
            // The address is written to the log, so it must not contain a password.
            return wrong(
                "traces.otlp_endpoint",
                "leave name and password out; set OTEL_EXPORTER_OTLP_HEADERS for what the collector asks for",
            );
        }
        Ok(())
    }

    /// Returns whether spans would be sent unencrypted over the network.
    pub(super) fn is_readable_by_others(&self) -> bool {
        let Some((true, authority)) = self.collector() else { return false };
        let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_here = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        !is_here
    }

    /// Parses the address. Returns whether it is without TLS, and its host and port.
    fn collector(&self) -> Option<(bool, String)> {
        let uri: Uri = self.otlp_endpoint.parse().ok()?;
        let is_plain = match uri.scheme_str()? {
            "http" => true,
            "https" => false,
            _ => return None,
        };
        Some((is_plain, uri.authority()?.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(endpoint: &str) -> TraceConfig {
        TraceConfig { otlp_endpoint: endpoint.into(), sample_ratio: 1.0 }
    }

    #[test]
    fn a_collector_is_named_by_an_address_without_secrets() {
        for good in ["", "http://localhost:4317", "https://collector.example.org", "http://[::1]:4317"] {
            assert!(traces(good).check().is_ok(), "{good}");
        }
        for wrong in ["localhost:4317", "grpc://localhost:4317", "http://", "http://name:secret@host:4317"] {
            assert!(traces(wrong).check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_share_of_calls_is_between_none_and_all() {
        for (ratio, is_good) in [(0.0, true), (0.25, true), (1.0, true), (1.1, false), (-0.1, false)] {
            let config = TraceConfig { sample_ratio: ratio, ..traces("") };
            assert_eq!(config.check().is_ok(), is_good, "{ratio}");
        }
        assert!(TraceConfig { sample_ratio: f64::NAN, ..traces("") }.check().is_err());
    }

    #[test]
    fn plain_http_to_another_machine_is_warned_of() {
        assert!(traces("http://192.0.2.1:4317").is_readable_by_others());
        assert!(traces("http://collector:4317").is_readable_by_others());
        for fine in ["", "http://127.0.0.1:4317", "http://[::1]:4317", "https://192.0.2.1:4317"] {
            assert!(!traces(fine).is_readable_by_others(), "{fine}");
        }
    }
}
