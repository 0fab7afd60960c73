//! CatalogService: searching for items.

mod watch;

use std::pin::Pin;

use futures::Stream;
use souk_domain::{Category, ItemId, Refusal};
use souk_proto::{
    Reason,
    v1::{self, catalog_service_server::CatalogService},
};
use souk_search::{CategoryQuery, SearchCursor, SearchError, SearchOrder, SearchQuery, Searcher};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::Caller,
    ledger::OVERLOAD_RETRY_DELAY,
    wire::{self, Fields, PageToken},
};

/// The implementation of CatalogService.
pub struct CatalogApi(pub Api);

type Watched = Pin<Box<dyn Stream<Item = Result<v1::WatchSearchResponse, Status>> + Send>>;

#[async_trait]
impl CatalogService for CatalogApi {
    type WatchSearchStream = Watched;

    async fn watch_search(
        &self,
        request: Request<v1::WatchSearchRequest>,
    ) -> Result<Response<Self::WatchSearchStream>, Status> {
        let caller = searcher(&request)?;
        let request = request.into_inner();
        let query = search_query(&as_search(request), None)?;
        Ok(Response::new(Box::pin(watch::follow(self.0.clone(), caller, query))))
    }

    async fn search_item(
        &self,
        request: Request<v1::SearchItemRequest>,
    ) -> Result<Response<v1::SearchItemResponse>, Status> {
        let caller = searcher(&request)?;
        let request = request.into_inner();
        let token = search_token(&request);
        let mut query = search_query(&request, token.read(&request.page_token)?)?;
        query.hidden_sellers = self.0.parts.suspended.all();
        let page = self.0.parts.search.search(caller, &query).await.map_err(search_status)?;
        Ok(Response::new(v1::SearchItemResponse {
            items: page.items.iter().map(wire::item).collect(),
            next_page_token: page.next.map(|next| token.write(&next)).unwrap_or_default(),
            total_size: i64::try_from(page.total).unwrap_or(i64::MAX),
            categories: page.categories.iter().map(category_count).collect(),
        }))
    }

    async fn get_item(
        &self,
        request: Request<v1::GetItemRequest>,
    ) -> Result<Response<v1::GetItemResponse>, Status> {
        let mut fields = Fields::new();
        let id = fields.id("item_id", request.into_inner().item_id);
        let id = ItemId(fields.finish(id)?);
        let item = read(self.0.reads().item(id).await)?
            .filter(|item| item.is_listed() && !self.0.parts.suspended.contains(item.seller))
            .ok_or_else(|| wire::refusal(&Refusal::ItemNotFound(id)))?;
        Ok(Response::new(v1::GetItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn list_categories(
        &self,
        request: Request<v1::ListCategoriesRequest>,
    ) -> Result<Response<v1::ListCategoriesResponse>, Status> {
        let caller = searcher(&request)?;
        let request = request.into_inner();
        let limit = wire::page_size(request.page_size)?;
        let mut fields = Fields::new();
        let parent = fields.optional_category("parent", &request.parent);
        fields.finish(Some(()))?;
        let token = PageToken::of(&[b"ListCategories", request.parent.as_bytes()]);
        let after: Option<Category> = token.read(&request.page_token)?;
        let hidden_sellers = self.0.parts.suspended.all();
        let query = CategoryQuery { parent, hidden_sellers, after, limit: limit + 1 };
        let mut found = self.0.parts.search.categories(caller, query).await.map_err(search_status)?;
        let next = super::cut(&mut found, limit, |(category, _)| category.clone());
        Ok(Response::new(v1::ListCategoriesResponse {
            categories: found.iter().map(category_count).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
    }
}

fn searcher<T>(request: &Request<T>) -> Result<Searcher, Status> {
    let caller = Caller::of(request)?;
    Ok(Searcher { party: caller.party, was_elsewhere: caller.was_elsewhere })
}

/// Converts a watched search to the equivalent SearchItem request.
fn as_search(request: v1::WatchSearchRequest) -> v1::SearchItemRequest {
    let v1::WatchSearchRequest { query, category, min_price, max_price, min_rating, seller_id, in_stock } =
        request;
    v1::SearchItemRequest {
        query,
        category,
        min_price,
        max_price,
        min_rating,
        seller_id,
        in_stock,
        ..Default::default()
    }
}

/// Maximum length of a query in characters.
const MAX_QUERY_CHARS: usize = 500;

fn search_query(request: &v1::SearchItemRequest, after: Option<SearchCursor>) -> Result<SearchQuery, Status> {
    let mut fields = Fields::new();
    if request.query.chars().count() > MAX_QUERY_CHARS {
        fields.wrong("query", format!("is longer than {MAX_QUERY_CHARS} characters; use fewer words"));
    }
    let category = fields.optional_category("category", &request.category);
    let min_price = fields.optional_price("min_price", request.min_price.as_ref());
    let max_price = fields.optional_price("max_price", request.max_price.as_ref());
    if let (Some(min), Some(max)) = (min_price, max_price) {
        if min.currency_code() != max.currency_code() {
            fields.wrong("max_price", "has another currency than min_price; use one for both");
        } else if min.amount_minor() > max.amount_minor() {
            fields.wrong("max_price", "is lower than min_price; swap them");
        }
    }
    if request.min_rating.is_some_and(|rating| !(1.0..=5.0).contains(&rating)) {
        fields.wrong("min_rating", "is outside 1.0 to 5.0; leave it out for any rating");
    }
    let seller = fields.optional_party("seller_id", &request.seller_id);
    let order = search_order(&mut fields, request);
    fields.finish(Some(()))?;
    Ok(SearchQuery {
        text: request.query.clone(),
        category,
        min_price,
        max_price,
        min_rating: request.min_rating,
        seller,
        in_stock: request.in_stock,
        order,
        limit: wire::page_size(request.page_size)?,
        after,
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

/// Returns the page token of a request. It is bound to every field except the page size, which may change.
fn search_token(request: &v1::SearchItemRequest) -> PageToken {
    use prost::Message as _;
    let query = v1::SearchItemRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    PageToken::of(&[b"SearchItem", &query.encode_to_vec()])
}

fn category_count((category, items): &(Category, u64)) -> v1::CategoryCount {
    v1::CategoryCount {
        category: category.as_str().to_owned(),
        item_count: i64::try_from(*items).unwrap_or(i64::MAX),
    }
}

fn search_status(error: SearchError) -> Status {
    match error {
        SearchError::Overloaded => wire::try_again(
            Reason::Overloaded,
            "more searches are waiting than the market takes; try again in a moment",
            OVERLOAD_RETRY_DELAY,
        ),
        SearchError::Behind => wire::try_again(
            Reason::Unavailable,
            "the search index is still catching up; try again in a moment",
            OVERLOAD_RETRY_DELAY,
        ),
        SearchError::Store(error) => wire::store_error(&error),
        other => wire::internal(&other.to_string()),
    }
}
