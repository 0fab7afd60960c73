//! The write path and the queries, on every back end.

use std::time::Duration;

use souk_domain::{
    Action, CancelReason, ItemId, OrderId, OrderStatus, Outcome, Refusal, Stars, TimeRange, action,
};
use souk_store::{FeedPosition, ItemQuery, OrderQuery, OrdersOf};

use super::{
    ALICE, BOB, CAROL, DAVE, Shop, buy, import, line, on_every_back_end, party, reprice, sell, sell_as,
};

on_every_back_end!(
    batch_sees_its_own_changes_and_is_saved_as_a_whole,
    replay_returns_the_stored_outcome,
    batch_of_refusals_saves_nothing,
    rows_are_read_as_they_were_saved,
    numbers_grow_and_are_not_reused,
    feed_advances_with_changes_that_affect_search,
    pages_continue_by_keyset,
    orders_are_found_by_time_and_summed_up_by_day_and_item,
    renamed_seller_has_its_new_name_on_all_items,
    totals_add_up,
    sku_of_a_deleted_item_stays_with_its_new_owner,
);

async fn batch_sees_its_own_changes_and_is_saved_as_a_whole(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 3).await;
    let commands: Vec<_> = (0..5).map(|_| shop.command(BOB, buy(lamp, 1))).collect();
    let (outcomes, receipt) = shop.batch(&commands).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    assert!(matches!(outcomes[3], Err(Refusal::OutOfStock { available: 0, .. })));
    let recipients = receipt.unwrap().recipients;
    assert!(recipients.iter().all(|recipient| *recipient == party(ALICE)) && !recipients.is_empty());
    let item = shop.store.reads.item(lamp).await.unwrap().unwrap();
    assert_eq!((item.quantity, item.sold, item.version), (0, 3, 4));
    let query = OrderQuery { limit: 10, ..orders_of(OrdersOf::Buyer(party(BOB))) };
    assert_eq!(shop.store.reads.orders(&query).await.unwrap().len(), 3);
}

async fn replay_returns_the_stored_outcome(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    let command = shop.command(BOB, buy(lamp, 2));
    let (first, _) = shop.batch(std::slice::from_ref(&command)).await;
    let (again, receipt) = shop.batch(std::slice::from_ref(&command)).await;
    assert_eq!(first, again);
    assert_eq!(receipt, None, "nothing was saved");
    // The same request twice in one batch takes effect once, too.
    let twice = shop.command(BOB, buy(lamp, 1));
    let (outcomes, _) = shop.batch(&[twice.clone(), twice]).await;
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(shop.store.reads.item(lamp).await.unwrap().unwrap().quantity, 2);
}

async fn batch_of_refusals_saves_nothing(mut shop: Shop) {
    let before = shop.store.reads.totals().await.unwrap();
    let commands = [shop.command(BOB, buy(ItemId(77), 1)), shop.command(99, sell("Lamp", 1))];
    let (outcomes, receipt) = shop.batch(&commands).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(receipt, None);
    assert_eq!(shop.store.reads.totals().await.unwrap(), before);
}

async fn rows_are_read_as_they_were_saved(mut shop: Shop) {
    let listed = shop.listed(ALICE, "Lampe à huile \u{1f4a1}", 5).await;
    assert_eq!(shop.store.reads.item(listed.id).await.unwrap().unwrap(), listed);
    let Outcome::Order(order) = shop.act(BOB, buy(listed.id, 2)).await.unwrap() else { panic!("no order") };
    assert_eq!(shop.store.reads.order(order.id).await.unwrap().unwrap(), order);
    let Outcome::Order(cancelled) =
        shop.act(BOB, Action::Cancel(action::Cancel { order: order.id })).await.unwrap()
    else {
        panic!("no order")
    };
    assert_eq!(shop.store.reads.order(order.id).await.unwrap().unwrap(), cancelled);
    shop.act(BOB, buy(listed.id, 1)).await.unwrap();
    let rate = Action::Rate(action::Rate {
        item: listed.id,
        stars: Stars::parse(4).unwrap(),
        update_existing: false,
    });
    shop.act(BOB, rate.clone()).await.unwrap();
    assert!(matches!(shop.act(BOB, rate).await, Err(Refusal::AlreadyRated { .. })));
    let Outcome::Wished(wish, item) =
        shop.act(DAVE, Action::Wish(action::Wish { item: listed.id })).await.unwrap()
    else {
        panic!("no wish")
    };
    let wishes = shop.store.reads.wishlist(party(DAVE), None, 10).await.unwrap();
    assert_eq!(wishes, [(wish, item)]);
    assert_eq!(shop.store.reads.party(party(99)).await.unwrap(), None);
    assert_eq!(shop.store.reads.order(OrderId(99)).await.unwrap(), None);
}

async fn numbers_grow_and_are_not_reused(mut shop: Shop) {
    let first = shop.lamp(ALICE, 1).await;
    shop.act(ALICE, Action::Delete(action::Delete { item: first, expected_version: None })).await.unwrap();
    let second = shop.lamp(ALICE, 1).await;
    assert!(second > first);
    let Outcome::Order(one) = shop.act(BOB, buy(second, 1)).await.unwrap() else { panic!("no order") };
    let third = shop.lamp(ALICE, 1).await;
    let Outcome::Order(two) = shop.act(BOB, buy(third, 1)).await.unwrap() else { panic!("no order") };
    assert!(two.id > one.id);
}

async fn feed_advances_with_changes_that_affect_search(mut shop: Shop) {
    let (lamp, chair) = (shop.lamp(ALICE, 2).await, shop.lamp(ALICE, 2).await);
    let entries = shop.feed(FeedPosition(0), 2).await;
    let order: Vec<_> = entries.iter().map(|entry| entry.item.id).collect();
    assert_eq!(order, [lamp, chair]);
    let last = entries[1].position;
    // One of two units is bought, which does not affect search.
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    assert!(shop.feed(last, 0).await.is_empty());
    // The last unit is bought, which does.
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let moved = shop.feed(last, 1).await;
    assert_eq!(moved.len(), 1);
    assert!(moved[0].item.id == lamp && moved[0].position > last);
    shop.act(ALICE, Action::Delete(action::Delete { item: chair, expected_version: None })).await.unwrap();
    shop.feed(moved[0].position, 1).await;
    let all = shop.feed(FeedPosition(0), 2).await;
    let order: Vec<_> = all.iter().map(|entry| (entry.item.id, entry.item.is_listed())).collect();
    assert_eq!(order, [(lamp, true), (chair, false)], "each item stands once, at its latest change");
}

fn orders_of(of: OrdersOf) -> OrderQuery {
    OrderQuery { of, item: None, status: None, placed: TimeRange::ALL, before: None, limit: 9 }
}

async fn pages_continue_by_keyset(mut shop: Shop) {
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(shop.lamp(ALICE, 9).await);
        shop.lamp(CAROL, 9).await;
    }
    let reads = std::sync::Arc::clone(&shop.store.reads);
    let ids = |items: Vec<souk_domain::Item>| items.into_iter().map(|item| item.id).collect::<Vec<_>>();
    let first = ItemQuery { seller: party(ALICE), withdrawn: false, after: None, limit: 2 };
    let rest = ItemQuery { after: Some(own[1]), limit: 9, ..first };
    assert_eq!(ids(reads.seller_items(&first).await.unwrap()), own[..2]);
    assert_eq!(ids(reads.seller_items(&rest).await.unwrap()), own[2..]);
    let mut placed = Vec::new();
    for item in &own {
        let Outcome::Order(order) = shop.act(BOB, buy(*item, 1)).await.unwrap() else { panic!("no order") };
        placed.insert(0, order.id);
        shop.act(BOB, Action::Wish(action::Wish { item: *item })).await.unwrap();
    }
    shop.act(BOB, Action::Cancel(action::Cancel { order: placed[3] })).await.unwrap();
    let bobs = orders_of(OrdersOf::Buyer(party(BOB)));
    let query = OrderQuery { before: Some(placed[0]), limit: 2, ..bobs };
    let orders: Vec<_> = reads.orders(&query).await.unwrap().into_iter().map(|order| order.id).collect();
    assert_eq!(orders, placed[1..3]);
    let cancelled = OrderQuery { status: Some(OrderStatus::Cancelled), ..bobs };
    assert_eq!(reads.orders(&cancelled).await.unwrap().len(), 1);
    let sales = OrderQuery { item: Some(own[2]), ..orders_of(OrdersOf::Seller(party(ALICE))) };
    let sold: Vec<_> = reads.orders(&sales).await.unwrap().into_iter().map(|order| order.item).collect();
    assert_eq!(sold, [own[2]]);
    assert!(reads.orders(&orders_of(OrdersOf::Seller(party(CAROL)))).await.unwrap().is_empty());
    let wished = reads.wishlist(party(BOB), Some(own[1]), 9).await.unwrap();
    assert_eq!(wished.into_iter().map(|(wish, _)| wish.item).collect::<Vec<_>>(), own[2..]);
}

async fn orders_are_found_by_time_and_summed_up_by_day_and_item(mut shop: Shop) {
    let (lamp, chair) = (shop.lamp(ALICE, 100).await, shop.lamp(ALICE, 100).await);
    let others = shop.lamp(CAROL, 100).await;
    let day = Duration::from_secs(86_400);
    let first = shop.now;
    shop.act(BOB, Action::Place(action::Place(vec![line(lamp, 3), line(chair, 1), line(others, 5)])))
        .await
        .unwrap();
    shop.now = shop.now.plus(day);
    shop.act(BOB, buy(lamp, 2)).await.unwrap();
    let Outcome::Order(order) = shop.act(BOB, buy(lamp, 50)).await.unwrap() else { panic!("no order") };
    let reason = CancelReason::parse("a mistake").unwrap();
    let cancelled = shop
        .act(ALICE, Action::CancelSale(action::CancelSale { order: order.id, reason: reason.clone() }))
        .await
        .unwrap();
    let Outcome::Order(cancelled) = cancelled else { panic!("no order") };
    assert_eq!(shop.store.reads.order(order.id).await.unwrap(), Some(cancelled));

    let placed = TimeRange { from: first, until: first.plus(day) };
    let early = OrderQuery { placed, ..orders_of(OrdersOf::Buyer(party(BOB))) };
    assert_eq!(shop.store.reads.orders(&early).await.unwrap().len(), 3);
    let all = TimeRange { from: first, until: first.plus(day * 9) };
    let summary = shop.store.reads.sales_summary(party(ALICE), all, 9).await.unwrap();
    let days: Vec<_> = summary.days.iter().map(|day| (day.sales.orders, day.sales.units)).collect();
    assert_eq!(days, [(2, 4), (1, 2)]);
    assert_eq!(summary.days[1].day - summary.days[0].day, 1);
    let items: Vec<_> = summary.items.iter().map(|sold| (sold.item, sold.sales.units)).collect();
    assert_eq!(items, [(lamp, 5), (chair, 1)]);
    let price = shop.store.reads.item(lamp).await.unwrap().unwrap().unit_price;
    assert_eq!(summary.items[0].sales.revenue, price.times(5).unwrap());
    let best = shop.store.reads.sales_summary(party(ALICE), all, 1).await.unwrap();
    assert_eq!(best.items, summary.items[..1]);
}

async fn renamed_seller_has_its_new_name_on_all_items(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 1).await;
    let display_name = souk_domain::DisplayName::parse("Alice & Daughters").unwrap();
    let role = souk_domain::Role::Seller;
    shop.act(ALICE, Action::Register(action::Register { role, display_name, callback: None })).await.unwrap();
    let item = shop.store.reads.item(lamp).await.unwrap().unwrap();
    assert_eq!(item.seller_name.as_str(), "Alice & Daughters");
    let Outcome::Order(order) = shop.act(BOB, buy(lamp, 1)).await.unwrap() else { panic!("no order") };
    assert_eq!(order.seller_name.as_str(), "Alice & Daughters");
}

async fn totals_add_up(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 10).await;
    let Outcome::Order(order) = shop.act(BOB, buy(lamp, 4)).await.unwrap() else { panic!("no order") };
    shop.act(DAVE, buy(lamp, 1)).await.unwrap();
    shop.act(BOB, Action::Cancel(action::Cancel { order: order.id })).await.unwrap();
    shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    shop.act(ALICE, Action::Delete(action::Delete { item: lamp, expected_version: None })).await.unwrap();
    let totals = shop.store.reads.totals().await.unwrap();
    assert_eq!(totals.supplied, totals.sold + totals.remaining + totals.withdrawn);
    assert_eq!((totals.supplied, totals.sold, totals.ordered, totals.withdrawn), (10, 1, 1, 9));
    assert_eq!((totals.parties, totals.items, totals.orders), (4, 1, 2));
}

/// A deleted item changes once more when an old order of it is cancelled. Its SKU belongs to another item then.
async fn sku_of_a_deleted_item_stays_with_its_new_owner(mut shop: Shop) {
    let item = |outcome| match outcome {
        Ok(Outcome::Item(item)) => item.id,
        other => panic!("{other:?}"),
    };
    let old = item(shop.act(ALICE, sell_as(1, 5)).await);
    let Outcome::Order(order) = shop.act(BOB, buy(old, 1)).await.unwrap() else { panic!("no order") };
    let delete = shop.command(ALICE, Action::Delete(action::Delete { item: old, expected_version: None }));
    let relist = shop.command(ALICE, sell_as(1, 5));
    let (outcomes, _) = shop.batch(&[delete, relist]).await;
    let new = item(outcomes.into_iter().nth(1).unwrap());
    // In a batch of its own, and together with commands that name the SKU.
    let cancel = shop.command(BOB, Action::Cancel(action::Cancel { order: order.id }));
    shop.batch(&[cancel]).await.0.remove(0).unwrap();
    assert_eq!(shop.act(ALICE, sell_as(1, 5)).await, Err(Refusal::SkuTaken(new)));

    let Outcome::Order(order) = shop.act(BOB, buy(new, 1)).await.unwrap() else { panic!("no order") };
    let delete = Action::Delete(action::Delete { item: new, expected_version: None });
    shop.act(ALICE, delete).await.unwrap();
    let newest = item(shop.act(ALICE, sell_as(1, 5)).await);
    let commands = [
        shop.command(BOB, Action::Cancel(action::Cancel { order: order.id })),
        shop.command(ALICE, sell_as(1, 5)),
        shop.command(ALICE, import(1, 7)),
    ];
    let (outcomes, _) = shop.batch(&commands).await;
    assert_eq!(outcomes[1], Err(Refusal::SkuTaken(newest)));
    let Ok(Outcome::Imported(imported)) = &outcomes[2] else { panic!("{outcomes:?}") };
    assert_eq!((imported.created, imported.updated), (0, 1));
}
