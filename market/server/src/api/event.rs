//! EventService: the caller's mailbox.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use souk_domain::{PartyId, Refusal};
use souk_proto::{
    Reason,
    v1::{self, event_service_server::EventService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::Caller,
    ledger::OVERLOAD_RETRY_DELAY,
    relay::{SubscribeEnd, SubscribeItem},
    wire::{self, command, query},
};

/// The implementation of EventService.
pub struct EventApi(pub Api);

type EventStream = Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

#[async_trait]
impl EventService for EventApi {
    type SubscribeStream = EventStream;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = Caller::of(&request)?.party;
        let cursor = query::sequence("cursor", request.into_inner().cursor)?;
        let stream = self.0.parts.relay.subscribe(caller, cursor).await.map_err(|end| subscribe_end(&end))?;
        let messages = stream.map(move |item| match item {
            Ok(item) => Ok(subscribe_message(caller, &item)),
            Err(end) => Err(subscribe_end(&end)),
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeRequest>,
    ) -> Result<Response<v1::AcknowledgeResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let through = query::sequence("sequence", request.into_inner().sequence)?;
        let pending_count = read(self.0.parts.mailboxes.acknowledge(caller, through).await)?;
        Ok(Response::new(v1::AcknowledgeResponse { pending_count }))
    }

    async fn test_event(
        &self,
        request: Request<v1::TestEventRequest>,
    ) -> Result<Response<v1::TestEventResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let event = self.0.carry_out(&caller, command::test_event(request.into_inner())?).await?;
        // A party that tests its callback should not have to wait for the back-off.
        self.0.parts.relay.probe(caller.party);
        Ok(Response::new(v1::TestEventResponse { event_id: event.to_string() }))
    }

    async fn mailbox_status(
        &self,
        request: Request<v1::MailboxStatusRequest>,
    ) -> Result<Response<v1::MailboxStatusResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let state = read(self.0.parts.mailboxes.state(caller).await)?
            .ok_or_else(|| wire::refusal(&Refusal::NotRegistered))?;
        Ok(Response::new(wire::mailbox_status(state, &self.0.parts.steady)))
    }
}

fn subscribe_message(recipient: PartyId, item: &SubscribeItem) -> v1::SubscribeResponse {
    use v1::subscribe_response::Message;
    let message = match item {
        SubscribeItem::Delivery(delivery) => Message::Event(wire::event(recipient, delivery)),
        SubscribeItem::CaughtUp(sequence) => Message::CaughtUp(v1::CaughtUp { sequence: sequence.0 }),
    };
    v1::SubscribeResponse { message: Some(message) }
}

/// Converts the end of an event stream to its status. Not in `wire`, because the relay itself uses `wire`.
pub(super) fn subscribe_end(end: &SubscribeEnd) -> Status {
    match end {
        SubscribeEnd::Replaced => wire::status(
            Reason::StreamReplaced,
            "another stream of the same mailbox took over; this one ends",
            [],
        ),
        SubscribeEnd::LeaseLost => wire::try_again(
            Reason::Unavailable,
            "the market lost hold of your mailbox; begin again with your last cursor",
            OVERLOAD_RETRY_DELAY,
        ),
        SubscribeEnd::TooSlow => wire::try_again(
            Reason::StreamTooSlow,
            "you read more slowly than events come; begin again with your last cursor",
            OVERLOAD_RETRY_DELAY,
        ),
        SubscribeEnd::Suspended => wire::suspended(),
        SubscribeEnd::Removed => {
            wire::status(Reason::TillNotFound, "the till was removed; its stream ends", [])
        }
        SubscribeEnd::NotRegistered => wire::refusal(&Refusal::NotRegistered),
        SubscribeEnd::ShuttingDown => wire::try_again(
            Reason::Unavailable,
            "the market is shutting down; begin again with your last cursor",
            OVERLOAD_RETRY_DELAY,
        ),
        SubscribeEnd::Store(error) => wire::store_error(error),
    }
}
