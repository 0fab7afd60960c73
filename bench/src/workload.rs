//! What the load does.

use souk_client::Connection;
use souk_proto::v1;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// The limit: the same call as `Guarded`, at a server that only echoes.
    Echo,
    /// WhoAmI: through the whole guard, and one account.
    Guarded,
    /// One unit of an item, another item each time, durably.
    BuyUniform,
    /// One unit of always the same item, durably.
    BuyHot,
    /// Words and a category.
    Search,
}

impl Workload {
    pub(crate) const ALL: [Self; 5] =
        [Self::Echo, Self::Guarded, Self::BuyUniform, Self::BuyHot, Self::Search];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Guarded => "guarded",
            Self::BuyUniform => "buy uniform",
            Self::BuyHot => "buy hot",
            Self::Search => "search",
        }
    }
}

/// Words that the scene's items are named with.
pub(crate) const WORDS: [&str; 16] = [
    "lamp", "candle", "chair", "table", "mug", "plate", "bag", "clock", "frame", "garland", "heart", "bird",
    "box", "bottle", "cushion", "lantern",
];

pub(crate) async fn who_am_i(connection: Connection) -> anyhow::Result<()> {
    connection.session().who_am_i(v1::WhoAmIRequest {}).await?;
    Ok(())
}

pub(crate) async fn buy(connection: Connection, item_id: i64) -> anyhow::Result<()> {
    let request = v1::BuyItemRequest {
        request_id: connection.request_id(),
        item_id,
        quantity: 1,
        ..Default::default()
    };
    connection.buyer().buy_item(request).await?;
    Ok(())
}

pub(crate) async fn search(connection: Connection, number: u64) -> anyhow::Result<()> {
    let word = WORDS[usize::try_from(number % WORDS.len() as u64)?];
    let request = v1::SearchItemRequest { query: word.into(), page_size: 10, ..Default::default() };
    connection.catalog().search_item(request).await?;
    Ok(())
}
