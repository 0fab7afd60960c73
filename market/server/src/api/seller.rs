//! SellerService: listing items and fulfilling orders.

use std::pin::Pin;

use futures::Stream;
use souk_domain::{Refusal, TillRemoved};
use souk_proto::v1::{self, seller_service_server::SellerService};
use souk_store::ItemQuery;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api,
    import::{Import, export},
    read, sync,
};
use crate::{
    access::Caller,
    wire::{self, command, query},
};

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
        let item = self.0.carry_out(&caller, command::sell_item(request.into_inner())?).await?;
        Ok(Response::new(v1::SellItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn update_item(
        &self,
        request: Request<v1::UpdateItemRequest>,
    ) -> Result<Response<v1::UpdateItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let item = self.0.carry_out(&caller, command::update_item(request.into_inner())?).await?;
        Ok(Response::new(v1::UpdateItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn delete_item(
        &self,
        request: Request<v1::DeleteItemRequest>,
    ) -> Result<Response<v1::DeleteItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let item = self.0.carry_out(&caller, command::delete_item(request.into_inner())?).await?;
        Ok(Response::new(v1::DeleteItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn undelete_item(
        &self,
        request: Request<v1::UndeleteItemRequest>,
    ) -> Result<Response<v1::UndeleteItemResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let mut parsed = command::undelete_item(request.into_inner())?;
        parsed.action.sku = read(self.0.reads().item(parsed.action.item).await)?.and_then(|item| item.sku);
        let item = self.0.carry_out(&caller, parsed).await?;
        Ok(Response::new(v1::UndeleteItemResponse { item: Some(wire::item(&item)) }))
    }

    async fn display_seller_items(
        &self,
        request: Request<v1::DisplaySellerItemsRequest>,
    ) -> Result<Response<v1::DisplaySellerItemsResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let request = request.into_inner();
        let page = query::display_seller_items(caller, &request)?;
        let (withdrawn, after, limit) = (request.withdrawn, page.after, page.rows());
        let query = ItemQuery { seller: caller, withdrawn, after, limit };
        let items = read(self.0.reads().seller_items(&query).await)?;
        let (items, next_page_token) = page.fill(&items, |item| item.id, wire::item);
        Ok(Response::new(v1::DisplaySellerItemsResponse { items, next_page_token }))
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
        let TillRemoved = self.0.carry_out(&caller, command::remove_till(request.into_inner())?).await?;
        Ok(Response::new(v1::RemoveTillResponse {}))
    }

    async fn list_sales(
        &self,
        request: Request<v1::ListSalesRequest>,
    ) -> Result<Response<v1::ListSalesResponse>, Status> {
        let seller = Caller::of(&request)?.party;
        let (query, page) = query::list_sales(seller, request.into_inner())?;
        let orders = read(self.0.reads().orders(&query).await)?;
        let (orders, next_page_token) = page.fill(&orders, |order| order.id, wire::order);
        Ok(Response::new(v1::ListSalesResponse { orders, next_page_token }))
    }

    async fn get_sale(
        &self,
        request: Request<v1::GetSaleRequest>,
    ) -> Result<Response<v1::GetSaleResponse>, Status> {
        let caller = Caller::of(&request)?.party;
        let id = query::order_id(request.into_inner().order_id)?;
        let order = read(self.0.reads().order(id).await)?
            .filter(|order| order.seller == caller)
            .ok_or_else(|| wire::refusal(&Refusal::OrderNotFound(id)))?;
        Ok(Response::new(v1::GetSaleResponse { order: Some(wire::order(&order)) }))
    }

    async fn summarize_sales(
        &self,
        request: Request<v1::SummarizeSalesRequest>,
    ) -> Result<Response<v1::SummarizeSalesResponse>, Status> {
        let seller = Caller::of(&request)?.party;
        let (placed, items) = query::summarize_sales(&request.into_inner())?;
        let summary = read(self.0.reads().sales_summary(seller, placed, items).await)?;
        query::refuse_cut_days(placed, &summary)?;
        Ok(Response::new(wire::sales_summary(&summary)))
    }

    async fn ship_sale(
        &self,
        request: Request<v1::ShipSaleRequest>,
    ) -> Result<Response<v1::ShipSaleResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out(&caller, command::ship_sale(request.into_inner())?).await?;
        Ok(Response::new(v1::ShipSaleResponse { order: Some(wire::order(&order)) }))
    }

    async fn deliver_sale(
        &self,
        request: Request<v1::DeliverSaleRequest>,
    ) -> Result<Response<v1::DeliverSaleResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out(&caller, command::deliver_sale(request.into_inner())?).await?;
        Ok(Response::new(v1::DeliverSaleResponse { order: Some(wire::order(&order)) }))
    }

    async fn cancel_sale(
        &self,
        request: Request<v1::CancelSaleRequest>,
    ) -> Result<Response<v1::CancelSaleResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let order = self.0.carry_out(&caller, command::cancel_sale(request.into_inner())?).await?;
        Ok(Response::new(v1::CancelSaleResponse { order: Some(wire::order(&order)) }))
    }
}
