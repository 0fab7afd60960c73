//! `buyer watch`: follows the result of a search until interrupted. After a broken stream, all matches come
//! again.

use clap::Args;
use serde::Serialize;
use souk_cli::{
    Cell, CliSession, Column, DataField, Failure, Persistence, Shown, format_money, plain, view::ItemView,
};
use souk_client::{Error, error::required};
use souk_proto::v1::{
    self, SearchChange, SearchChangeKind, WatchSearchRequest, watch_search_response::Message,
};

use super::search::Filters;

/// Watch a search: show what is new, cheaper, back in stock or gone, until Ctrl-C
#[derive(Args)]
#[command(after_help = "Example:\n  buyer watch lantern --max-price \"20 GBP\"")]
pub(crate) struct Watch {
    #[command(flatten)]
    filters: Filters,
}

/// A change, as a row or JSON object.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    item: ItemView,
    #[serde(skip)]
    sentence: String,
}

impl Line {
    fn new(kind: &'static str, item: &v1::Item, more: &str) -> Self {
        let stock =
            if item.quantity == 0 { "sold out".to_owned() } else { format!("{} in stock", item.quantity) };
        let (name, price) = (plain(&item.name), format_money(item.unit_price.as_ref()));
        let sentence =
            format!("{}: {name} (item {}) for {price}{more}, {stock}", kind.replace('_', " "), item.item_id);
        Self { kind, item: ItemView::from(item), sentence }
    }

    fn of(change: &SearchChange) -> Result<Self, Error> {
        let item = required(change.item.as_ref(), "item")?;
        let kind = match change.kind() {
            SearchChangeKind::Unspecified | SearchChangeKind::Changed => "changed",
            SearchChangeKind::New => "new",
            SearchChangeKind::PriceDown => "price_down",
            SearchChangeKind::BackInStock => "back_in_stock",
            SearchChangeKind::Gone => "gone",
        };
        let before = change.previous_unit_price.as_ref();
        let more = before.map(|before| format!(", was {}", format_money(Some(before)))).unwrap_or_default();
        Ok(Self::new(kind, item, &more))
    }
}

impl Shown for Line {
    const LIST: &'static str = "changes";
    const COLUMNS: &'static [Column] = &[Column::prose("CHANGE")];
    const SELECTABLE: &'static [DataField] =
        &[DataField::value("kind"), DataField::object("item", ItemView::FIELDS)];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::from(&self.sentence)]
    }
}

impl Watch {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<Line>()?;
        let search = self.filters.query(session)?;
        let request = WatchSearchRequest {
            query: search.query,
            category: search.category,
            min_price: search.min_price,
            max_price: search.max_price,
            min_rating: search.min_rating,
            seller_id: search.seller_id,
            in_stock: search.in_stock,
        };
        let mut interrupted = session.interrupt()?;
        let _renewal = session.take_up_renewals(None).await?;
        tokio::select! {
            watched = watch(session, request) => watched,
            () = interrupted.came() => Ok(()),
        }
    }
}

/// Restarts when the stream breaks. All matches are then sent again.
async fn watch(session: &CliSession, request: WatchSearchRequest) -> Result<(), Failure> {
    let mut persistence = Persistence::default();
    let say = |news: &str| session.printer().say(news);
    loop {
        let mut came = 0_u64;
        let failure = follow(session, request.clone(), &mut came, &mut persistence).await?;
        persistence.wait(session, failure, came > 0, say).await?;
    }
}

/// Runs one stream, and returns why it ended.
async fn follow(
    session: &CliSession,
    request: WatchSearchRequest,
    came: &mut u64,
    persistence: &mut Persistence,
) -> Result<Error, Failure> {
    let connection = session.connection().await?.clone();
    let mut found = match connection.catalog().watch_search(request).await {
        Ok(found) => found.into_inner(),
        Err(status) => return Ok(connection.explain(status).await),
    };
    loop {
        let message = match found.message().await {
            Ok(Some(message)) => message.message,
            Ok(None) => {
                let status = tonic::Status::unavailable("the market ended the stream");
                return Ok(connection.explain(status).await);
            }
            Err(status) => return Ok(connection.explain(status).await),
        };
        *came += 1;
        persistence.came(|news| session.printer().say(news));
        match message {
            Some(Message::Match(item)) => {
                let line = Line::new("match", &item, "");
                session.printer().event(&line, &line.sentence)?;
            }
            Some(Message::Synced(_)) => {
                session.printer().say("this is all for now; changes follow, Ctrl-C ends")
            }
            Some(Message::Change(change)) => {
                let line = Line::of(&change)?;
                session.printer().event(&line, &line.sentence)?;
            }
            None => {}
        }
    }
}
