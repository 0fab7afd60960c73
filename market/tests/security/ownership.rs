//! Authorization: roles by service, and access to what belongs to other parties.

use prost::Message;
use souk_certs::{credentials::CredentialFiles, identity::Role};
use souk_proto::{Reason, metadata::PARTY_ID, v1};
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use crate::{
    fixture::{Fixture, attacks, reason},
    raw::{Pass, call, methods},
};

attacks!(
    buyer_on_every_seller_call,
    seller_on_every_buyer_call,
    parties_on_every_admin_call,
    operator_on_every_trade_call,
    market_certificate_on_every_call,
    buyer_registers_as_a_seller,
    anothers_item_is_like_none_to_change,
    anothers_item_is_like_none_to_delete,
    anothers_item_is_like_none_to_undelete,
    anothers_order_is_like_none_to_look_at,
    anothers_sale_is_like_none_to_look_at,
    anothers_order_is_like_none_to_cancel,
    anothers_mailbox_can_not_be_acknowledged,
    anothers_request_id_reveals_nothing,
    identity_in_a_request_body_is_ignored,
);

/// An id that was not assigned yet, with as many digits as those that were.
const NOBODYS: i64 = 9;

async fn denied(pass: &Pass, services: &[&str]) {
    for path in services.iter().flat_map(|service| methods(service)) {
        assert_eq!(reason(pass.call(&path, Vec::new()).await), Reason::RoleDenied, "{path}");
    }
}

async fn buyer_on_every_seller_call(fixture: &Fixture) {
    denied(&Pass::of(fixture, &fixture.bob).await, &["SellerService"]).await;
}

async fn seller_on_every_buyer_call(fixture: &Fixture) {
    denied(&Pass::of(fixture, &fixture.alice).await, &["BuyerService"]).await;
}

async fn parties_on_every_admin_call(fixture: &Fixture) {
    for actor in [&fixture.alice, &fixture.bob] {
        denied(&Pass::of(fixture, actor).await, &["AdminService"]).await;
    }
}

const TRADE: [&str; 6] =
    ["AccountService", "SessionService", "CatalogService", "SellerService", "BuyerService", "EventService"];

async fn outsider(channel: Channel, id: &str, services: &[&str]) {
    for path in services.iter().flat_map(|service| methods(service)) {
        let mut request = Request::new(Vec::new());
        request.metadata_mut().insert(PARTY_ID, id.parse().unwrap());
        let refused = call(channel.clone(), request, &path).await;
        assert_eq!(reason(refused), Reason::CertificateRequired, "{path}");
    }
}

async fn operator_on_every_trade_call(fixture: &Fixture) {
    let channel = fixture.market.channel(Role::Operator, "Olga").await.unwrap();
    let id = fixture.market.change_pki(|pki| pki.find("olga").unwrap().identity.uuid().unwrap().to_string());
    outsider(channel, &id, &TRADE).await;
}

async fn market_certificate_on_every_call(fixture: &Fixture) {
    let market = CredentialFiles::beside(fixture.market.path().join("pki/market.pem"));
    let channel = fixture.market.channel_with(&market).unwrap();
    outsider(channel.clone(), &Uuid::nil().to_string(), &TRADE).await;
    outsider(channel, &fixture.alice.id(), &["AdminService"]).await;
}

async fn buyer_registers_as_a_seller(fixture: &Fixture) {
    let request = v1::RegisterSellerRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        display_name: "Bob".into(),
        ..Default::default()
    };
    let path = "/shopping.v1.AccountService/RegisterSeller";
    let refused = Pass::of(fixture, &fixture.bob).await.call(path, request.encode_to_vec()).await;
    assert_eq!(reason(refused), Reason::RoleDenied);
}

/// Encodes the whole answer as bytes.
fn answer(status: &Status) -> Vec<u8> {
    [format!("{:?} {} ", status.code(), status.message()).as_bytes(), status.details()].concat()
}

/// Checks that another party's object is indistinguishable from a missing one: both answers are equal to the
/// byte, except for the requested id.
async fn like_none<M: Message>(pass: &Pass, path: &str, anothers: i64, message: impl Fn(i64) -> M) {
    let mut answers = Vec::new();
    for id in [anothers, NOBODYS] {
        let refused = pass.call(path, message(id).encode_to_vec()).await.expect_err("it is refused");
        assert_eq!(refused.code(), Code::NotFound);
        answers.push(answer(&refused));
    }
    assert_eq!(answers[0].len(), answers[1].len());
    let digit = |id: i64| id.to_string().into_bytes();
    for pair in answers[0].iter().zip(&answers[1]).filter(|(one, other)| one != other) {
        assert_eq!((vec![*pair.0], vec![*pair.1]), (digit(anothers), digit(NOBODYS)));
    }
}

async fn other_seller(fixture: &Fixture) -> Pass {
    let eve = souk_testkit::actor::Actor::enter(&fixture.market, Role::Seller, "Eve").await.unwrap();
    eve.register(None).await.unwrap();
    Pass::of(fixture, &eve).await
}

async fn other_buyer(fixture: &Fixture) -> Pass {
    let eve = souk_testkit::actor::Actor::enter(&fixture.market, Role::Buyer, "Eve").await.unwrap();
    eve.register(None).await.unwrap();
    Pass::of(fixture, &eve).await
}

async fn anothers_item_is_like_none_to_change(fixture: &Fixture) {
    let update = |item_id| v1::UpdateItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item_id,
        item: Some(v1::ItemDraft { name: Some("Mine now".into()), ..Default::default() }),
        ..Default::default()
    };
    let path = "/shopping.v1.SellerService/UpdateItem";
    like_none(&other_seller(fixture).await, path, fixture.lamp.item_id, update).await;
}

async fn anothers_item_is_like_none_to_delete(fixture: &Fixture) {
    let delete = |item_id| v1::DeleteItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item_id,
        ..Default::default()
    };
    let path = "/shopping.v1.SellerService/DeleteItem";
    like_none(&other_seller(fixture).await, path, fixture.lamp.item_id, delete).await;
}

async fn anothers_item_is_like_none_to_undelete(fixture: &Fixture) {
    let undelete = |item_id| v1::UndeleteItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item_id,
        quantity: 1,
        ..Default::default()
    };
    let path = "/shopping.v1.SellerService/UndeleteItem";
    like_none(&other_seller(fixture).await, path, fixture.lamp.item_id, undelete).await;
}

/// Places an order between other parties. The seller is not alice, whose mailbox must stay empty.
async fn anothers_order(fixture: &Fixture) -> i64 {
    let enter = |role, name| souk_testkit::actor::Actor::enter(&fixture.market, role, name);
    let sam = enter(Role::Seller, "Sam").await.unwrap();
    sam.register(None).await.unwrap();
    let carol = enter(Role::Buyer, "Carol").await.unwrap();
    carol.register(None).await.unwrap();
    let vase = sam.sell(souk_testkit::actor::draft("Vase", "home", 900, 2)).await.unwrap();
    carol.buy(vase.item_id, 1).await.unwrap().order_id
}

async fn anothers_order_is_like_none_to_look_at(fixture: &Fixture) {
    let order = anothers_order(fixture).await;
    let path = "/shopping.v1.BuyerService/GetOrder";
    like_none(&other_buyer(fixture).await, path, order, |order_id| v1::GetOrderRequest { order_id }).await;
}

async fn anothers_sale_is_like_none_to_look_at(fixture: &Fixture) {
    let order = anothers_order(fixture).await;
    let path = "/shopping.v1.SellerService/GetSale";
    like_none(&other_seller(fixture).await, path, order, |order_id| v1::GetSaleRequest { order_id }).await;
}

async fn anothers_order_is_like_none_to_cancel(fixture: &Fixture) {
    let order = anothers_order(fixture).await;
    let cancel = |order_id| v1::CancelOrderRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        order_id,
        ..Default::default()
    };
    like_none(&other_buyer(fixture).await, "/shopping.v1.BuyerService/CancelOrder", order, cancel).await;
}

async fn anothers_mailbox_can_not_be_acknowledged(fixture: &Fixture) {
    let enter = |role, name| souk_testkit::actor::Actor::enter(&fixture.market, role, name);
    let sam = enter(Role::Seller, "Sam").await.unwrap();
    sam.register(None).await.unwrap();
    let carol = enter(Role::Buyer, "Carol").await.unwrap();
    carol.register(None).await.unwrap();
    let vase = sam.sell(souk_testkit::actor::draft("Vase", "home", 900, 2)).await.unwrap();
    carol.buy(vase.item_id, 1).await.unwrap();
    assert_eq!(sam.mailbox().await.unwrap().pending_count, 1);
    let eve = other_seller(fixture).await;
    // Whatever the market answers to eve, the event in sam's mailbox must stay.
    let all = v1::AcknowledgeRequest { sequence: i64::MAX, ..Default::default() };
    let _ = eve.call("/shopping.v1.EventService/Acknowledge", all.encode_to_vec()).await;
    assert_eq!(sam.mailbox().await.unwrap().pending_count, 1);
}

async fn anothers_request_id_reveals_nothing(fixture: &Fixture) {
    let enter = |role, name| souk_testkit::actor::Actor::enter(&fixture.market, role, name);
    let sam = enter(Role::Seller, "Sam").await.unwrap();
    sam.register(None).await.unwrap();
    let vase = sam.sell(souk_testkit::actor::draft("Vase", "home", 900, 2)).await.unwrap();
    let carol = enter(Role::Buyer, "Carol").await.unwrap();
    carol.register(None).await.unwrap();
    let request = v1::BuyItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item_id: vase.item_id,
        quantity: 1,
        ..Default::default()
    };
    let hers = carol.buy_by(request.clone()).await.unwrap();
    // The same request by another party is her own purchase, not a replay of carol's.
    let eve = other_buyer(fixture).await;
    let answer = eve.call("/shopping.v1.BuyerService/BuyItem", request.encode_to_vec()).await.unwrap();
    let own = v1::BuyItemResponse::decode(&*answer).unwrap().order.unwrap();
    assert_ne!(own.order_id, hers.order_id);
}

async fn identity_in_a_request_body_is_ignored(fixture: &Fixture) {
    // Field 100 does not exist in the contract; a careless server might read it as "acting for".
    let mut body = v1::SellItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item: Some(souk_testkit::actor::draft("Planted", "home", 1, 1)),
        ..Default::default()
    }
    .encode_to_vec();
    let alice = fixture.alice.id();
    body.extend([0xa2, 0x06, u8::try_from(alice.len()).unwrap()]);
    body.extend(alice.as_bytes());
    let eve = other_seller(fixture).await;
    let answer = eve.call("/shopping.v1.SellerService/SellItem", body).await.unwrap();
    let item = v1::SellItemResponse::decode(&*answer).unwrap().item.unwrap();
    assert_ne!(item.seller_id, alice);
}
