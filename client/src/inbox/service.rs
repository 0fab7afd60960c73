//! NotificationService as a client implements it.

use std::{collections::HashMap, time::Duration};

use souk_certs::{acceptor::PeerInfo, identity::Identity};
use souk_proto::{
    Reason, metadata,
    reason::DOMAIN,
    v1::{
        Event, NotifyClientRequest, NotifyClientResponse, notification_service_server::NotificationService,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use uuid::Uuid;

use super::MAX_EVENTS;
use crate::{Delivery, Notice, Seen, seen::Offer};

/// How long a call waits for the consumer to take its events: a little less than the market's timeout of five
/// seconds.
const TAKE_TIMEOUT: Duration = Duration::from_secs(4);

/// The retry delay suggested to the market if the consumer took nothing in that time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Notifications {
    own: String,
    notices: mpsc::Sender<Notice>,
    seen: Seen,
}

impl Notifications {
    pub(super) fn new(party: Uuid, notices: mpsc::Sender<Notice>, seen: Seen) -> Self {
        Self { own: party.to_string(), notices, seen }
    }

    fn check<T>(&self, request: &Request<T>, message: &NotifyClientRequest) -> Result<(), Status> {
        // The acceptor accepts only the market; this check still holds if it is ever configured otherwise.
        let peer = request.extensions().get::<PeerInfo>();
        if peer.is_none_or(|peer| peer.certificate.identity() != Identity::Market) {
            return Err(refusal(Reason::NotTheMarket, "only the market may call a callback"));
        }
        if message.recipient_id != self.own {
            let message = "this callback address belongs to another party than the one notified";
            return Err(refusal(Reason::WrongRecipient, message));
        }
        if message.events.len() > MAX_EVENTS {
            let message = format!("at most {MAX_EVENTS} events in one call");
            return Err(refusal(Reason::InvalidField, &message));
        }
        Ok(())
    }

    /// Offers the consumer the events that it has not received, waits until it took all of them or the time
    /// is up, and returns the highest sequence below which none is missing.
    async fn deliver(&self, events: Vec<Event>) -> Result<i64, Status> {
        let deadline = Instant::now() + TAKE_TIMEOUT;
        let order: Vec<_> = events.iter().map(|event| (event.sequence, event.event_id.clone())).collect();
        // Subscribed before the events are offered, so that a consumer that is faster than this task is not
        // missed.
        let mut changes = self.seen.changes();
        for event in events {
            match Delivery::of(event, &self.own, &self.seen) {
                Ok(delivery) => {
                    match timeout_at(deadline, self.notices.send(Notice::Event(delivery))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Err(refusal(Reason::Unavailable, "the client is ending")),
                        Err(_) => break,
                    }
                }
                Err(Offer::New | Offer::Waiting | Offer::Acknowledged) => {}
            }
        }
        let all_settled = async {
            while order.iter().any(|(_, id)| self.seen.is_waiting(id)) && changes.changed().await.is_ok() {}
        };
        // On a timeout too, the events taken until now count.
        let _ = timeout_at(deadline, all_settled).await;
        let taken = order.iter().take_while(|(_, id)| self.seen.contains(id)).map(|(sequence, _)| *sequence);
        let highest = taken.max();
        highest.ok_or_else(|| busy("the client has not taken the events yet"))
    }
}

#[tonic::async_trait]
impl NotificationService for Notifications {
    async fn notify_client(
        &self,
        request: Request<NotifyClientRequest>,
    ) -> Result<Response<NotifyClientResponse>, Status> {
        self.check(&request, request.get_ref())?;
        let events = request.into_inner().events;
        if events.is_empty() {
            // The market only probes whether the client is reachable, so there is nothing to acknowledge.
            return Ok(Response::new(NotifyClientResponse { acknowledged_sequence: 0 }));
        }
        let acknowledged_sequence = self.deliver(events).await?;
        // Before the acknowledgement: the market forgets what is acknowledged, so a crash in between must repeat events rather
        // than lose the record of them.
        self.seen.save().await.map_err(|error| {
            tracing::warn!(%error, "what was seen can't be kept, so it will come again");
            refusal(Reason::Unavailable, "the client can't keep what it has seen")
        })?;
        Ok(Response::new(NotifyClientResponse { acknowledged_sequence }))
    }
}

fn busy(message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(Reason::Overloaded.as_str(), DOMAIN, HashMap::new());
    details.set_retry_info(Some(RETRY_AFTER));
    let mut status = Status::with_error_details(Reason::Overloaded.code(), message, details);
    metadata::push_back(&mut status, RETRY_AFTER);
    status
}

fn refusal(reason: Reason, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
    Status::with_error_details(reason.code(), message, details)
}
