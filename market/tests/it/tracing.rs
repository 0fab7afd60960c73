//! Spans reach a collector over OTLP/gRPC, and a collector that is unavailable does no harm. The market is
//! `market serve` as a child process, the collector a gRPC server in this test.

use std::net::{SocketAddr, TcpListener as StdListener};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use souk_certs::identity::Role;
use souk_proto::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    fixture::{PATIENCE, Party, draft},
    site::Site,
};

/// The capacity for received exports; far more than a test makes.
const EXPORTS: usize = 1_000;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

struct Collector {
    address: SocketAddr,
    exports: mpsc::Receiver<ExportTraceServiceRequest>,
    serving: JoinHandle<()>,
    /// The received spans, each with the attributes of its resource.
    seen: Vec<(Span, Vec<KeyValue>)>,
}

struct Taking(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Taking {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.try_send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, exports) = mpsc::channel(EXPORTS);
        let server = Server::builder().add_service(TraceServiceServer::new(Taking(sender)));
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, exports, serving, seen: Vec::new() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the span of the call with a request id.
    async fn span(&mut self, id: &str) -> (Span, Vec<KeyValue>) {
        let waiting = async {
            loop {
                if let Some(found) = self.seen.iter().find(|(span, _)| is_of(id, span)) {
                    return found.clone();
                }
                self.seen.extend(spans(self.exports.recv().await.unwrap()));
            }
        };
        timeout(PATIENCE, waiting).await.expect("the span comes")
    }

    /// Returns all spans. The market must have ended.
    fn all(mut self) -> Vec<Span> {
        self.serving.abort();
        while let Ok(export) = self.exports.try_recv() {
            self.seen.extend(spans(export));
        }
        self.seen.into_iter().map(|(span, _)| span).collect()
    }
}

fn is_of(id: &str, span: &Span) -> bool {
    value_of(&span.attributes, "souk.request_id").as_deref() == Some(id)
}

/// Returns the spans of an export, each with the attributes of its resource.
fn spans(export: ExportTraceServiceRequest) -> Vec<(Span, Vec<KeyValue>)> {
    let mut found = Vec::new();
    for resource in export.resource_spans {
        let market = resource.resource.unwrap_or_default().attributes;
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        found.extend(spans.map(|span| (span, market.clone())));
    }
    found
}

/// Returns an attribute as text.
fn value_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lists a lamp with a call that has a request id and belongs to a trace.
async fn sell(
    alice: &Party,
    name: &str,
    id: &'static str,
    traceparent: Option<String>,
) -> Result<(), Status> {
    let message = v1::SellItemRequest {
        request_id: alice.request_id(),
        item: Some(draft(name, "home", 100, 1)),
        ..Default::default()
    };
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", id.parse().unwrap());
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    alice.connection.seller().sell_item(request).await.map(drop)
}

fn traceparent(is_sampled: bool) -> Option<String> {
    Some(format!("00-{TRACE}-{PARENT}-0{}", u8::from(is_sampled)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_has_a_span_in_its_callers_trace() {
    let (mut site, mut collector) = (Site::new(), Collector::open().await);
    let process = Site::start_as(site.serve().args(["--otlp-endpoint", &collector.url()]));
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    sell(&alice, "Lamp", "call-1", traceparent(true)).await.unwrap();
    sell(&alice, "", "call-2", None).await.unwrap_err();

    let (span, market) = collector.span("call-1").await;
    assert_eq!(value_of(&market, "service.name").as_deref(), Some("souk-market"));
    assert_eq!(span.name, "shopping.v1.SellerService/SellItem");
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(
        (hexadecimal(&span.trace_id).as_str(), hexadecimal(&span.parent_span_id).as_str()),
        (TRACE, PARENT)
    );
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let mut attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|attribute| (attribute.key.as_str(), value_of(&span.attributes, &attribute.key).unwrap()))
        .collect();
    attributes.sort();
    // Exactly these attributes: everything else about a call is its caller's private data.
    let expected = [
        ("rpc.grpc.status_code", "0"),
        ("rpc.method", "SellItem"),
        ("rpc.service", "shopping.v1.SellerService"),
        ("rpc.system", "grpc"),
        ("souk.request_id", "call-1"),
    ];
    assert_eq!(attributes, expected.map(|(key, value)| (key, value.to_owned())));

    // Pending spans are sent when the market ends.
    sell(&alice, "Chair", "call-3", None).await.unwrap();
    process.end().await;
    let spans = collector.all();
    assert!(spans.iter().any(|span| is_of("call-3", span)), "{spans:?}");
    let refused = spans.iter().find(|span| is_of("call-2", span)).unwrap();
    assert_eq!(value_of(&refused.attributes, "rpc.grpc.status_code").as_deref(), Some("3"));
    // A mistake of the caller is not an error of the market.
    assert_eq!(refused.status.clone().unwrap_or_default().code(), StatusCode::Unset);
    assert!(refused.parent_span_id.is_empty() && hexadecimal(&refused.trace_id) != TRACE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ratio_of_zero_leaves_sampling_to_callers() {
    let (mut site, collector) = (Site::new(), Collector::open().await);
    let mut command = site.serve();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).args(["--trace-sample-ratio", "0"]);
    let process = Site::start_as(&mut command);
    let alice = site.party("alice", Role::Seller, &process).await;
    alice.register_as_seller("alice").await.unwrap();
    sell(&alice, "Lamp", "not-asked-for", None).await.unwrap();
    sell(&alice, "Chair", "declined", traceparent(false)).await.unwrap();
    sell(&alice, "Table", "asked-for", traceparent(true)).await.unwrap();
    process.end().await;
    let spans = collector.all();
    let ids: Vec<_> = spans.iter().filter_map(|span| value_of(&span.attributes, "souk.request_id")).collect();
    assert_eq!(ids, ["asked-for"]);
}

/// One collector refuses connections; the other accepts them and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_collector_delays_neither_calls_nor_the_drain() {
    let closed = StdListener::bind("127.0.0.1:0").unwrap();
    let silent = StdListener::bind("127.0.0.1:0").unwrap();
    let (nobody, mute) = (closed.local_addr().unwrap(), silent.local_addr().unwrap());
    drop(closed);
    for (collector, is_refusing) in [(nobody, true), (mute, false)] {
        let mut site = Site::new();
        let free = StdListener::bind("127.0.0.1:0").unwrap();
        let admin = free.local_addr().unwrap();
        drop(free);
        let mut command = site.serve();
        command.args([
            "--otlp-endpoint",
            &format!("http://{collector}"),
            "--admin-listen",
            &admin.to_string(),
        ]);
        let process = Site::start_as(&mut command);
        let alice = site.party("alice", Role::Seller, &process).await;
        alice.register_as_seller("alice").await.unwrap();
        for _ in 0..20 {
            sell(&alice, "Lamp", "call", traceparent(true)).await.unwrap();
        }
        if is_refusing {
            let dropped = async { while figure(admin, "souk_spans_dropped_total").await == 0 {} };
            timeout(PATIENCE, dropped).await.expect("spans are dropped, and counted");
        }
        assert_eq!(figure(admin, "souk_spans_sent_total").await, 0);
        sell(&alice, "Lamp", "last", traceparent(true)).await.unwrap();
        // In time and with exit code 0.
        process.end().await;
    }
    drop(silent);
}

async fn figure(admin: SocketAddr, name: &str) -> u64 {
    let mut tcp = TcpStream::connect(admin).await.unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let line =
        answer.lines().find(|line| line.split(' ').next() == Some(name)).expect("it is in the metrics");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
