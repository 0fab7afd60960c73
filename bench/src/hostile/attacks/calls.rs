//! Floods of calls.

use prost::Message as _;
use souk_proto::v1;
use souk_testkit::frames::{Repeated, message};

use super::{AT_ONCE, flood};
use crate::hostile::{
    attacker::{Attacker, Who},
    case::cases,
};

cases!(
    Market 8 unknown_paths "calls to paths of 3.8 KB that do not exist",
    Market 8 without_token "calls without a token",
    Market 8 bad_tokens "calls with a token that nobody signed",
    Market 8 garbage_protobuf "requests that are no messages",
    Market 4 oversized_messages "messages of 1 MiB",
    Market 8 silent_calls "calls that never send their message",
    Market 4 cancellations "bursts of 250 calls that are cancelled at once",
    Market 8 flood_who_am_i "WhoAmI",
    Market 8 flood_issue_token "IssueToken",
    Market 8 flood_register_buyer "RegisterBuyer",
    Market 8 flood_get_item "GetItem",
    Market 8 flood_search_item "SearchItem",
    Market 8 flood_list_categories "ListCategories",
    Market 8 flood_buy_item "BuyItem",
    Market 8 flood_place_order "PlaceOrder of 20 lines",
    Market 8 flood_list_orders "ListOrders",
    Market 8 flood_add_to_wishlist "AddToWishlist",
    Market 8 flood_rate_item "RateItem",
    Market 8 flood_sell_item "SellItem",
    Market 8 flood_update_item "UpdateItem",
    Market 8 flood_display_seller_items "DisplaySellerItems",
    Market 8 flood_list_sales "ListSales",
    Market 8 flood_summarize_sales "SummarizeSales",
    Market 8 flood_test_event "TestEvent",
    Market 8 flood_mailbox_status "MailboxStatus",
    Market 8 flood_health "health checks",
);

/// Sends calls with these headers as fast as they are answered.
async fn flood_with(attacker: Attacker, headers: Repeated, request: &[u8]) -> anyhow::Result<()> {
    Ok(attacker.link(Who::Buyer).await?.calls(AT_ONCE, &headers, |_| request.to_vec()).await?)
}

async fn unknown_paths(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers_with(&format!("/{}", "x".repeat(3_700)), &[]);
    flood_with(attacker, headers, &[]).await
}

async fn without_token(attacker: Attacker) -> anyhow::Result<()> {
    let metadata = [("x-party-id", attacker.passes.buyer.id.as_str())];
    let headers = attacker.headers_with("/shopping.v1.SessionService/WhoAmI", &metadata);
    flood_with(attacker, headers, &[]).await
}

async fn bad_tokens(attacker: Attacker) -> anyhow::Result<()> {
    let buyer = &attacker.passes.buyer;
    // The signature is the last part; this one has the right length.
    let (claims, signature) = buyer.token.rsplit_once('.').unwrap_or_default();
    let bearer = format!("Bearer {claims}.{}", "A".repeat(signature.len()));
    let metadata = [("x-party-id", buyer.id.as_str()), ("authorization", bearer.as_str())];
    let headers = attacker.headers_with("/shopping.v1.SessionService/WhoAmI", &metadata);
    flood_with(attacker, headers, &[]).await
}

async fn garbage_protobuf(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "SellerService/SellItem", |stream| {
        (0..200_u32).map(|at| (stream ^ at).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    })
    .await
}

async fn oversized_messages(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Seller, "SellerService/SellItem");
    let mut link = attacker.link(Who::Seller).await?;
    let large = message(&vec![0; 1 << 20]);
    loop {
        let stream = link.begin(&headers).await?;
        // Refused as soon as its length is known; the rest of the window is sent all the same.
        link.data(stream, &large[..48 * 1024]).await?;
        link.answered().await?;
    }
}

async fn silent_calls(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Buyer, "SessionService/WhoAmI");
    let mut link = attacker.link(Who::Buyer).await?;
    for _ in 0..256 {
        link.begin(&headers).await?;
    }
    loop {
        link.answered().await?;
        link.begin(&headers).await?;
    }
}

async fn cancellations(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers(Who::Buyer, "CatalogService/SearchItem");
    let request = v1::SearchItemRequest { query: "lamp".into(), ..Default::default() }.encode_to_vec();
    Ok(attacker.link(Who::Buyer).await?.cancelled_calls(&headers, &request).await?)
}

/// Returns a request id that is used once.
fn request_id() -> String {
    souk_certs::random::uuid_v4().to_string()
}

async fn flood_who_am_i(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Buyer, "SessionService/WhoAmI", |_| Vec::new()).await
}

async fn flood_issue_token(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Buyer, "AccountService/IssueToken", |_| Vec::new()).await
}

async fn flood_register_buyer(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Buyer, "AccountService/RegisterBuyer", |stream| {
        let display_name = format!("mallet {stream}");
        v1::RegisterBuyerRequest { request_id: request_id(), display_name, ..Default::default() }
            .encode_to_vec()
    })
    .await
}

async fn flood_get_item(attacker: Attacker) -> anyhow::Result<()> {
    let request = v1::GetItemRequest { item_id: attacker.passes.item }.encode_to_vec();
    flood(attacker, Who::Buyer, "CatalogService/GetItem", |_| request.clone()).await
}

async fn flood_search_item(attacker: Attacker) -> anyhow::Result<()> {
    let request = v1::SearchItemRequest { query: "lamp".into(), page_size: 100, ..Default::default() };
    let request = request.encode_to_vec();
    flood(attacker, Who::Buyer, "CatalogService/SearchItem", |_| request.clone()).await
}

async fn flood_list_categories(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Buyer, "CatalogService/ListCategories", |_| Vec::new()).await
}

async fn flood_buy_item(attacker: Attacker) -> anyhow::Result<()> {
    let item_id = attacker.passes.own_item;
    flood(attacker, Who::Buyer, "BuyerService/BuyItem", |_| {
        v1::BuyItemRequest { request_id: request_id(), item_id, quantity: 1, ..Default::default() }
            .encode_to_vec()
    })
    .await
}

async fn flood_place_order(attacker: Attacker) -> anyhow::Result<()> {
    let item = attacker.passes.own_item;
    flood(attacker, Who::Buyer, "BuyerService/PlaceOrder", |_| {
        let line = |item_id| v1::OrderLine { item_id, quantity: 1, expected_unit_price: None };
        let lines = (item..item + 20).map(line).collect();
        v1::PlaceOrderRequest { request_id: request_id(), lines, ..Default::default() }.encode_to_vec()
    })
    .await
}

async fn flood_list_orders(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Buyer, "BuyerService/ListOrders", |_| Vec::new()).await
}

async fn flood_add_to_wishlist(attacker: Attacker) -> anyhow::Result<()> {
    let item = attacker.passes.own_item;
    flood(attacker, Who::Buyer, "BuyerService/AddToWishlist", |stream| {
        let item_id = item + i64::from(stream / 2 % 20);
        v1::AddToWishlistRequest { request_id: request_id(), item_id, ..Default::default() }.encode_to_vec()
    })
    .await
}

async fn flood_rate_item(attacker: Attacker) -> anyhow::Result<()> {
    let item_id = attacker.passes.own_item;
    flood(attacker, Who::Buyer, "BuyerService/RateItem", |stream| {
        let stars = i32::try_from(1 + stream / 2 % 5).unwrap_or(1);
        let request_id = request_id();
        v1::RateItemRequest { request_id, item_id, stars, update_existing: true, ..Default::default() }
            .encode_to_vec()
    })
    .await
}

async fn flood_sell_item(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "SellerService/SellItem", |stream| {
        let item = Some(souk_testkit::actor::draft(&format!("Trinket {stream}"), "home", 100, 1));
        v1::SellItemRequest { request_id: request_id(), item, ..Default::default() }.encode_to_vec()
    })
    .await
}

async fn flood_update_item(attacker: Attacker) -> anyhow::Result<()> {
    let item_id = attacker.passes.own_item;
    flood(attacker, Who::Seller, "SellerService/UpdateItem", |stream| {
        let unit_price = souk_testkit::actor::pounds(i64::from(stream));
        let item = Some(v1::ItemDraft { unit_price, ..Default::default() });
        v1::UpdateItemRequest { request_id: request_id(), item_id, item, ..Default::default() }
            .encode_to_vec()
    })
    .await
}

async fn flood_display_seller_items(attacker: Attacker) -> anyhow::Result<()> {
    let request = v1::DisplaySellerItemsRequest { page_size: 1_000, ..Default::default() }.encode_to_vec();
    flood(attacker, Who::Seller, "SellerService/DisplaySellerItems", |_| request.clone()).await
}

async fn flood_list_sales(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "SellerService/ListSales", |_| Vec::new()).await
}

async fn flood_summarize_sales(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "SellerService/SummarizeSales", |_| Vec::new()).await
}

async fn flood_test_event(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "EventService/TestEvent", |_| {
        v1::TestEventRequest { request_id: request_id(), text: "noise".into(), ..Default::default() }
            .encode_to_vec()
    })
    .await
}

async fn flood_mailbox_status(attacker: Attacker) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "EventService/MailboxStatus", |_| Vec::new()).await
}

async fn flood_health(attacker: Attacker) -> anyhow::Result<()> {
    let headers = attacker.headers_with("/grpc.health.v1.Health/Check", &[]);
    flood_with(attacker, headers, &[]).await
}
