//! SellerService: listing items and fulfilling orders.

use std::{pin::Pin, time::Duration};

use futures::Stream;
use prost::Message as _;
use souk_domain::{ItemId, OrderId, Outcome};
use souk_proto::v1::{self, seller_service_server::SellerService};
use souk_store::{OrderQuery, OrdersOf, TimeRange};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, cut,
    import::{Import, export},
    party_bytes, read, sync, unexpected,
};
use crate::{
    access::Caller,
    wire::{self, Fields, PageToken, command},
};

/// Maximum period of a summary.
const MAX_SUMMARY: Duration = Duration::from_secs(366 * 86_400);
/// Maximum number of items in a summary.
const MAX_SUMMARY_ITEMS: usize = 100;

type Exported = Pin<Box<dyn Stream<Item = Result<v1::ExportItemsResponse, Status>> + Send>>;

type Synced = Pin<Box<dyn Stream<Item = Result<v1::SyncInventoryResponse, Status>> + Send>>;

/// The implementation of SellerService.
pub struct SellerApi(pub Api);

#[async_trait]
impl SellerService for SellerApi {
    type ExportItemsStream = Exported;
    type SyncInventoryStream = Synced;

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

    async fn import_items(
        &self,
        request: Request<Streaming<v1::ImportItemsRequest>>,
    ) -> Result<Response<v1::ImportItemsResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        Import::run(self.0.clone(), caller, request.into_inner()).await.map(Response::new)
    }

    async fn export_items(
        &self,
        request: Request<v1::ExportItemsRequest>,
    ) -> Result<Response<Self::ExportItemsStream>, Status> {
        let seller = Caller::of(&request)?.party;
        Ok(Response::new(Box::pin(export(self.0.clone(), seller))))
    }

    async fn sync_inventory(
        &self,
        request: Request<Streaming<v1::SyncInventoryRequest>>,
    ) -> Result<Response<Self::SyncInventoryStream>, Status> {
        let caller = Caller::of(&request)?.clone();
        let answers = sync::open(self.0.clone(), caller, request.into_inner()).await?;
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_tills(
        &self,
        request: Request<v1::ListTillsRequest>,
    ) -> Result<Response<v1::ListTillsResponse>, Status> {
        let seller = Caller::of(&request)?.party;
        let mut tills = Vec::new();
        for till in read(self.0.reads().tills(seller).await)? {
            let mailbox = read(self.0.parts.mailboxes.state(till.id.mailbox()).await)?;
            tills.push(wire::till(&till, mailbox.map_or(0, |mailbox| mailbox.pending)));
        }
        Ok(Response::new(v1::ListTillsResponse { tills }))
    }

    async fn remove_till(
        &self,
        request: Request<v1::RemoveTillRequest>,
    ) -> Result<Response<v1::RemoveTillResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        match self.0.carry_out(&caller, command::remove_till(request.into_inner())?).await? {
            Outcome::TillRemoved => Ok(Response::new(v1::RemoveTillResponse {})),
            other => Err(unexpected(&other)),
        }
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
        let item = fields.optional_id("item_id", request.item_id).map(ItemId);
        let placed = fields.time_range(request.from_time.as_ref(), request.until_time.as_ref());
        fields.finish(Some(()))?;
        let query = v1::ListSalesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let token = PageToken::of(&[b"ListSales", party_bytes(&seller), &query.encode_to_vec()]);
        let before = token.read::<OrderId>(&request.page_token)?;
        let of = OrdersOf::Seller(seller);
        let query = OrderQuery { of, item, status, placed, before, limit: limit + 1 };
        let mut orders = read(self.0.reads().orders(&query).await)?;
        let next = cut(&mut orders, limit, |order| order.id);
        Ok(Response::new(v1::ListSalesResponse {
            orders: orders.iter().map(wire::order).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
    }

    async fn summarize_sales(
        &self,
        request: Request<v1::SummarizeSalesRequest>,
    ) -> Result<Response<v1::SummarizeSalesResponse>, Status> {
        let seller = Caller::of(&request)?.party;
        let request = request.into_inner();
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
        fields.finish(Some(()))?;
        let summary = read(self.0.reads().sales_summary(seller, placed, MAX_SUMMARY_ITEMS).await)?;
        Ok(Response::new(wire::sales_summary(&summary)))
    }

    async fn ship_sale(
        &self,
        request: Request<v1::ShipSaleRequest>,
    ) -> Result<Response<v1::ShipSaleResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out_on_order(&caller, command::ship_sale(request.into_inner())?).await?;
        Ok(Response::new(v1::ShipSaleResponse { order: Some(wire::order(&order)) }))
    }

    async fn deliver_sale(
        &self,
        request: Request<v1::DeliverSaleRequest>,
    ) -> Result<Response<v1::DeliverSaleResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out_on_order(&caller, command::deliver_sale(request.into_inner())?).await?;
        Ok(Response::new(v1::DeliverSaleResponse { order: Some(wire::order(&order)) }))
    }

    async fn cancel_sale(
        &self,
        request: Request<v1::CancelSaleRequest>,
    ) -> Result<Response<v1::CancelSaleResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out_on_order(&caller, command::cancel_sale(request.into_inner())?).await?;
        Ok(Response::new(v1::CancelSaleResponse { order: Some(wire::order(&order)) }))
    }
}
