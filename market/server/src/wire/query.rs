//! Converts read-only requests to queries.

use std::time::Duration;

use prost::Message as _;
use souk_domain::{
    Category, ConsumerName, DAY_MICROS, ItemId, OrderId, PartyId, RideId, SalesSummary, Sequence, TimeRange,
    day_of,
};
use souk_proto::v1;
use souk_search::{CategoryQuery, PriceRange, SearchCursor, SearchOrder, SearchQuery, SearchText};
use souk_store::{Dropped, OrderQuery, OrdersOf, RideQuery};
use tonic::Status;
use uuid::Uuid;

use super::{
    page::{Page, PageToken},
    parse::Fields,
};

/// Maximum period of a summary.
const MAX_SUMMARY: Duration = Duration::from_secs(366 * 86_400);
/// Maximum number of items in a summary, if the request does not say.
const DEFAULT_SUMMARY_ITEMS: usize = 100;
/// Maximum number of items in a summary.
const MAX_SUMMARY_ITEMS: usize = 1_000;

/// Parses an item number.
pub fn item_id(id: i64) -> Result<ItemId, Status> {
    let mut fields = Fields::new();
    let id = fields.id("item_id", id);
    fields.finish(id.map(ItemId))
}

/// Parses an order number.
pub fn order_id(id: i64) -> Result<OrderId, Status> {
    let mut fields = Fields::new();
    let id = fields.id("order_id", id);
    fields.finish(id.map(OrderId))
}

/// Parses the UUID of a ride.
pub fn ride_id(id: &str) -> Result<RideId, Status> {
    let mut fields = Fields::new();
    let id = fields.ride("ride_id", id);
    fields.finish(id)
}

/// Parses a position in a mailbox.
pub fn sequence(field: &str, sequence: i64) -> Result<Sequence, Status> {
    let mut fields = Fields::new();
    let sequence = fields.sequence(field, sequence);
    fields.finish(sequence)
}

/// Parses a Subscribe request into the consumer, the client's stream id, and the cursor.
pub fn subscribe(
    request: &v1::SubscribeRequest,
) -> Result<(Option<ConsumerName>, Option<Uuid>, Sequence), Status> {
    let mut fields = Fields::new();
    let consumer = consumer_name(&mut fields, &request.consumer);
    let mut stream_id = None;
    if !request.stream_id.is_empty() {
        let parsed =
            Uuid::try_parse(&request.stream_id).map_err(|_| "is not a UUID; make one when the client starts");
        stream_id = fields.take("stream_id", parsed);
    }
    let cursor = fields.sequence("cursor", request.cursor);
    fields.finish(cursor.map(|cursor| (consumer, stream_id, cursor)))
}

/// Parses an Acknowledge request into the consumer, the sequence, and the total of missed events that it confirms.
pub fn acknowledge(
    request: &v1::AcknowledgeRequest,
) -> Result<(Option<ConsumerName>, Sequence, Option<Dropped>), Status> {
    let mut fields = Fields::new();
    let consumer = consumer_name(&mut fields, &request.consumer);
    let sequence = fields.sequence("sequence", request.sequence);
    // A total that the market never sent confirms nothing, whatever it is.
    let total =
        request.missed_total.map(|total| Dropped { orders: total.order_count, updates: total.update_count });
    fields.finish(sequence.map(|sequence| (consumer, sequence, total)))
}

/// Parses the name of a consumer; `None` for the unnamed one.
pub fn consumer(name: &str) -> Result<Option<ConsumerName>, Status> {
    let mut fields = Fields::new();
    let consumer = consumer_name(&mut fields, name);
    fields.finish(Some(consumer))
}

/// Parses a RemoveConsumer request. Only consumers with names can be removed.
pub fn remove_consumer(request: &v1::RemoveConsumerRequest) -> Result<ConsumerName, Status> {
    let mut fields = Fields::new();
    if request.consumer.is_empty() {
        fields.wrong(
            "consumer",
            "is missing; give a name from MailboxStatus: the unnamed consumer can't be removed",
        );
    }
    let consumer = consumer_name(&mut fields, &request.consumer);
    fields.finish(consumer)
}

fn consumer_name(fields: &mut Fields, name: &str) -> Option<ConsumerName> {
    if name.is_empty() { None } else { fields.take("consumer", ConsumerName::parse(name)) }
}

/// Parses a WatchRide request into the order whose ride is watched, and the last position seen.
pub fn watch_ride(request: &v1::WatchRideRequest) -> Result<(OrderId, i64), Status> {
    let mut fields = Fields::new();
    let id = fields.id("order_id", request.order_id);
    if request.cursor < 0 {
        fields.wrong("cursor", "is negative; give the sequence of a position, or 0");
    }
    fields.finish(id.map(|id| (OrderId(id), request.cursor)))
}

/// Parses a ListRides request.
pub fn list_rides(
    seller: PartyId,
    request: &v1::ListRidesRequest,
) -> Result<(RideQuery, Page<RideId>), Status> {
    let mut fields = Fields::new();
    let ids = fields.take("ride_id_prefix", with_prefix(&request.ride_id_prefix));
    let (from, to) = fields.finish(ids)?;
    let token = PageToken::of(&[b"ListRides", party_bytes(&seller), from.0.as_bytes(), to.0.as_bytes()]);
    let page = Page::read(request.page_size, &request.page_token, token)?;
    let query = RideQuery { seller, from, to, before: page.after, limit: page.rows() };
    Ok((query, page))
}

/// Returns the smallest and the largest id that begin with these digits.
fn with_prefix(prefix: &str) -> Result<(RideId, RideId), &'static str> {
    let digits = prefix.replace('-', "");
    // Without hyphens, only a text of 32 digits is a UUID. Longer texts are not shortened here.
    let bound = |filled: String| {
        let id = Uuid::try_parse(&filled).map(RideId);
        id.map_err(|_| "is not the beginning of a UUID; give up to 32 digits of 0-9 and a-f")
    };
    Ok((bound(format!("{digits:0<32}"))?, bound(format!("{digits:f<32}"))?))
}

/// Converts a ListMailboxes request to a page.
pub fn list_mailboxes(request: &v1::ListMailboxesRequest) -> Result<Page<Uuid>, Status> {
    let token = PageToken::of(&[b"ListMailboxes", &[u8::from(request.backlog_only)]]);
    Page::read(request.page_size, &request.page_token, token)
}

/// Converts a ListDeadLetters request to a page and the mailbox, `None` for all.
pub fn list_dead_letters(
    request: &v1::ListDeadLettersRequest,
) -> Result<(Page<i64>, Option<PartyId>), Status> {
    let mut fields = Fields::new();
    let recipient = match request.recipient_id.as_str() {
        "" => Some(None),
        id => fields.party("recipient_id", id).map(Some),
    };
    let recipient = fields.finish(recipient)?;
    let token = PageToken::of(&[b"ListDeadLetters", request.recipient_id.as_bytes()]);
    Ok((Page::read(request.page_size, &request.page_token, token)?, recipient))
}

/// Converts a ListParties request to a page.
pub fn list_parties(request: &v1::ListPartiesRequest) -> Result<Page<Uuid>, Status> {
    let token = PageToken::of(&[b"ListParties", &[u8::from(request.suspended_only)]]);
    Page::read(request.page_size, &request.page_token, token)
}

/// Converts a ListWishlist request to a page.
pub fn list_wishlist(buyer: PartyId, request: &v1::ListWishlistRequest) -> Result<Page<ItemId>, Status> {
    let token = PageToken::of(&[b"ListWishlist", party_bytes(&buyer)]);
    Page::read(request.page_size, &request.page_token, token)
}

/// Parses a DisplaySellerItems request.
pub fn display_seller_items(
    seller: PartyId,
    request: &v1::DisplaySellerItemsRequest,
) -> Result<Page<ItemId>, Status> {
    // The tokens of the items on sale stay as they were before there was another list.
    let list: &[u8] = if request.withdrawn { b"withdrawn DisplaySellerItems" } else { b"DisplaySellerItems" };
    let token = PageToken::of(&[list, party_bytes(&seller)]);
    Page::read(request.page_size, &request.page_token, token)
}

macro_rules! orders {
    ($(#[$doc:meta])* $name:ident, $request:ident, $method:literal, $of:ident) => {
        $(#[$doc])*
        pub fn $name(party: PartyId, request: v1::$request) -> Result<(OrderQuery, Page<OrderId>), Status> {
            let mut fields = Fields::new();
            let status = fields.order_status("status", request.status);
            let item = fields.optional_id("item_id", request.item_id).map(ItemId);
            let placed = fields.time_range(request.from_time.as_ref(), request.until_time.as_ref());
            fields.finish(Some(()))?;
            // The token is bound to every field except the page size, which may change.
            let query = v1::$request { page_size: 0, page_token: String::new(), ..request };
            let token = PageToken::of(&[$method, party_bytes(&party), &query.encode_to_vec()]);
            let page = Page::read(request.page_size, &request.page_token, token)?;
            let (of, before, limit) = (OrdersOf::$of(party), page.after, page.rows());
            Ok((OrderQuery { of, item, status, placed, before, limit }, page))
        }
    };
}

orders! {
    /// Converts a ListOrders request to a query.
    list_orders, ListOrdersRequest, b"ListOrders", Buyer
}
orders! {
    /// Converts a ListSales request to a query.
    list_sales, ListSalesRequest, b"ListSales", Seller
}

/// Parses a SummarizeSales request into its time range.
pub fn summarize_sales(request: &v1::SummarizeSalesRequest) -> Result<(TimeRange, usize), Status> {
    let mut fields = Fields::new();
    for (field, time) in [("from_time", &request.from_time), ("until_time", &request.until_time)] {
        if time.is_none() {
            fields.wrong(field, "is missing; give both ends of the time to sum up");
        }
    }
    let placed = fields.time_range(request.from_time.as_ref(), request.until_time.as_ref());
    if placed != TimeRange::ALL && placed.until > placed.from.plus(MAX_SUMMARY) {
        fields.wrong("until_time", "is more than 366 days after from_time; ask for a shorter time");
    }
    let items = fields.limit("item_limit", request.item_limit, (DEFAULT_SUMMARY_ITEMS, MAX_SUMMARY_ITEMS));
    fields.finish(items.map(|items| (placed, items)))
}

/// Refuses a summary that would lack archived orders, because an end of its time lies within their day.
pub fn refuse_cut_days(placed: TimeRange, summary: &SalesSummary) -> Result<(), Status> {
    let mut fields = Fields::new();
    for (field, time) in [("from_time", placed.from), ("until_time", placed.until)] {
        let is_within_a_day = time.0.rem_euclid(DAY_MICROS) != 0;
        if is_within_a_day && summary.cut_days.contains(&day_of(time)) {
            let problem =
                "lies within a day some of whose orders have been archived; give the start of a day (UTC)";
            fields.wrong(field, problem);
        }
    }
    fields.finish(Some(()))
}

/// Converts a ListCategories request to a query. The caller must add the hidden sellers.
pub fn list_categories(
    request: &v1::ListCategoriesRequest,
) -> Result<(CategoryQuery, Page<Category>), Status> {
    let mut fields = Fields::new();
    let parent = fields.optional_category("parent", &request.parent);
    fields.finish(Some(()))?;
    let token = PageToken::of(&[b"ListCategories", request.parent.as_bytes()]);
    let page = Page::read(request.page_size, &request.page_token, token)?;
    let (after, limit) = (page.after.clone(), page.rows());
    Ok((CategoryQuery { parent, after, limit, ..CategoryQuery::default() }, page))
}

/// Converts a SearchItem request to a query. The caller must add the hidden sellers.
pub fn search_item(request: &v1::SearchItemRequest) -> Result<(SearchQuery, Page<SearchCursor>), Status> {
    // The token is bound to every field except the page size, which may change.
    let query = v1::SearchItemRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let token = PageToken::of(&[b"SearchItem", &query.encode_to_vec()]);
    let page = Page::read(request.page_size, &request.page_token, token)?;
    // Not `rows()`: the search itself finds out whether there is a next page.
    let (limit, after) = (page.size(), page.after);
    Ok((SearchQuery { limit, after, ..search_query(request)? }, page))
}

/// Converts a WatchSearch request to the query of the equivalent search. The caller must set the limit.
pub fn watch_search(request: v1::WatchSearchRequest) -> Result<SearchQuery, Status> {
    let v1::WatchSearchRequest { query, category, min_price, max_price, min_rating, seller_id, in_stock } =
        request;
    let search = v1::SearchItemRequest {
        query,
        category,
        min_price,
        max_price,
        min_rating,
        seller_id,
        in_stock,
        ..Default::default()
    };
    search_query(&search)
}

/// Converts the conditions and the order of a search, without its page.
fn search_query(request: &v1::SearchItemRequest) -> Result<SearchQuery, Status> {
    let mut fields = Fields::new();
    let text = fields.take("query", SearchText::parse(&request.query));
    let category = fields.optional_category("category", &request.category);
    let min_price = fields.optional_price("min_price", request.min_price.as_ref());
    let max_price = fields.optional_price("max_price", request.max_price.as_ref());
    let price = fields.take("max_price", PriceRange::parse(min_price, max_price));
    if request.min_rating.is_some_and(|rating| !(1.0..=5.0).contains(&rating)) {
        fields.wrong("min_rating", "is outside 1.0 to 5.0; leave it out for any rating");
    }
    let seller = fields.optional_party("seller_id", &request.seller_id);
    let order = search_order(&mut fields, request);
    let (text, price) = fields.finish(text.zip(price))?;
    Ok(SearchQuery {
        text,
        category,
        price,
        min_rating: request.min_rating,
        seller,
        in_stock: request.in_stock,
        order,
        ..SearchQuery::default()
    })
}

fn search_order(fields: &mut Fields, request: &v1::SearchItemRequest) -> SearchOrder {
    match v1::SearchOrder::try_from(request.order_by) {
        Ok(v1::SearchOrder::Unspecified | v1::SearchOrder::Relevance) => SearchOrder::Relevance,
        Ok(v1::SearchOrder::PriceAscending) => SearchOrder::PriceAscending,
        Ok(v1::SearchOrder::PriceDescending) => SearchOrder::PriceDescending,
        Ok(v1::SearchOrder::Rating) => SearchOrder::Rating,
        Ok(v1::SearchOrder::Newest) => SearchOrder::Newest,
        Err(_) => {
            fields.wrong("order_by", "is none of the orders; use one of SearchOrder");
            SearchOrder::Relevance
        }
    }
}

fn party_bytes(party: &PartyId) -> &[u8] {
    party.0.as_bytes()
}
