//! BuyerService: buying, wishing and rating.

use souk_domain::{Refusal, Unwished, Wished};
use souk_proto::v1::{self, buyer_service_server::BuyerService};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::Caller,
    wire::{self, command, query},
};

/// The implementation of BuyerService.
pub struct BuyerApi(pub Api);

#[async_trait]
impl BuyerService for BuyerApi {
    async fn buy_item(
        &self,
        request: Request<v1::BuyItemRequest>,
    ) -> Result<Response<v1::BuyItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out(&caller, command::buy_item(request.into_inner())?).await?;
        Ok(Response::new(v1::BuyItemResponse { order: Some(wire::order(&order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let buyer = Caller::of(&request)?.party;
        let (query, page) = query::list_orders(buyer, request.into_inner())?;
        let orders = read(self.0.reads().orders(&query).await)?;
        let (orders, next_page_token) = page.fill(&orders, |order| order.id, wire::order);
        Ok(Response::new(v1::ListOrdersResponse { orders, next_page_token }))
    }

    async fn place_order(
        &self,
        request: Request<v1::PlaceOrderRequest>,
    ) -> Result<Response<v1::PlaceOrderResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let orders = self.0.carry_out(&caller, command::place_order(request.into_inner())?).await?;
        Ok(Response::new(v1::PlaceOrderResponse { orders: orders.iter().map(wire::order).collect() }))
    }

    async fn get_order(
        &self,
        request: Request<v1::GetOrderRequest>,
    ) -> Result<Response<v1::GetOrderResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let id = query::order_id(request.into_inner().order_id)?;
        let order = read(self.0.reads().order(id).await)?
            .filter(|order| order.buyer == caller)
            .ok_or_else(|| wire::refusal(&Refusal::OrderNotFound(id)))?;
        Ok(Response::new(v1::GetOrderResponse { order: Some(wire::order(&order)) }))
    }

    async fn cancel_order(
        &self,
        request: Request<v1::CancelOrderRequest>,
    ) -> Result<Response<v1::CancelOrderResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out(&caller, command::cancel_order(request.into_inner())?).await?;
        Ok(Response::new(v1::CancelOrderResponse { order: Some(wire::order(&order)) }))
    }

    async fn add_to_wishlist(
        &self,
        request: Request<v1::AddToWishlistRequest>,
    ) -> Result<Response<v1::AddToWishlistResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let parsed = command::add_to_wishlist(request.into_inner())?;
        let Wished(wish, item) = self.0.carry_out(&caller, parsed).await?;
        Ok(Response::new(v1::AddToWishlistResponse { wish: Some(wire::wish(&wish, &item)) }))
    }

    async fn remove_from_wishlist(
        &self,
        request: Request<v1::RemoveFromWishlistRequest>,
    ) -> Result<Response<v1::RemoveFromWishlistResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let parsed = command::remove_from_wishlist(request.into_inner())?;
        let Unwished = self.0.carry_out(&caller, parsed).await?;
        Ok(Response::new(v1::RemoveFromWishlistResponse {}))
    }

    async fn list_wishlist(
        &self,
        request: Request<v1::ListWishlistRequest>,
    ) -> Result<Response<v1::ListWishlistResponse>, Status> {
        let buyer = Caller::of(&request)?.party;
        let page = query::list_wishlist(buyer, &request.into_inner())?;
        let wishes = read(self.0.reads().wishlist(buyer, page.after, page.rows()).await)?;
        let message = |(wish, item): &_| wire::wish(wish, item);
        let (wishes, next_page_token) = page.fill(&wishes, |(wish, _)| wish.item, message);
        Ok(Response::new(v1::ListWishlistResponse { wishes, next_page_token }))
    }

    async fn rate_item(
        &self,
        request: Request<v1::RateItemRequest>,
    ) -> Result<Response<v1::RateItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let rating = self.0.carry_out(&caller, command::rate_item(request.into_inner())?).await?;
        Ok(Response::new(v1::RateItemResponse { rating: wire::rating(rating) }))
    }
}
