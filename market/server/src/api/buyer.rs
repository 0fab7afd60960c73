//! BuyerService: buying, wishing and rating.

use prost::Message as _;
use souk_domain::{ItemId, OrderId, Outcome, PartyId, Refusal};
use souk_proto::v1::{self, buyer_service_server::BuyerService};
use souk_store::{OrderQuery, OrdersOf};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, cut, party_bytes, read, unexpected};
use crate::{
    access::Caller,
    wire::{self, Fields, PageToken, command},
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
        let order = self.0.carry_out_on_order(&caller, command::buy_item(request.into_inner())?).await?;
        Ok(Response::new(v1::BuyItemResponse { order: Some(wire::order(&order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let buyer = Caller::of(&request)?.party;
        let request = request.into_inner();
        let limit = wire::page_size(request.page_size)?;
        let mut fields = Fields::new();
        let status = fields.order_status("status", request.status);
        let item = fields.optional_id("item_id", request.item_id).map(ItemId);
        let placed = fields.time_range(request.from_time.as_ref(), request.until_time.as_ref());
        fields.finish(Some(()))?;
        let token = list_token(buyer, &request);
        let before = token.read::<OrderId>(&request.page_token)?;
        let of = OrdersOf::Buyer(buyer);
        let query = OrderQuery { of, item, status, placed, before, limit: limit + 1 };
        let mut orders = read(self.0.reads().orders(&query).await)?;
        let next = cut(&mut orders, limit, |order| order.id);
        Ok(Response::new(v1::ListOrdersResponse {
            orders: orders.iter().map(wire::order).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
    }

    async fn place_order(
        &self,
        request: Request<v1::PlaceOrderRequest>,
    ) -> Result<Response<v1::PlaceOrderResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        match self.0.carry_out(&caller, command::place_order(request.into_inner())?).await? {
            Outcome::Orders(orders) => {
                Ok(Response::new(v1::PlaceOrderResponse { orders: orders.iter().map(wire::order).collect() }))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn get_order(
        &self,
        request: Request<v1::GetOrderRequest>,
    ) -> Result<Response<v1::GetOrderResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let mut fields = Fields::new();
        let id = fields.id("order_id", request.into_inner().order_id);
        let id = OrderId(fields.finish(id)?);
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
        let order = self.0.carry_out_on_order(&caller, command::cancel_order(request.into_inner())?).await?;
        Ok(Response::new(v1::CancelOrderResponse { order: Some(wire::order(&order)) }))
    }

    async fn add_to_wishlist(
        &self,
        request: Request<v1::AddToWishlistRequest>,
    ) -> Result<Response<v1::AddToWishlistResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        match self.0.carry_out(&caller, command::add_to_wishlist(request.into_inner())?).await? {
            Outcome::Wished(wish, item) => {
                Ok(Response::new(v1::AddToWishlistResponse { wish: Some(wire::wish(&wish, &item)) }))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn remove_from_wishlist(
        &self,
        request: Request<v1::RemoveFromWishlistRequest>,
    ) -> Result<Response<v1::RemoveFromWishlistResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        match self.0.carry_out(&caller, command::remove_from_wishlist(request.into_inner())?).await? {
            Outcome::Unwished => Ok(Response::new(v1::RemoveFromWishlistResponse {})),
            other => Err(unexpected(&other)),
        }
    }

    async fn list_wishlist(
        &self,
        request: Request<v1::ListWishlistRequest>,
    ) -> Result<Response<v1::ListWishlistResponse>, Status> {
        let buyer = Caller::of(&request)?.party;
        let request = request.into_inner();
        let limit = wire::page_size(request.page_size)?;
        let token = PageToken::of(&[b"ListWishlist", party_bytes(&buyer)]);
        let after = token.read::<ItemId>(&request.page_token)?;
        let mut wishes = read(self.0.reads().wishlist(buyer, after, limit + 1).await)?;
        let next = cut(&mut wishes, limit, |(wish, _)| wish.item);
        Ok(Response::new(v1::ListWishlistResponse {
            wishes: wishes.iter().map(|(wish, item)| wire::wish(wish, item)).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
    }

    async fn rate_item(
        &self,
        request: Request<v1::RateItemRequest>,
    ) -> Result<Response<v1::RateItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        match self.0.carry_out(&caller, command::rate_item(request.into_inner())?).await? {
            Outcome::Rated(rating) => {
                Ok(Response::new(v1::RateItemResponse { rating: wire::rating(rating) }))
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// Returns the page token of a request. It is bound to every field except the page size, which may change.
fn list_token(buyer: PartyId, request: &v1::ListOrdersRequest) -> PageToken {
    let query = v1::ListOrdersRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    PageToken::of(&[b"ListOrders", party_bytes(&buyer), &query.encode_to_vec()])
}
