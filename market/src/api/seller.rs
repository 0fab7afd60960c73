//! SellerService: listing, and looking after what is listed.

use souk_proto::v1::{self, seller_service_server::SellerService};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, cut, party_bytes, read};
use crate::{
    access::Caller,
    domain::{ItemId, OrderId},
    store::SaleQuery,
    wire::{self, Fields, PageToken, command},
};

/// SellerService.
pub struct SellerApi(pub Api);

#[async_trait]
impl SellerService for SellerApi {
    async fn sell_item(
        &self,
        request: Request<v1::SellItemRequest>,
    ) -> Result<Response<v1::SellItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let item = self.0.carry_out_on_item(&caller, command::sell_item(request.into_inner())?).await?;
        Ok(Response::new(v1::SellItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn update_item(
        &self,
        request: Request<v1::UpdateItemRequest>,
    ) -> Result<Response<v1::UpdateItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let item = self.0.carry_out_on_item(&caller, command::update_item(request.into_inner())?).await?;
        Ok(Response::new(v1::UpdateItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn delete_item(
        &self,
        request: Request<v1::DeleteItemRequest>,
    ) -> Result<Response<v1::DeleteItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let item = self.0.carry_out_on_item(&caller, command::delete_item(request.into_inner())?).await?;
        Ok(Response::new(v1::DeleteItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn display_seller_items(
        &self,
        request: Request<v1::DisplaySellerItemsRequest>,
    ) -> Result<Response<v1::DisplaySellerItemsResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let request = request.into_inner();
        let limit = wire::page_size(request.page_size)?;
        let token = PageToken::of(&[b"DisplaySellerItems", party_bytes(&caller)]);
        let after = token.read::<ItemId>(&request.page_token)?;
        let mut items = read(self.0.reads().seller_items(caller, after, limit + 1).await)?;
        let next = cut(&mut items, limit, |item| item.id);
        Ok(Response::new(v1::DisplaySellerItemsResponse {
            items: items.iter().map(wire::item).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
    }

    async fn list_sales(
        &self,
        request: Request<v1::ListSalesRequest>,
    ) -> Result<Response<v1::ListSalesResponse>, Status> {
        let seller = Caller::of(&request)?.party;
        let request = request.into_inner();
        let limit = wire::page_size(request.page_size)?;
        let mut fields = Fields::new();
        let status = fields.order_status("status", request.status);
        let item =
            (request.item_id != 0).then(|| fields.id("item_id", request.item_id)).flatten().map(ItemId);
        fields.finish(Some(()))?;
        let token = PageToken::of(&[
            b"ListSales",
            party_bytes(&seller),
            &request.status.to_le_bytes(),
            &request.item_id.to_le_bytes(),
        ]);
        let before = token.read::<OrderId>(&request.page_token)?;
        let query = SaleQuery { seller, item, status, before, limit: limit + 1 };
        let mut orders = read(self.0.reads().sales(&query).await)?;
        let next = cut(&mut orders, limit, |order| order.id);
        Ok(Response::new(v1::ListSalesResponse {
            orders: orders.iter().map(wire::order).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
    }
}
