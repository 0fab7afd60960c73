//! EventService: the caller's mailbox.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use souk_domain::{Callback, ConsumerName, PartyId, Refusal, Sequence};
use souk_proto::{
    Reason,
    v1::{self, event_service_server::EventService},
};
use souk_store::{ConsumerRemoval, ConsumerStream, Dropped, MAX_CONSUMERS, Missed};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::Caller,
    ledger::OVERLOAD_RETRY_DELAY,
    relay::{Reader, SubscribeEnd, SubscribeItem},
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
        let (name, stream_id, cursor) = query::subscribe(request.get_ref())?;
        let holder = || stream_id.unwrap_or_else(|| self.0.parts.random.uuid_v4());
        let reader = match name {
            _ if request.get_ref().watch_only => Reader::Watcher,
            Some(name) => Reader::Named(ConsumerStream { recipient: caller, name, holder: holder() }),
            None => Reader::Unnamed,
        };
        let stream = self.0.parts.relay.subscribe(caller, reader, cursor).await;
        let stream = stream.map_err(|end| subscribe_end(&end))?;
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
        let parts = &self.0.parts;
        let (name, through, missed_total) = query::acknowledge(request.get_ref())?;
        let pending_count = match &name {
            None => read(parts.mailboxes.acknowledge(caller, through).await)?,
            Some(name) => {
                let now = parts.steady.now();
                let pending = parts.consumers.acknowledge_consumer(caller, name, through, now).await;
                read(pending)?.ok_or_else(|| no_such_consumer(name))?
            }
        };
        if let Some(total) = missed_total {
            read(parts.dead_letters.confirm_missed(caller, name.as_ref(), total).await)?;
        }
        Ok(Response::new(v1::AcknowledgeResponse { pending_count }))
    }

    async fn test_event(
        &self,
        request: Request<v1::TestEventRequest>,
    ) -> Result<Response<v1::TestEventResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let parsed = command::test_event(request.into_inner())?;
        let validate_only = parsed.validate_only;
        let event = self.0.carry_out(&caller, parsed).await?;
        if !validate_only {
            // A party that tests its callback should not have to wait for the back-off.
            self.0.parts.relay.probe(caller.party);
        }
        Ok(Response::new(v1::TestEventResponse { event_id: event.to_string() }))
    }

    async fn mailbox_status(
        &self,
        request: Request<v1::MailboxStatusRequest>,
    ) -> Result<Response<v1::MailboxStatusResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let name = query::consumer(&request.get_ref().consumer)?;
        let parts = &self.0.parts;
        let state = read(parts.mailboxes.state(caller).await)?;
        let mut state = state.ok_or_else(|| wire::refusal(&Refusal::NotRegistered))?;
        let consumers = read(parts.consumers.consumers(caller).await)?;
        if let Some(name) = name {
            let found = consumers.iter().find(|consumer| consumer.name == name);
            let consumer = found.ok_or_else(|| no_such_consumer(&name))?;
            (state.pending, state.acknowledged) = (consumer.pending, consumer.acknowledged);
            let first = parts.mailboxes.pending(caller, Sequence(consumer.acknowledged), 1).await;
            state.oldest = read(first)?.first().map(|delivery| delivery.event.occurred_at);
        }
        Ok(Response::new(wire::mailbox_status(state, &consumers, &parts.steady)))
    }

    async fn announce_inbox(
        &self,
        request: Request<v1::AnnounceInboxRequest>,
    ) -> Result<Response<v1::AnnounceInboxResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let parts = &self.0.parts;
        let state = read(parts.mailboxes.state(caller).await)?;
        let state = state.ok_or_else(|| wire::refusal(&Refusal::NotRegistered))?;
        let missed = if request.get_ref().probe_only {
            self.probe(state.callback.as_ref(), Caller::of(&request)?).await?;
            Missed::default()
        } else {
            read(parts.relay.announce(caller).await)?;
            read(parts.dead_letters.missed(caller, None).await)?
        };
        Ok(Response::new(v1::AnnounceInboxResponse {
            pending_count: state.pending,
            missed_order_count: missed.news.orders,
            missed_update_count: missed.news.updates,
            missed_total: missed_total(&missed),
        }))
    }

    async fn remove_consumer(
        &self,
        request: Request<v1::RemoveConsumerRequest>,
    ) -> Result<Response<v1::RemoveConsumerResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let name = query::remove_consumer(request.get_ref())?;
        self.remove(caller, &name).await.map(Response::new)
    }
}

impl EventApi {
    async fn remove(
        &self,
        caller: PartyId,
        name: &ConsumerName,
    ) -> Result<v1::RemoveConsumerResponse, Status> {
        let now = self.0.parts.steady.now();
        match read(self.0.parts.consumers.remove_consumer(caller, name, now).await)? {
            ConsumerRemoval::Removed => Ok(v1::RemoveConsumerResponse {}),
            ConsumerRemoval::Unknown => Err(no_such_consumer(name)),
            ConsumerRemoval::Connected => {
                let message = format!(
                    "the consumer {name} has an open stream; end the program that follows under it first"
                );
                Err(wire::status(Reason::ConsumerConnected, message, []))
            }
        }
    }

    /// Calls a party's registered callback server with an empty batch.
    async fn probe(&self, callback: Option<&Callback>, caller: &Caller) -> Result<(), Status> {
        let unreachable = |told: String| wire::status(Reason::CallbackUnreachable, told, []);
        let Some(callback) = callback else {
            return Err(unreachable("you have not registered a callback address".to_owned()));
        };
        let probed = self.0.parts.relay.probe_callback(callback, caller.role, caller.party).await;
        probed.map_err(|failure| {
            let at = format!("{}:{}", callback.host, callback.port);
            unreachable(format!("your callback server at {at} did not answer: {failure}"))
        })
    }
}

fn no_such_consumer(name: &ConsumerName) -> Status {
    let message = format!("your mailbox has no consumer {name}");
    wire::status(Reason::ConsumerNotFound, message, [])
}

/// Returns what the client is to confirm; `None` if there is nothing.
fn missed_total(missed: &Missed) -> Option<v1::MissedTotal> {
    let Dropped { orders: order_count, updates: update_count } = missed.total;
    (missed.news != Dropped::default()).then_some(v1::MissedTotal { order_count, update_count })
}

fn subscribe_message(recipient: PartyId, item: &SubscribeItem) -> v1::SubscribeResponse {
    use v1::subscribe_response::Message;
    let message = match item {
        SubscribeItem::Opened { kept, after, missed } => Message::Opened(v1::StreamOpened {
            kept: *kept,
            after_sequence: after.0,
            missed_order_count: missed.news.orders,
            missed_update_count: missed.news.updates,
            missed_total: missed_total(missed),
        }),
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
        SubscribeEnd::NameFree => wire::try_again(
            Reason::ConsumerFree,
            "the consumer's name is free; subscribe again to have it",
            OVERLOAD_RETRY_DELAY,
        ),
        SubscribeEnd::TooManyConsumers(names) => {
            let names: Vec<_> = names.iter().map(ConsumerName::as_str).collect();
            let message = format!(
                "a mailbox has at most {MAX_CONSUMERS} consumers, one of them without a name; the others are {}",
                names.join(", ")
            );
            wire::status(Reason::TooManyConsumers, message, [])
        }
        SubscribeEnd::TooManyStreams => wire::try_again(
            Reason::Overloaded,
            "your mailbox has too many streams open; close some of them",
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
