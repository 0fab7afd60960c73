//! CatalogService: searching for items.

mod watch;

use std::pin::Pin;

use futures::Stream;
use souk_domain::{Category, Refusal, Timestamp};
use souk_proto::v1::{self, catalog_service_server::CatalogService};
use souk_search::Searcher;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::Caller,
    wire::{self, query},
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
        let query = query::watch_search(request.into_inner())?;
        Ok(Response::new(Box::pin(watch::follow(self.0.clone(), caller, query)?)))
    }

    async fn search_item(
        &self,
        request: Request<v1::SearchItemRequest>,
    ) -> Result<Response<v1::SearchItemResponse>, Status> {
        let caller = searcher(&request)?;
        let (mut query, page) = query::search_item(&request.into_inner())?;
        query.hidden_sellers = self.0.parts.suspended.all();
        let as_of = self.as_of();
        let found = self.0.parts.search.search(caller, &query).await;
        let found = found.map_err(|error| wire::search_error(&error))?;
        Ok(Response::new(wire::search_page(&found, &page, as_of)))
    }

    async fn get_item(
        &self,
        request: Request<v1::GetItemRequest>,
    ) -> Result<Response<v1::GetItemResponse>, Status> {
        let id = query::item_id(request.into_inner().item_id)?;
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
        let (mut query, page) = query::list_categories(&request.into_inner())?;
        query.hidden_sellers = self.0.parts.suspended.all();
        let as_of_time = self.as_of().map(wire::timestamp);
        let found = self.0.parts.search.categories(caller, query).await;
        let found = found.map_err(|error| wire::search_error(&error))?;
        let cursor = |(category, _): &(Category, _)| category.clone();
        let (categories, next_page_token) = page.fill(&found, cursor, wire::category_count);
        Ok(Response::new(v1::ListCategoriesResponse { categories, next_page_token, as_of_time }))
    }
}

impl CatalogApi {
    /// Returns the time up to which answers contain everything, if the index can't follow at present. Read before the
    /// search: an answer may then contain more than it says, but never less.
    fn as_of(&self) -> Option<Timestamp> {
        let lag = self.0.parts.search.stale_for()?;
        Some(self.0.parts.clock.now().minus(lag))
    }
}

fn searcher<T>(request: &Request<T>) -> Result<Searcher, Status> {
    let caller = Caller::of(request)?;
    Ok(Searcher { party: caller.party, was_elsewhere: caller.was_elsewhere })
}
