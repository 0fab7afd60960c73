//! Bounds on the calls with a request stream.
//!
//! **Number.** h2 charges each small frame of data that nobody has read yet with up to 256 bytes against half the
//! connection's window, and ends the connection with ENHANCE_YOUR_CALM, and all of its calls, when that is used up. A
//! client can't know this limit. Therefore the number of such calls is bounded so that their windows full of the smallest
//! frames stay below it; the next call is rejected.
//!
//! **Rate.** The messages of a stream count against the rate of its party, as calls do. A stream that is too fast is not
//! ended: it is read more slowly, and HTTP/2 flow control slows down the sender.
//!
//! **End.** When the market shuts down, a request stream ends with UNAVAILABLE, so that no call waits for a client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use souk_certs::identity::Identity;
use souk_domain::{ImportRow, Till};
use souk_proto::Reason;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body};

use super::{messages::MessageScanner, places::Places};
use crate::{
    access::PartyRate,
    by_party::{ByParty, OfParty},
    wire,
};

/// Maximum number of concurrent calls with a request stream on one connection.
pub(super) const OF_CONNECTION: u32 = 16;
/// Maximum number of concurrent calls with a request stream of one party, which bounds the memory of what is unread.
pub(super) const OF_PARTY: usize = 128;
/// The smallest frame of data that a legal client sends: the prefix of a message and one field, such as a till's
/// `taken_in`.
pub(super) const SMALLEST_FRAME: u32 = 8;
/// Retry delay suggested to a rejected caller.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// How long the rest of a request stream is read after the call has ended.
const LINGER: Duration = Duration::from_secs(2);
/// How many bytes of it are read.
const LINGER_BYTES: usize = 1024 * 1024;
/// The calls whose messages the market processes in batches, and the size of a batch, which counts as one call.
const BATCHES: [(&str, usize); 3] =
    [("ImportItems", ImportRow::MAX_AT_ONCE), ("SyncInventory", Till::MAX_LINES_AT_ONCE), ("TrackRide", 64)];
/// The calls with a request stream outside the contract.
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The calls with a request stream of all connections. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct RequestStreams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Paths, and the number of messages that count as one call. So few that a search is faster than a hash.
    methods: Vec<(String, u32)>,
    all: Places,
    of_parties: ByParty<Places>,
}

/// The calls with a request stream of one connection. Clones are the same connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionStreams(Arc<OfConnection>);

#[derive(Debug)]
struct OfConnection {
    streams: RequestStreams,
    of_party: Arc<OfParty<Places>>,
    own: Places,
}

impl Default for RequestStreams {
    fn default() -> Self {
        let contract = souk_proto::methods().into_iter().filter(|method| method.has_request_stream);
        let contract = contract.map(|method| {
            let batch = BATCHES.iter().find(|(name, _)| *name == method.name).map_or(1, |(_, batch)| *batch);
            (method.path(), u32::try_from(batch).unwrap_or(u32::MAX))
        });
        let methods = contract.chain(REFLECTION.map(|path| (path.to_owned(), 1))).collect();
        Self(Arc::new(Shared { methods, all: Places::default(), of_parties: ByParty::default() }))
    }
}

impl RequestStreams {
    /// Returns how many messages of a method count as one call; `None` if the method has no request stream.
    pub(super) fn messages_per_call(&self, path: &str) -> Option<u32> {
        self.0.methods.iter().find(|(of, _)| of == path).map(|(_, messages)| *messages)
    }

    /// Returns the number of such calls in progress.
    pub(super) fn count(&self) -> usize {
        self.0.all.taken()
    }

    /// Returns the calls of a new connection of a party.
    pub(super) fn of(&self, party: Identity) -> ConnectionStreams {
        let of_party = self.0.of_parties.of(party, Places::default);
        ConnectionStreams(Arc::new(OfConnection { streams: self.clone(), of_party, own: Places::default() }))
    }
}

impl ConnectionStreams {
    /// Returns how many messages of a method count as one call; `None` if the method has no request stream.
    pub(super) fn messages_per_call(&self, path: &str) -> Option<u32> {
        self.0.streams.messages_per_call(path)
    }

    /// Takes a place for a call, or returns the status of its rejection.
    pub(super) fn enter(&self) -> Result<StreamPlace, Status> {
        let overloaded = |message: &str| wire::try_again(Reason::Overloaded, message, RETRY_DELAY);
        let OfConnection { streams, of_party, own } = &*self.0;
        if !own.take(OF_CONNECTION as usize) {
            return Err(overloaded(
                "this connection has as many request streams open as it may; wait for one to end, or open another connection",
            ));
        }
        if !of_party.take(OF_PARTY) {
            own.give_back();
            return Err(overloaded("you have as many request streams open as you may; wait for one to end"));
        }
        // Bounded by the connections and their places.
        streams.0.all.take(usize::MAX);
        Ok(StreamPlace(self.clone()))
    }
}

/// The place of a call with a request stream, returned on drop.
#[derive(Debug)]
pub(super) struct StreamPlace(ConnectionStreams);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let Self(ConnectionStreams(connection)) = self;
        for places in [&connection.own, &**connection.of_party, &connection.streams.0.all] {
            places.give_back();
        }
    }
}

/// The body of a request stream: paced by its party's rate, and ended by a shutdown.
///
/// When it is dropped before its end, what the client has already sent is read and discarded for a moment. Otherwise h2
/// resets the stream, and charges the small frames that still arrive on it against the connection for good (0.4.20:
/// `recv_data` counts frames that it ignores, and nothing releases them).
pub(super) struct RequestBody {
    /// `None` after its end.
    body: Option<Body>,
    /// What was received and must wait until the messages before it conform to the rate.
    held: Bytes,
    messages: MessageScanner,
    pace: Pace,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None` if the call is rejected.
    place: Option<StreamPlace>,
}

impl RequestBody {
    pub(super) fn new(
        body: Body,
        pace: Pace,
        closing: &CancellationToken,
        place: Option<StreamPlace>,
    ) -> Self {
        let closing = Box::pin(closing.clone().cancelled_owned());
        let messages = MessageScanner::default();
        Self { body: Some(body), held: Bytes::new(), messages, pace, closing, place }
    }
}

/// Counts the messages of a stream against its party's rate.
pub(super) struct Pace {
    rate: PartyRate,
    messages_per_call: u32,
    /// Messages that were read and not counted yet.
    uncounted: u32,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(rate: PartyRate, messages_per_call: u32) -> Self {
        Self { rate, messages_per_call, uncounted: 0, wait: None }
    }

    /// Waits until the messages that were read conform to the rate.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            if self.uncounted < self.messages_per_call {
                return Poll::Ready(());
            }
            match self.rate.count() {
                Ok(()) => self.uncounted -= self.messages_per_call,
                Err(wait) => self.wait = Some(Box::pin(sleep(wait))),
            }
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.closing.as_mut().poll(context).is_ready() {
            let message = "the market is shutting down; begin again in a moment";
            return Poll::Ready(Some(Err(wire::try_again(Reason::Unavailable, message, RETRY_DELAY))));
        }
        ready!(this.pace.poll(context));
        if this.held.is_empty() {
            match ready!(Pin::new(body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.held = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.body = None;
                    return Poll::Ready(None);
                }
            }
        }
        // Never 0: `poll` has returned when fewer were uncounted.
        let most = this.pace.messages_per_call - this.pace.uncounted;
        let (found, length) = this.messages.count(&this.held, most);
        this.pace.uncounted += found;
        Poll::Ready(Some(Ok(Frame::data(this.held.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        // Without a runtime, the thread has ended, and its connections with it.
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(discard(rest, self.place.take()));
        }
    }
}

/// Reads the rest of a request stream. The client ends it when it sees the answer.
async fn discard(mut rest: Body, place: Option<StreamPlace>) {
    let read = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) =
            std::future::poll_fn(|context| Pin::new(&mut rest).poll_frame(context)).await
        {
            let length = frame.data_ref().map_or(0, |data| data.len());
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Until then the stream is open, and counts.
    let _ = timeout(LINGER, read).await;
    drop(place);
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_connection_and_a_party_have_their_share() {
        let streams = RequestStreams::default();
        let (one, other) = (Identity::Seller(Uuid::from_u128(1)), Identity::Seller(Uuid::from_u128(2)));
        let connections: Vec<_> = (0..OF_PARTY / OF_CONNECTION as usize).map(|_| streams.of(one)).collect();
        let mut held = Vec::new();
        for connection in &connections {
            held.extend((0..OF_CONNECTION).map(|_| connection.enter().unwrap()));
            assert!(connection.enter().is_err());
        }
        let status = streams.of(one).enter().unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::Overloaded));
        let others = streams.of(other).enter().unwrap();
        assert_eq!(streams.count(), held.len() + 1);
        drop(held);
        drop(connections[0].enter().unwrap());
        drop(others);
        assert!(connections.iter().all(|connection| connection.0.own.taken() == 0));
        drop(connections);
        assert!(streams.0.of_parties.is_empty() && streams.count() == 0);
    }

    #[test]
    fn request_streams_of_the_contract_and_of_reflection_are_known() {
        let streams = RequestStreams::default();
        assert_eq!(streams.messages_per_call("/shopping.v1.SellerService/ImportItems"), Some(200));
        assert_eq!(streams.messages_per_call(REFLECTION[0]), Some(1));
        assert_eq!(streams.messages_per_call("/shopping.v1.BuyerService/BuyItem"), None);
        let methods = souk_proto::methods();
        assert!(methods.iter().all(|method| {
            streams.messages_per_call(&method.path()).is_some() == method.has_request_stream
        }));
        for (name, _) in BATCHES {
            assert!(methods.iter().any(|method| method.name == name && method.has_request_stream), "{name}");
        }
    }
}
