//! The workloads of `bench compare`.

use std::sync::Arc;

use souk_client::Connection;
use souk_proto::v1;
use tonic::{Code, Response, Status};

use crate::load::CallOutcome;

/// A kind of load, which repeats one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// WhoAmI at the echo server: the upper limit for `Guarded`.
    Echo,
    /// WhoAmI at the market: the whole guard, and a look-up of one account.
    Guarded,
    /// WhoAmI at a market whose guard checks nothing.
    Unguarded,
    /// Durable purchases of one unit, spread over all items.
    BuyUniform,
    /// Durable purchases of one unit, all of the same item.
    BuyHot,
    /// Searches for one word, with ten results.
    Search,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] =
        [Self::Echo, Self::Guarded, Self::Unguarded, Self::BuyUniform, Self::BuyHot, Self::Search];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Guarded => "guarded",
            Self::Unguarded => "unguarded",
            Self::BuyUniform => "buy uniform",
            Self::BuyHot => "buy hot",
            Self::Search => "search",
        }
    }
}

/// Words from which the items' names are built.
pub(crate) const WORDS: [&str; 16] = [
    "lamp", "candle", "chair", "table", "mug", "plate", "bag", "clock", "frame", "garland", "heart", "bird",
    "box", "bottle", "cushion", "lantern",
];

pub(crate) async fn who_am_i(connection: Connection) -> anyhow::Result<CallOutcome> {
    call_outcome(connection.session().who_am_i(v1::WhoAmIRequest {}).await)
}

pub(crate) async fn buy(connection: Connection, item_id: i64) -> anyhow::Result<CallOutcome> {
    let request = v1::BuyItemRequest {
        request_id: connection.request_id(),
        item_id,
        quantity: 1,
        ..Default::default()
    };
    call_outcome(connection.buyer().buy_item(request).await)
}

/// Searches, each time with another of these requests.
pub(crate) async fn search_one_of(
    connection: Connection,
    requests: Arc<[v1::SearchItemRequest]>,
    number: u64,
) -> anyhow::Result<CallOutcome> {
    let request = requests[spread(number) % requests.len()].clone();
    call_outcome(connection.catalog().search_item(request).await)
}

pub(crate) async fn search(connection: Connection, number: u64) -> anyhow::Result<CallOutcome> {
    let word = WORDS[usize::try_from(number % WORDS.len() as u64)?];
    let request = v1::SearchItemRequest { query: word.into(), page_size: 10, ..Default::default() };
    call_outcome(connection.catalog().search_item(request).await)
}

/// Maps consecutive numbers to evenly distributed ones: Fibonacci hashing (Knuth, TAOCP vol. 3, section 6.4).
pub(crate) fn spread(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

fn call_outcome<T>(answer: Result<Response<T>, Status>) -> anyhow::Result<CallOutcome> {
    match answer {
        Ok(_) => Ok(CallOutcome::CarriedOut),
        Err(status) if status.code() == Code::ResourceExhausted => Ok(CallOutcome::Refused),
        Err(status) => Err(status.into()),
    }
}
