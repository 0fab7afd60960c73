//! A scripted market, to test how the client reacts.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use souk_certs::{
    acceptor::{self, Acceptor, AcceptorLimits, PeerInfo},
    clock,
    credentials::Credentials,
    server::{ClientPolicy, server_config},
};
use souk_proto::{
    Reason,
    metadata::{AUTHORIZATION, BEARER_PREFIX, PARTY_ID},
    reason::DOMAIN,
    v1::{
        account_service_server::{AccountService, AccountServiceServer},
        event_service_server::{EventService, EventServiceServer},
        session_service_server::{SessionService, SessionServiceServer},
        *,
    },
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::{Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The market's planned behaviour, and what it has received so far.
pub(crate) struct Script {
    /// The lifetime of tokens.
    pub(crate) token_life: Duration,
    /// Tokens from this one on are accepted; numbers count from 1.
    pub(crate) oldest_token: u32,
    /// The error that IssueToken returns instead of a token.
    pub(crate) issue_refused: Option<Status>,
    /// How far the market's clock is ahead.
    pub(crate) clock_ahead: time::Duration,
    /// The errors that TestEvent returns before it succeeds.
    pub(crate) test_event: VecDeque<Status>,
    /// What each Subscribe sends; a stream that ends without an error stays open.
    pub(crate) streams: VecDeque<Vec<Result<SubscribeResponse, Status>>>,
    /// The account in WhoAmI's response.
    pub(crate) account: Result<Account, Status>,
    /// Whether TestEvent's event is delivered.
    pub(crate) echo_to_stream: bool,
    /// Unacknowledged events, which every Subscribe sends again.
    mailbox: Vec<Event>,
    pub(crate) issued: u32,
    pub(crate) calls: Vec<Call>,
    pub(crate) cursors: Vec<i64>,
    pub(crate) acknowledged: Vec<i64>,
    /// The totals of missed events that were confirmed.
    pub(crate) confirmed: Vec<MissedTotal>,
    /// The number of AnnounceInbox calls.
    pub(crate) announced: u32,
    /// The consumer and the stream id of each Subscribe.
    pub(crate) consumers: Vec<(String, String)>,
}

/// A call of TestEvent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) request_id: String,
    pub(crate) party_id: String,
    pub(crate) token: String,
    pub(crate) deadline: Option<String>,
}

struct State {
    script: Mutex<Script>,
    /// Counts everything that happens, for tests to wait on.
    changes: watch::Sender<u64>,
    /// IssueToken responds only while this is true.
    issuing: watch::Sender<bool>,
    /// Events to be sent on open streams.
    live: tokio::sync::broadcast::Sender<Event>,
}

pub(crate) struct Market {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Service(Arc<State>);

impl Market {
    /// Starts the market on a free loopback port.
    pub(crate) async fn open(credentials: &Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let script = Script {
            token_life: Duration::from_secs(600),
            oldest_token: 1,
            issue_refused: None,
            clock_ahead: time::Duration::ZERO,
            test_event: VecDeque::new(),
            streams: VecDeque::new(),
            account: Ok(Account { display_name: "Alice".into(), ..Account::default() }),
            echo_to_stream: false,
            mailbox: Vec::new(),
            issued: 0,
            calls: Vec::new(),
            cursors: Vec::new(),
            acknowledged: Vec::new(),
            confirmed: Vec::new(),
            announced: 0,
            consumers: Vec::new(),
        };
        let state = Arc::new(State {
            script: Mutex::new(script),
            changes: watch::Sender::new(0),
            issuing: watch::Sender::new(true),
            live: tokio::sync::broadcast::Sender::new(16),
        });
        let tls = server_config(credentials, ClientPolicy::AnyParty).expect("a TLS configuration");
        let limits = AcceptorLimits { handshakes: 16, ..AcceptorLimits::default() };
        let domain = credentials.trust_domain().clone();
        let acceptor = Acceptor::new(tls, domain, ClientPolicy::AnyParty, limits);
        let service = Service(Arc::clone(&state));
        let router = Server::builder()
            .add_service(AccountServiceServer::new(service.clone()))
            .add_service(SessionServiceServer::new(service.clone()))
            .add_service(EventServiceServer::new(service));
        let server = tokio::spawn(async move {
            router.serve_with_incoming(acceptor::incoming(listener, acceptor)).await.expect("served");
        });
        Self { address, state, server }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.state.script.lock().expect("the script")
    }

    /// Lets IssueToken respond, or makes it wait.
    pub(crate) fn set_issuing(&self, issuing: bool) {
        self.state.issuing.send_replace(issuing);
    }

    /// Waits until the script satisfies a condition.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Script) -> bool) {
        let mut changes = self.state.changes.subscribe();
        let met = async {
            while !condition(&self.script()) {
                changes.changed().await.expect("the market is open");
            }
        };
        tokio::time::timeout(Duration::from_secs(10), met)
            .await
            .unwrap_or_else(|_| panic!("waited for {what}"));
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Creates a status as the market does.
pub(crate) fn refusal(reason: Reason) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
    Status::with_error_details(reason.code(), format!("refused with {reason}"), details)
}

/// Creates a status with a retry delay.
pub(crate) fn refusal_for(reason: Reason, wait: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
    details.set_retry_info(Some(wait));
    Status::with_error_details(reason.code(), format!("refused with {reason}"), details)
}

impl Service {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().expect("the script")
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Checks identity roughly as the real guard does.
    fn authorize<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        let text = |key| {
            let value = request.metadata().get(key).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let party_id = text(PARTY_ID).ok_or_else(|| refusal(Reason::PartyIdInvalid))?;
        let peer = request.extensions().get::<PeerInfo>().expect("a peer");
        let certified = peer.certificate.identity().uuid().map(|party| party.to_string());
        if certified.as_ref() != Some(&party_id) {
            return Err(refusal(Reason::PartyIdInvalid));
        }
        let token = text(AUTHORIZATION).unwrap_or_default();
        let deadline = text("grpc-timeout");
        Ok(Call { request_id: String::new(), party_id, token, deadline })
    }

    fn authenticate<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        let call = self.authorize(request)?;
        let token = call.token.strip_prefix(BEARER_PREFIX).ok_or_else(|| refusal(Reason::TokenRequired))?;
        let number: u32 = token.strip_prefix("token-").and_then(|n| n.parse().ok()).expect("a token of ours");
        if number < self.script().oldest_token {
            return Err(refusal(Reason::TokenExpired));
        }
        Ok(call)
    }
}

#[tonic::async_trait]
impl AccountService for Service {
    async fn register_seller(
        &self,
        _: Request<RegisterSellerRequest>,
    ) -> Result<Response<RegisterSellerResponse>, Status> {
        Err(refusal(Reason::Internal))
    }

    async fn register_buyer(
        &self,
        _: Request<RegisterBuyerRequest>,
    ) -> Result<Response<RegisterBuyerResponse>, Status> {
        Err(refusal(Reason::Internal))
    }

    async fn issue_token(
        &self,
        request: Request<IssueTokenRequest>,
    ) -> Result<Response<IssueTokenResponse>, Status> {
        self.authorize(&request)?;
        let number = {
            let mut script = self.script();
            script.issued += 1;
            script.issued
        };
        self.changed();
        let mut issuing = self.0.issuing.subscribe();
        issuing.wait_for(|issuing| *issuing).await.expect("the market is open");
        let script = self.script();
        if let Some(status) = &script.issue_refused {
            return Err(status.clone());
        }
        let now = clock::now() + script.clock_ahead;
        let time = |at: time::OffsetDateTime| prost_types::Timestamp {
            seconds: at.unix_timestamp(),
            nanos: at.nanosecond().cast_signed(),
        };
        Ok(Response::new(IssueTokenResponse {
            access_token: format!("token-{number}"),
            issue_time: Some(time(now)),
            expire_time: Some(time(now + script.token_life)),
        }))
    }
}

#[tonic::async_trait]
impl SessionService for Service {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        self.authenticate(&request)?;
        let account = self.script().account.clone()?;
        let peer = request.extensions().get::<PeerInfo>().expect("a peer");
        let certificate = CertificateInfo {
            spiffe_id: peer.certificate.spiffe_id().to_owned(),
            ..CertificateInfo::default()
        };
        Ok(Response::new(WhoAmIResponse {
            certificate: Some(certificate),
            account: Some(account),
            ..WhoAmIResponse::default()
        }))
    }
}

fn event_message(event: Event) -> Result<SubscribeResponse, Status> {
    Ok(SubscribeResponse { message: Some(subscribe_response::Message::Event(event)) })
}

type EventStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EventService for Service {
    type SubscribeStream = EventStream;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<EventStream>, Status> {
        self.authenticate(&request)?;
        let live = self.0.live.subscribe();
        let messages = {
            let mut script = self.script();
            script.cursors.push(request.get_ref().cursor);
            let SubscribeRequest { consumer, stream_id, .. } = request.get_ref().clone();
            script.consumers.push((consumer, stream_id));
            let waiting: Vec<_> = script.mailbox.iter().cloned().map(event_message).collect();
            let scripted = script.streams.pop_front().unwrap_or_default();
            scripted.into_iter().chain(waiting)
        };
        self.changed();
        let live = stream::unfold(live, |mut live| async move {
            let event = live.recv().await.ok()?;
            Some((event_message(event), live))
        });
        Ok(Response::new(Box::pin(stream::iter(messages).chain(live))))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        self.authenticate(&request)?;
        let AcknowledgeRequest { sequence, missed_total, .. } = request.into_inner();
        match missed_total {
            Some(total) => self.script().confirmed.push(total),
            None => self.script().acknowledged.push(sequence),
        }
        self.changed();
        Ok(Response::new(AcknowledgeResponse::default()))
    }

    async fn test_event(
        &self,
        request: Request<TestEventRequest>,
    ) -> Result<Response<TestEventResponse>, Status> {
        let mut call = self.authenticate(&request)?;
        call.request_id = request.get_ref().request_id.clone();
        let recipient_id = call.party_id.clone();
        let (next, echo) = {
            let mut script = self.script();
            script.calls.push(call);
            (script.test_event.pop_front(), script.echo_to_stream)
        };
        self.changed();
        if let Some(status) = next {
            return Err(status);
        }
        let event_id = "the test event".to_owned();
        if echo {
            let kind = Some(event::Kind::TestNotice(TestNotice { text: request.into_inner().text }));
            let event =
                Event { event_id: event_id.clone(), sequence: 1, recipient_id, kind, ..Event::default() };
            self.script().mailbox.push(event.clone());
            // This fails if no stream is open, and then the event need not be sent yet.
            let _ = self.0.live.send(event);
        }
        Ok(Response::new(TestEventResponse { event_id }))
    }

    async fn mailbox_status(
        &self,
        request: Request<MailboxStatusRequest>,
    ) -> Result<Response<MailboxStatusResponse>, Status> {
        self.authenticate(&request)?;
        Ok(Response::new(MailboxStatusResponse::default()))
    }

    async fn announce_inbox(
        &self,
        request: Request<AnnounceInboxRequest>,
    ) -> Result<Response<AnnounceInboxResponse>, Status> {
        self.authenticate(&request)?;
        self.script().announced += 1;
        self.changed();
        let missed_total = Some(MissedTotal { order_count: 2, update_count: 0 });
        Ok(Response::new(AnnounceInboxResponse { missed_order_count: 2, missed_total, ..Default::default() }))
    }

    async fn remove_consumer(
        &self,
        request: Request<RemoveConsumerRequest>,
    ) -> Result<Response<RemoveConsumerResponse>, Status> {
        self.authenticate(&request)?;
        Ok(Response::new(RemoveConsumerResponse {}))
    }
}
