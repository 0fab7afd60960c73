//! Stored outcomes and deliveries show an order as it was when it was placed, whatever happened to it later.

use std::time::Duration;

use souk_domain::{
    Action, Callback, CancelReason, Command, DisplayName, ItemId, ItemName, ItemPatch, Outcome, RequestId,
    Role, action,
};
use souk_store::Delivery;
use uuid::Uuid;

use super::{ALICE, BOB, CAROL, DAVE, HOUR, Shop, buy, line, on_every_back_end, rate};

on_every_back_end!(
    replayed_purchase_has_its_first_outcome,
    notice_of_a_purchase_stays_as_it_was,
    archive_leaves_what_requests_and_notices_refer_to,
    redelivered_notice_outlives_its_order,
    requests_expire_in_the_order_of_their_time,
    receipt_says_whether_a_recipient_has_a_callback,
    purchases_are_counted_whenever_they_were_made,
);

impl Shop {
    /// Carries out a command, which must be accepted.
    async fn done(&mut self, command: &Command) -> Outcome {
        self.batch(std::slice::from_ref(command)).await.0.remove(0).unwrap()
    }

    async fn rename(&mut self, number: u128, role: Role, name: &str) {
        let display_name = DisplayName::parse(name).unwrap();
        let callback = None::<Callback>;
        self.act(number, Action::Register(action::Register { role, display_name, callback })).await.unwrap();
    }

    /// Changes everything about an order's parties and item, and cancels the order.
    async fn change_all(&mut self, item: ItemId, order: souk_domain::OrderId) {
        self.rename(ALICE, Role::Seller, "Another Alice").await;
        self.rename(BOB, Role::Buyer, "Another Bob").await;
        let name = Some(ItemName::parse("Another Lamp").unwrap());
        let patch = ItemPatch { name, ..ItemPatch::default() };
        self.act(ALICE, Action::Update(action::Update { item, patch, expected_version: None }))
            .await
            .unwrap();
        let reason = CancelReason::parse("broken").unwrap();
        self.act(ALICE, Action::CancelSale(action::CancelSale { order, reason })).await.unwrap();
    }

    async fn ship(&mut self, order: souk_domain::OrderId) {
        self.act(ALICE, Action::Ship(action::Ship { order })).await.unwrap();
        self.act(ALICE, Action::Deliver(action::Deliver { order })).await.unwrap();
    }
}

fn placed(outcome: &Outcome) -> Vec<souk_domain::OrderId> {
    match outcome {
        Outcome::Order(order) => vec![order.id],
        Outcome::Orders(orders) => orders.iter().map(|order| order.id).collect(),
        other => panic!("{other:?}"),
    }
}

async fn replayed_purchase_has_its_first_outcome(mut shop: Shop) {
    let (lamp, vase) = (shop.lamp(ALICE, 20).await, shop.listed(ALICE, "Vase", 9).await.id);
    let one = shop.command(BOB, buy(lamp, 2));
    let more = shop.command(BOB, Action::Place(action::Place(vec![line(vase, 1), line(lamp, 3)])));
    let alone = shop.command(BOB, Action::Place(action::Place(vec![line(vase, 1)])));
    let mut first = Vec::new();
    for command in [&one, &more, &alone] {
        first.push(shop.done(command).await);
    }
    shop.ship(placed(&first[1])[0]).await;
    shop.change_all(lamp, placed(&first[0])[0]).await;
    // The outcomes of later steps are their own.
    let step = Action::Ship(action::Ship { order: placed(&first[2])[0] });
    let step = shop.command(ALICE, step);
    let shipped = shop.done(&step).await;
    shop.ship(placed(&first[1])[1]).await;
    if shop.folder.is_some() {
        shop = shop.reopen().await;
    }
    for (command, first) in [&one, &more, &alone, &step].into_iter().zip(first.iter().chain([&shipped])) {
        assert_eq!(shop.done(command).await, *first);
        let (party, id) = command.key();
        assert_eq!(shop.store.reads.request(party, id).await.unwrap().unwrap().outcome, *first);
    }
    shop.holds().await;
}

async fn notice_of_a_purchase_stays_as_it_was(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 20).await;
    let order = shop.bought(BOB, lamp, 2).await;
    let other = shop.bought(DAVE, lamp, 1).await;
    let told: Vec<Delivery> = shop.waiting(ALICE).await;
    assert_eq!(told.len(), 2);
    shop.ship(other).await;
    shop.change_all(lamp, order).await;
    if shop.folder.is_some() {
        shop = shop.reopen().await;
    }
    assert_eq!(shop.waiting(ALICE).await, told, "the seller's own changes are no news to it");
    shop.holds().await;
}

/// Times by the wall clock say nothing about the steady ones by which requests and notices expire.
async fn archive_leaves_what_requests_and_notices_refer_to(mut shop: Shop) {
    shop.now = shop.now.plus(HOUR * 100);
    shop.wall_behind = HOUR * 10;
    let lamp = shop.lamp(ALICE, 20).await;
    let command = shop.command(BOB, buy(lamp, 1));
    let first = shop.done(&command).await;
    let told = shop.waiting(ALICE).await;
    shop.ship(placed(&first)[0]).await;
    let due = shop.due_ids().await;
    shop.prune(&due).await;
    assert_eq!(shop.done(&command).await, first);
    assert_eq!(shop.waiting(ALICE).await, told);
    shop.holds().await;
    // The notice keeps it, without the request.
    shop.forget().await;
    let due = shop.due_ids().await;
    shop.prune(&due).await;
    assert_eq!(shop.waiting(ALICE).await, told);
    shop.holds().await;
}

/// The batch loads the order for another command, and yet must not refer to it: it is far older than all that notices refer
/// to, and is archived.
async fn redelivered_notice_outlives_its_order(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 20).await;
    let old = shop.delivered(BOB, lamp, 1).await;
    let notice = shop.waiting(ALICE).await.remove(0);
    shop.expire_all().await;
    let mut letters = shop.letters().await;
    letters.retain(|letter| letter.event == notice.event);
    shop.bought(DAVE, lamp, 1).await;
    shop.now = shop.now.plus(HOUR);
    let redeliver = shop.command(99, Action::Redeliver(action::Redeliver { letters }));
    let refused = shop.command(ALICE, Action::Ship(action::Ship { order: old }));
    let outcomes = shop.batch(&[redeliver, refused]).await.0;
    assert!(outcomes[0] == Ok(Outcome::Redelivered(1)) && outcomes[1].is_err(), "{outcomes:?}");
    shop.forget().await;
    assert_eq!(shop.due_ids().await, [old]);
    assert_eq!(shop.prune(&[old]).await, 1);
    let waiting = shop.waiting(ALICE).await;
    assert_eq!((waiting.len(), &waiting[1].event), (2, &notice.event));
    shop.holds().await;
}

async fn requests_expire_in_the_order_of_their_time(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 50).await;
    shop.forget().await;
    let mut ahead = shop.command(BOB, buy(lamp, 1));
    // By its id, it is of the far future.
    ahead.request.id = RequestId(Uuid::max());
    shop.done(&ahead).await;
    let between = shop.now.plus(Duration::from_micros(1));
    shop.now = shop.now.plus(HOUR);
    let later: Vec<_> = (0..3).map(|_| shop.command(DAVE, buy(lamp, 1))).collect();
    shop.batch(&later).await;
    let mailboxes = shop.store.mailboxes.clone();
    assert_eq!(mailboxes.forget_requests(between, 10).await.unwrap(), 1);
    let (bob, id) = ahead.key();
    assert!(shop.store.reads.request(bob, id).await.unwrap().is_none());
    for command in &later {
        let (dave, id) = command.key();
        assert!(shop.store.reads.request(dave, id).await.unwrap().is_some());
    }
    // A part of a batch.
    let after = shop.now.plus(HOUR);
    assert_eq!(mailboxes.forget_requests(after, 2).await.unwrap(), 2);
    shop.holds().await;
    assert_eq!(mailboxes.forget_requests(after, 2).await.unwrap(), 1);
    assert_eq!(mailboxes.forget_requests(after, 2).await.unwrap(), 0);
    shop.holds().await;
}

async fn receipt_says_whether_a_recipient_has_a_callback(mut shop: Shop) {
    let (lamp, vase) = (shop.lamp(ALICE, 50).await, shop.lamp(CAROL, 50).await);
    let buys = async |shop: &mut Shop, items: &[ItemId]| {
        let commands: Vec<_> = items.iter().map(|item| shop.command(BOB, buy(*item, 1))).collect();
        shop.batch(&commands).await.1.unwrap().has_callback
    };
    assert!(!buys(&mut shop, &[lamp, vase]).await);
    shop.with_callback(CAROL, Role::Seller).await;
    assert!(!buys(&mut shop, &[lamp]).await);
    assert!(buys(&mut shop, &[lamp, vase]).await);
    shop.rename(CAROL, Role::Seller, "Carol").await;
    assert!(!buys(&mut shop, &[vase]).await, "the callback is gone");
    let register = shop.command(
        CAROL,
        Action::Register(action::Register {
            role: Role::Seller,
            display_name: DisplayName::parse("Carol").unwrap(),
            callback: Some(Callback { host: "192.0.2.7".into(), port: 7444 }),
        }),
    );
    let bought = shop.command(BOB, buy(vase, 1));
    assert!(shop.batch(&[register, bought]).await.1.unwrap().has_callback, "since the same batch");
}

/// Whether the counts include an order or not is random, and makes no difference.
async fn purchases_are_counted_whenever_they_were_made(mut shop: Shop) {
    let (lamp, vase) = (shop.lamp(ALICE, 10_000).await, shop.listed(ALICE, "Vase", 10_000).await.id);
    let mut orders = Vec::new();
    for _ in 0..10 {
        let bought: Vec<_> = (0..50).map(|turn| shop.command(BOB, buy([lamp, vase][turn % 2], 1))).collect();
        let outcomes = shop.batch(&bought).await.0;
        orders.extend(outcomes.into_iter().flat_map(|outcome| placed(&outcome.unwrap())));
        let last = *orders.last().unwrap();
        shop.act(BOB, Action::Cancel(action::Cancel { order: last })).await.unwrap();
        orders.pop();
    }
    for item in [lamp, vase] {
        shop.act(BOB, rate(item, 4)).await.unwrap();
    }
    shop.holds().await;
    let rated = async |shop: &Shop, item| shop.store.reads.item(item).await.unwrap().unwrap().rating.count;
    // The last of the lamp's takes its rating with it, not one before.
    let (lamps, vases): (Vec<_>, Vec<_>) = orders.iter().enumerate().partition(|(place, _)| {
        // 49 of each batch are left, which begin with a lamp.
        (place % 49) % 2 == 0
    });
    assert_eq!((lamps.len(), vases.len()), (250, 240));
    for (_, order) in lamps {
        assert_eq!(rated(&shop, lamp).await, 1);
        shop.act(BOB, Action::Cancel(action::Cancel { order: *order })).await.unwrap();
    }
    assert_eq!((rated(&shop, lamp).await, rated(&shop, vase).await), (0, 1));
    shop.holds().await;
}
