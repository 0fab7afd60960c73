//! Converts mutating requests to commands.

use souk_domain::{
    CancelReason, Category, DeadLetterId, Description, DisplayName, ImportRow, ItemId, ItemListing, ItemName,
    ItemPatch, OrderId, OrderLine, OrderQuantity, Quantity, RequestKey, Sku, Stars, StockChange,
    SuspensionReason, TestText, action,
};
use souk_proto::v1;
use tonic::Status;

pub use super::mutation::Parsed;
use super::mutation::{Mutating, mutating};
use super::parse::{Fields, fingerprint, request_key};
pub use super::ride::{end_ride, fix, start_ride};
pub use super::till::{remove_till, sync_hello, till_line};

/// Maximum length of a host name (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// A parsed RegisterSeller or RegisterBuyer request, whose callback address has not been checked yet.
pub struct Registration {
    /// The idempotency key: the request id and the fingerprint of the parameters.
    pub request: RequestKey,
    /// Whether to validate the request without changing anything.
    pub validate_only: bool,
    /// The name shown to other parties.
    pub display_name: DisplayName,
    /// The requested callback address. `None` to receive events by stream only.
    pub callback: Option<v1::CallbackAddress>,
}

macro_rules! registration {
    ($(#[$doc:meta])* $name:ident, $request:ident, $method:literal) => {
        $(#[$doc])*
        pub fn $name(mut request: v1::$request) -> Result<Registration, Status> {
            let call = mutating!(request, $method);
            let mut fields = Fields::new();
            let display_name = fields.take("display_name", DisplayName::parse(&request.display_name));
            let key = request_key(&mut fields, &call.request_id, call.print);
            let callback = request.callback;
            if let Some(callback) = &callback {
                callback_address(&mut fields, callback);
            }
            fields.finish(key.zip(display_name).map(|(request, display_name)| Registration {
                request,
                validate_only: call.validate_only,
                display_name,
                callback,
            }))
        }
    };
}

/// Checks what can be checked of a callback address without looking it up.
fn callback_address(fields: &mut Fields, callback: &v1::CallbackAddress) {
    let port = callback.port;
    if !(1..=u32::from(u16::MAX)).contains(&port) {
        fields.wrong(
            "callback.port",
            format!("is {port}; give the port on which your server listens, 1 to 65535"),
        );
    }
    if callback.host.len() > MAX_HOST_BYTES {
        let problem = format!("is longer than {MAX_HOST_BYTES} bytes; give a host, or nothing");
        fields.wrong("callback.host", problem);
    }
}

registration! {
    /// Parses a RegisterSeller request, without checking the callback address.
    register_seller, RegisterSellerRequest, "RegisterSeller"
}
registration! {
    /// Parses a RegisterBuyer request, without checking the callback address.
    register_buyer, RegisterBuyerRequest, "RegisterBuyer"
}

/// Converts a SellItem request to a command without its caller.
pub fn sell_item(mut request: v1::SellItemRequest) -> Result<Parsed<action::Sell>, Status> {
    let call = mutating!(request, "SellItem");
    let mut fields = Fields::new();
    let draft = request.item.unwrap_or_default();
    let listing = item_listing(&mut fields, &draft);
    call.finish(fields, listing.map(action::Sell))
}

/// Parses all properties of a new item.
fn item_listing(fields: &mut Fields, draft: &v1::ItemDraft) -> Option<ItemListing> {
    let sku = match &draft.sku {
        Some(sku) => fields.take("item.sku", Sku::parse(sku)).map(Some),
        None => Some(None),
    };
    let name = fields.take("item.name", ItemName::parse(draft.name()));
    let description = fields.take("item.description", Description::parse(draft.description()));
    let category = fields.take("item.category", Category::parse(draft.category()));
    let unit_price = fields.price("item.unit_price", draft.unit_price.as_ref());
    let quantity = fields.take("item.quantity", Quantity::parse_listing(draft.quantity()));
    Some(ItemListing {
        sku: sku?,
        name: name?,
        description: description?,
        category: category?,
        unit_price: unit_price?,
        quantity: quantity?,
    })
}

/// Parses a row of ImportItems, or returns what is wrong with it.
pub fn import_row(row: &v1::ImportRow) -> Result<ImportRow, String> {
    let mut fields = Fields::new();
    let draft = row.item.clone().unwrap_or_default();
    let item = fields.optional_id("item_id", row.item_id).map(ItemId);
    if row.item_id == 0 && draft.sku.is_none() {
        fields.wrong("sku", "is missing; give the item's own number, or an item_id");
    }
    // A property that is not set is not the same as an empty one.
    let row = ImportRow {
        line: row.line,
        item,
        sku: draft.sku.as_deref().and_then(|sku| fields.take("sku", Sku::parse(sku))),
        name: draft.name.as_deref().and_then(|name| fields.take("name", ItemName::parse(name))),
        description: draft
            .description
            .as_deref()
            .and_then(|text| fields.take("description", Description::parse(text))),
        category: draft.category.as_deref().and_then(|path| fields.take("category", Category::parse(path))),
        unit_price: fields.optional_price("unit_price", draft.unit_price.as_ref()),
        quantity: draft.quantity.and_then(|units| fields.take("quantity", Quantity::parse(units))),
    };
    fields.finish_as_text(Some(row))
}

/// Converts an UpdateItem request (AIP-134) to a command without its caller.
pub fn update_item(mut request: v1::UpdateItemRequest) -> Result<Parsed<action::Update>, Status> {
    let call = mutating!(request, "UpdateItem");
    let mut fields = Fields::new();
    let item = fields.id("item_id", request.item_id);
    let patch = item_patch(&mut fields, &request);
    let expected_version = request.expected_version;
    let action = item.map(|item| action::Update { item: ItemId(item), patch, expected_version });
    call.finish(fields, action)
}

const PATCH_PATHS: [&str; 6] = ["sku", "name", "description", "category", "unit_price", "quantity"];

fn item_patch(fields: &mut Fields, request: &v1::UpdateItemRequest) -> ItemPatch {
    let draft = request.item.clone().unwrap_or_default();
    let mask = request.update_mask.clone().unwrap_or_default().paths;
    for path in mask.iter().filter(|path| !PATCH_PATHS.contains(&path.as_str())) {
        let known = PATCH_PATHS.join(", ");
        fields.wrong("update_mask", format!("names {path:?}; it may name {known}"));
    }
    // Without a mask, every field that is set is changed.
    let wanted =
        |path: &str, is_set: bool| if mask.is_empty() { is_set } else { mask.iter().any(|p| p == path) };
    let mut patch = ItemPatch::default();
    if wanted("name", draft.name.is_some()) {
        patch.name = fields.take("item.name", ItemName::parse(draft.name()));
    }
    if wanted("description", draft.description.is_some()) {
        patch.description = fields.take("item.description", Description::parse(draft.description()));
    }
    if wanted("category", draft.category.is_some()) {
        patch.category = fields.take("item.category", Category::parse(draft.category()));
    }
    if wanted("unit_price", draft.unit_price.is_some()) {
        patch.unit_price = fields.price("item.unit_price", draft.unit_price.as_ref());
    }
    if wanted("sku", draft.sku.is_some()) {
        patch.sku = fields.take("item.sku", Sku::parse(draft.sku()));
    }
    let sets_quantity = wanted("quantity", draft.quantity.is_some());
    patch.stock = stock_change(fields, sets_quantity, draft.quantity, request.quantity_delta);
    if mask.is_empty() && draft == v1::ItemDraft::default() && request.quantity_delta.is_none() {
        fields.wrong("item", "holds nothing to change; set a field of it, or quantity_delta");
    }
    patch
}

fn stock_change(
    fields: &mut Fields,
    sets_quantity: bool,
    quantity: Option<i64>,
    delta: Option<i64>,
) -> Option<StockChange> {
    match (sets_quantity, delta) {
        (true, Some(_)) => {
            fields.wrong("quantity_delta", "can't be given together with quantity; use one of the two");
            None
        }
        (true, None) => match quantity {
            Some(units) => fields.take("item.quantity", Quantity::parse(units)).map(StockChange::To),
            None => {
                fields.wrong("item.quantity", "is named in update_mask but missing; give it");
                None
            }
        },
        (false, Some(0)) => {
            fields
                .wrong("quantity_delta", "is 0; give the number of units to add or, negative, to take away");
            None
        }
        (false, delta) => delta.map(StockChange::By),
    }
}

/// Converts a DeleteItem request to a command without its caller.
pub fn delete_item(mut request: v1::DeleteItemRequest) -> Result<Parsed<action::Delete>, Status> {
    let call = mutating!(request, "DeleteItem");
    let mut fields = Fields::new();
    let expected_version = request.expected_version;
    let item = fields.id("item_id", request.item_id);
    call.finish(fields, item.map(|item| action::Delete { item: ItemId(item), expected_version }))
}

/// Converts an UndeleteItem request to a command without its caller. The caller must look up the item's SKU.
pub fn undelete_item(mut request: v1::UndeleteItemRequest) -> Result<Parsed<action::Undelete>, Status> {
    let call = mutating!(request, "UndeleteItem");
    let mut fields = Fields::new();
    let expected_version = request.expected_version;
    let item = fields.id("item_id", request.item_id);
    let quantity = fields.take("quantity", Quantity::parse(request.quantity));
    let action = item.zip(quantity).map(|(item, quantity)| action::Undelete {
        item: ItemId(item),
        quantity,
        expected_version,
        sku: None,
    });
    call.finish(fields, action)
}

/// Converts a BuyItem request to a command without its caller.
pub fn buy_item(mut request: v1::BuyItemRequest) -> Result<Parsed<action::Buy>, Status> {
    let call = mutating!(request, "BuyItem");
    let mut fields = Fields::new();
    let line = v1::OrderLine {
        item_id: request.item_id,
        quantity: request.quantity,
        expected_unit_price: request.expected_unit_price,
    };
    let line = order_line(&mut fields, "", &line);
    call.finish(fields, line.map(action::Buy))
}

fn order_line(fields: &mut Fields, at: &str, line: &v1::OrderLine) -> Option<OrderLine> {
    let item = fields.id(&format!("{at}item_id"), line.item_id);
    let quantity = fields.take(&format!("{at}quantity"), OrderQuantity::parse(line.quantity));
    let expected = line.expected_unit_price.as_ref();
    let expected_unit_price = fields.optional_price(&format!("{at}expected_unit_price"), expected);
    let (item, quantity) = item.zip(quantity)?;
    Some(OrderLine { item: ItemId(item), quantity, expected_unit_price })
}

/// Converts a PlaceOrder request to a command without its caller.
pub fn place_order(mut request: v1::PlaceOrderRequest) -> Result<Parsed<action::Place>, Status> {
    let call = mutating!(request, "PlaceOrder");
    let mut fields = Fields::new();
    let count = request.lines.len();
    if !(1..=OrderLine::MAX_AT_ONCE).contains(&count) {
        fields.wrong("lines", format!("are {count}; give 1 to {}", OrderLine::MAX_AT_ONCE));
        return call.finish(fields, None);
    }
    let lines = request.lines.iter().enumerate();
    let lines =
        lines.map(|(n, line)| order_line(&mut fields, &format!("lines[{n}]."), line)).collect::<Vec<_>>();
    let lines: Option<Vec<_>> = lines.into_iter().collect();
    call.finish(fields, lines.map(action::Place))
}

macro_rules! on_an_order {
    ($(#[$doc:meta])* $name:ident, $request:ident, $method:literal, $action:ident) => {
        $(#[$doc])*
        pub fn $name(mut request: v1::$request) -> Result<Parsed<action::$action>, Status> {
            let call = mutating!(request, $method);
            let mut fields = Fields::new();
            let order = fields.id("order_id", request.order_id);
            call.finish(fields, order.map(|order| action::$action { order: OrderId(order) }))
        }
    };
}

on_an_order! {
    /// Converts a CancelOrder request to a command without its caller.
    cancel_order, CancelOrderRequest, "CancelOrder", Cancel
}
on_an_order! {
    /// Converts a ShipSale request to a command without its caller.
    ship_sale, ShipSaleRequest, "ShipSale", Ship
}
on_an_order! {
    /// Converts a DeliverSale request to a command without its caller.
    deliver_sale, DeliverSaleRequest, "DeliverSale", Deliver
}

/// Converts a CancelSale request to a command without its caller.
pub fn cancel_sale(mut request: v1::CancelSaleRequest) -> Result<Parsed<action::CancelSale>, Status> {
    let call = mutating!(request, "CancelSale");
    let mut fields = Fields::new();
    let order = fields.id("order_id", request.order_id);
    let reason = fields.take("reason", CancelReason::parse(&request.reason));
    let action = order.zip(reason);
    call.finish(fields, action.map(|(order, reason)| action::CancelSale { order: OrderId(order), reason }))
}

/// Converts an AddToWishlist request to a command without its caller.
pub fn add_to_wishlist(mut request: v1::AddToWishlistRequest) -> Result<Parsed<action::Wish>, Status> {
    let call = mutating!(request, "AddToWishlist");
    let mut fields = Fields::new();
    let item = fields.id("item_id", request.item_id);
    call.finish(fields, item.map(|item| action::Wish { item: ItemId(item) }))
}

/// Converts a RemoveFromWishlist request to a command without its caller.
pub fn remove_from_wishlist(
    mut request: v1::RemoveFromWishlistRequest,
) -> Result<Parsed<action::Unwish>, Status> {
    let call = mutating!(request, "RemoveFromWishlist");
    let mut fields = Fields::new();
    let item = fields.id("item_id", request.item_id);
    call.finish(fields, item.map(|item| action::Unwish { item: ItemId(item) }))
}

/// Converts a RateItem request to a command without its caller.
pub fn rate_item(mut request: v1::RateItemRequest) -> Result<Parsed<action::Rate>, Status> {
    let call = mutating!(request, "RateItem");
    let mut fields = Fields::new();
    let item = fields.id("item_id", request.item_id);
    let stars = fields.take("stars", Stars::parse(request.stars));
    let update_existing = request.update_existing;
    let action =
        item.zip(stars).map(|(item, stars)| action::Rate { item: ItemId(item), stars, update_existing });
    call.finish(fields, action)
}

/// Converts a TestEvent request to a command without its caller.
pub fn test_event(mut request: v1::TestEventRequest) -> Result<Parsed<action::Test>, Status> {
    let call = mutating!(request, "TestEvent");
    let mut fields = Fields::new();
    let text = fields.take("text", TestText::parse(&request.text));
    call.finish(fields, text.map(|text| action::Test { text }))
}

/// Converts a Suspend request to a command without its caller.
pub fn suspend(mut request: v1::SuspendRequest) -> Result<Parsed<action::Suspend>, Status> {
    let call = mutating!(request, "Suspend");
    let mut fields = Fields::new();
    let party = fields.party("party_id", &request.party_id);
    let reason = fields.take("reason", SuspensionReason::parse(&request.reason));
    call.finish(fields, party.zip(reason).map(|(party, reason)| action::Suspend { party, reason }))
}

/// Maximum number of dead letters that are redelivered together.
const MAX_REDELIVERED: usize = 200;

/// A parsed Redeliver request, whose dead letters have not been looked up yet.
pub struct Redelivery {
    /// The idempotency key: the request id and the fingerprint of the parameters.
    pub request: RequestKey,
    /// Whether to validate the request without changing anything.
    pub validate_only: bool,
    /// The dead letters.
    pub letters: Vec<DeadLetterId>,
}

/// Parses a Redeliver request.
pub fn redeliver(mut request: v1::RedeliverRequest) -> Result<Redelivery, Status> {
    let call = mutating!(request, "Redeliver");
    let mut fields = Fields::new();
    let count = request.dead_letter_ids.len();
    if !(1..=MAX_REDELIVERED).contains(&count) {
        let problem = format!("has {count} numbers; give 1 to {MAX_REDELIVERED}");
        fields.wrong("dead_letter_ids", problem);
    }
    let letters: Option<Vec<_>> = request
        .dead_letter_ids
        .iter()
        .map(|id| fields.id("dead_letter_ids", *id).map(DeadLetterId))
        .collect();
    let key = request_key(&mut fields, &call.request_id, call.print);
    let validate_only = call.validate_only;
    fields.finish(key.zip(letters).map(|(request, letters)| Redelivery { request, validate_only, letters }))
}

/// Converts a Reinstate request to a command without its caller.
pub fn reinstate(mut request: v1::ReinstateRequest) -> Result<Parsed<action::Reinstate>, Status> {
    let call = mutating!(request, "Reinstate");
    let mut fields = Fields::new();
    let party = fields.party("party_id", &request.party_id);
    call.finish(fields, party.map(|party| action::Reinstate { party }))
}
