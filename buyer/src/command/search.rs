//! `buyer search`, and the filters that it shares with `buyer watch`.

use std::cell::Cell;

use clap::{Args, ValueEnum};
use souk_cli::{
    CliSession, Failure, Paging, Printer, parse_money,
    view::{ItemView, time},
};
use souk_proto::v1::{self, SearchItemRequest, SearchItemResponse};

/// Search items; without words, everything
///
/// The last word may be a beginning; case, accents and small typos are forgiven.
#[derive(Args)]
#[command(after_help = "Examples:
  buyer search lantern --category home --max-price \"20 GBP\" --in-stock
  buyer search --order newest --all")]
pub(crate) struct Search {
    #[command(flatten)]
    filters: Filters,
    /// The order of the results.
    #[arg(long, value_enum, default_value_t = SortOrder::Relevance)]
    order: SortOrder,
    #[command(flatten)]
    paging: Paging,
}

/// What to search for.
#[derive(Args)]
pub(super) struct Filters {
    /// Words of name and description.
    words: Vec<String>,
    /// Only this category and those below it, such as home.
    #[arg(long, default_value = "", hide_default_value = true)]
    category: String,
    /// Only at this price or more.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    min_price: Option<String>,
    /// Only at this price or less.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    max_price: Option<String>,
    /// Only with this mean rating or better, 1.0 to 5.0.
    #[arg(long, value_name = "STARS")]
    min_rating: Option<f64>,
    /// Only items of this seller (UUID).
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    seller: String,
    /// Only what can be bought now.
    #[arg(long)]
    in_stock: bool,
}

impl Filters {
    pub(super) fn query(self, session: &CliSession) -> Result<SearchItemRequest, Failure> {
        let price =
            |text: Option<&String>| text.map(|text| parse_money(text, session.currency())).transpose();
        Ok(SearchItemRequest {
            query: self.words.join(" "),
            min_price: price(self.min_price.as_ref())?,
            max_price: price(self.max_price.as_ref())?,
            category: self.category,
            min_rating: self.min_rating,
            seller_id: self.seller,
            in_stock: self.in_stock,
            ..Default::default()
        })
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum SortOrder {
    Relevance,
    Cheapest,
    Dearest,
    Rating,
    Newest,
}

impl SortOrder {
    fn to_wire(self) -> v1::SearchOrder {
        match self {
            Self::Relevance => v1::SearchOrder::Relevance,
            Self::Cheapest => v1::SearchOrder::PriceAscending,
            Self::Dearest => v1::SearchOrder::PriceDescending,
            Self::Rating => v1::SearchOrder::Rating,
            Self::Newest => v1::SearchOrder::Newest,
        }
    }
}

impl Search {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let query =
            SearchItemRequest { order_by: self.order.to_wire().into(), ..self.filters.query(session)? };
        let is_summarized = Cell::new(false);
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = SearchItemRequest { page_size, page_token, ..query.clone() };
                let page = session.call(request).await?;
                // Once, however many pages there are.
                if !is_summarized.replace(true) {
                    summarize(session.printer(), &page);
                }
                Ok((page.items.iter().map(ItemView::from).collect(), page.next_page_token))
            })
            .await
    }
}

/// Prints the number of found items, and hints about items that may be missing.
fn summarize(printer: &Printer, page: &SearchItemResponse) {
    printer.say(&format!("{} found", page.total_size));
    if page.is_wordless {
        printer.say("the search has no letters or digits; type a word to find items");
    }
    if !page.did_you_mean.is_empty() {
        printer.say(&format!("did you mean: {}", page.did_you_mean));
    }
    if let Some(as_of) = time(page.as_of_time.as_ref()) {
        let reason = "newer changes may be missing: the market's index can't follow at present";
        printer.say(&format!("as of {as_of}; {reason}"));
    }
}
