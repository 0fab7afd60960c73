//! Suspension: the account is locked out at once, whatever it holds, and its items are off the market.

use prost::Message;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_testkit::actor::{Actor, draft, refused};
use tonic::Code;

use crate::{
    fixture::{Fixture, PATIENCE, attacks, reason},
    raw::{Pass, methods},
};

attacks!(
    suspended_on_every_call_with_a_live_token,
    suspended_account_gets_no_new_token,
    suspended_accounts_stream_ends,
    suspended_sellers_items_are_gone,
    token_of_an_older_epoch_after_reinstatement,
    stream_opened_at_the_moment_of_suspension,
    suspension_whose_operator_goes_away,
);

struct Mallory {
    olga: Actor,
    actor: Actor,
}

impl Mallory {
    async fn enter(fixture: &Fixture) -> Self {
        let olga = Actor::enter(&fixture.market, Role::Operator, "Olga").await.unwrap();
        let actor = Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
        actor.register(None).await.unwrap();
        Self { olga, actor }
    }

    async fn suspend(&self) {
        let request = v1::SuspendRequest {
            party_id: self.actor.id(),
            reason: "sells what is not theirs".into(),
            ..Default::default()
        };
        let answer = self.olga.connection.call(request).await.unwrap();
        assert!(answer.party.unwrap().suspension.is_some());
    }

    async fn reinstate(&self) {
        let request = v1::ReinstateRequest { party_id: self.actor.id(), ..Default::default() };
        self.olga.connection.call(request).await.unwrap();
    }
}

async fn suspended_on_every_call_with_a_live_token(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    let pass = Pass::of(fixture, &mallory.actor).await;
    let path = "/shopping.v1.SessionService/WhoAmI";
    pass.call(path, Vec::new()).await.expect("the token is good");
    mallory.suspend().await;
    // The next call is refused immediately.
    for service in ["SessionService", "CatalogService", "SellerService", "EventService", "AccountService"] {
        for path in methods(service) {
            assert_eq!(reason(pass.call(&path, Vec::new()).await), Reason::AccountSuspended, "{path}");
        }
    }
}

async fn suspended_account_gets_no_new_token(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    mallory.suspend().await;
    let fresh = Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
    let issued = fresh.connection.call(v1::IssueTokenRequest {}).await;
    refused(issued, Reason::AccountSuspended).unwrap();
    refused(fresh.register(None).await, Reason::AccountSuspended).unwrap();
    // A new certificate of the same party does not help.
    fixture.market.change_pki(|pki| pki.renew("mallory", false, souk_certs::clock::now()).unwrap());
    let renewed = Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
    refused(renewed.register(None).await, Reason::AccountSuspended).unwrap();
}

async fn suspended_accounts_stream_ends(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    let mut stream = mallory.actor.follow();
    // The test event proves that the stream is open.
    mallory.actor.connection.call(v1::TestEventRequest::default()).await.unwrap();
    stream.next().await.unwrap();
    mallory.suspend().await;
    assert!(stream.next().await.is_err(), "the stream ends");
    stream.close().await;
}

async fn suspended_sellers_items_are_gone(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    let goods = mallory.actor.sell(draft("Lamp of doubtful origin", "home/light", 100, 5)).await.unwrap();
    mallory.suspend().await;
    let found = fixture.bob.search(v1::SearchItemRequest { query: "lamp".into(), ..Default::default() });
    let found: Vec<_> = found.await.unwrap().items.iter().map(|item| item.item_id).collect();
    assert_eq!(found, [fixture.lamp.item_id], "only alice's is found");
    refused(fixture.bob.item(goods.item_id).await, Reason::ItemNotFound).unwrap();
    refused(fixture.bob.buy(goods.item_id, 1).await, Reason::ItemNotFound).unwrap();
    refused(fixture.bob.wish(goods.item_id).await, Reason::ItemNotFound).unwrap();
    mallory.reinstate().await;
    assert_eq!(fixture.bob.item(goods.item_id).await.unwrap().quantity, 5);
}

async fn token_of_an_older_epoch_after_reinstatement(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    let pass = Pass::of(fixture, &mallory.actor).await;
    mallory.suspend().await;
    mallory.reinstate().await;
    let request = v1::SellItemRequest {
        request_id: souk_certs::random::uuid_v4().to_string(),
        item: Some(draft("Contraband", "home", 1, 1)),
        ..Default::default()
    };
    let sold = pass.call("/shopping.v1.SellerService/SellItem", request.encode_to_vec()).await;
    let status = sold.expect_err("the old token is void");
    assert_eq!((status.code(), Reason::of(&status)), (Code::Unauthenticated, Some(Reason::TokenInvalid)));
    // With a new token the party can use its account again.
    Pass::of(fixture, &mallory.actor)
        .await
        .call("/shopping.v1.SessionService/WhoAmI", Vec::new())
        .await
        .unwrap();
}

/// However the two race, no stream is open afterwards.
async fn stream_opened_at_the_moment_of_suspension(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    for _ in 0..30 {
        let opening = async {
            let mut open = Vec::new();
            for _ in 0..3 {
                let mut events = mallory.actor.connection.events();
                if let Ok(stream) = events.subscribe(v1::SubscribeRequest::default()).await {
                    open.push(stream.into_inner());
                }
            }
            open
        };
        let (open, ()) = tokio::join!(opening, mallory.suspend());
        for mut stream in open {
            let ended = async { while let Ok(Some(_)) = stream.message().await {} };
            tokio::time::timeout(PATIENCE, ended).await.expect("no stream stays open");
        }
        mallory.reinstate().await;
    }
}

/// The ledger and the guard agree, whenever the operator's call is aborted.
async fn suspension_whose_operator_goes_away(fixture: &Fixture) {
    let mallory = Mallory::enter(fixture).await;
    for patience in 0..40_u64 {
        let hasty = tokio::time::timeout(std::time::Duration::from_micros(patience * 150), mallory.suspend());
        // The outcome is unknown here; it is read next.
        let _ = hasty.await;
        let request = v1::ListPartiesRequest { suspended_only: true, ..Default::default() };
        let agree = async {
            loop {
                let listed = mallory.olga.connection.call(request.clone()).await.unwrap().parties;
                let is_in = mallory.actor.connection.call(v1::IssueTokenRequest {}).await.is_ok();
                let again = mallory.olga.connection.call(request.clone()).await.unwrap().parties;
                // Compare only if nothing has changed in between, or the three could disagree for that
                // reason.
                if listed == again && listed.is_empty() == is_in {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, agree).await.expect("store and guard agree");
        mallory.reinstate().await;
    }
}
