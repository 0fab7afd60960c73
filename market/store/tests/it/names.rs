//! The names in orders are those at the time of the purchase, however often parties and items are renamed.

use souk_domain::{
    Action, DisplayName, ItemId, ItemName, ItemPatch, Order, OrderId, Outcome, Role, TimeRange, action,
};
use souk_store::{OrderQuery, OrdersOf};

use super::{ALICE, BOB, CAROL, DAVE, Shop, buy, on_every_back_end, party, reprice};

on_every_back_end!(
    orders_keep_the_names_of_their_time,
    orders_keep_the_names_within_a_batch,
    names_of_others_do_not_change,
    cancelled_orders_keep_the_names_of_their_time,
    names_that_look_alike_belong_to_one_party,
);

fn called(role: Role, name: &str) -> Action {
    let display_name = DisplayName::parse(name).unwrap();
    Action::Register(action::Register { role, display_name, callback: None })
}

fn renamed(item: ItemId, name: &str) -> Action {
    let patch = ItemPatch { name: Some(ItemName::parse(name).unwrap()), ..ItemPatch::default() };
    Action::Update(action::Update { item, patch, expected_version: None })
}

/// Returns who bought what of whom, by name.
fn names(order: &Order) -> String {
    format!("{} {} {}", order.buyer_name.as_str(), order.item_name.as_str(), order.seller_name.as_str())
}

impl Shop {
    async fn rename_all(&mut self, item: ItemId, [buyer, thing, seller]: [&str; 3]) {
        self.act(BOB, called(Role::Buyer, buyer)).await.unwrap();
        self.act(ALICE, renamed(item, thing)).await.unwrap();
        self.act(ALICE, called(Role::Seller, seller)).await.unwrap();
    }

    async fn buy_one(&mut self, item: ItemId) -> Order {
        match self.act(BOB, buy(item, 1)).await.unwrap() {
            Outcome::Order(order) => order,
            other => panic!("{other:?}"),
        }
    }

    /// Returns all orders of a party, oldest first.
    async fn orders_of(&self, of: OrdersOf) -> Vec<Order> {
        let query =
            OrderQuery { of, before: None, status: None, item: None, placed: TimeRange::ALL, limit: 100 };
        let mut orders = self.store.reads.orders(&query).await.unwrap();
        orders.reverse();
        orders
    }

    /// Returns the names in all orders, oldest first, and checks that each way to read them has the same.
    async fn names_read(&self) -> Vec<String> {
        let orders = self.orders_of(OrdersOf::Buyer(party(BOB))).await;
        assert_eq!(orders, self.orders_of(OrdersOf::Seller(party(ALICE))).await);
        for order in &orders {
            assert_eq!(self.store.reads.order(order.id).await.unwrap().as_ref(), Some(order));
            assert_eq!((order.buyer, order.seller), (party(BOB), party(ALICE)));
        }
        orders.iter().map(names).collect()
    }
}

async fn orders_keep_the_names_of_their_time(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 20).await;
    let mut expected = Vec::new();
    for names in [["Bob", "Lamp", "Alice"], ["Bert", "Light", "Ann"], ["Bob", "Lamp", "Anna"]] {
        // Names that no order has, before and after each that some have.
        shop.rename_all(lamp, ["X", "Y", "Z"]).await;
        shop.rename_all(lamp, names).await;
        for _ in 0..2 {
            shop.buy_one(lamp).await;
            expected.push(names.join(" "));
            shop.act(ALICE, reprice(lamp, 7)).await.unwrap();
        }
        assert_eq!(shop.names_read().await, expected);
    }
    shop.rename_all(lamp, ["X", "Y", "Z"]).await;
    assert_eq!(shop.names_read().await, expected);
    // Changes of an order leave its names alone.
    for order in shop.orders_of(OrdersOf::Buyer(party(BOB))).await {
        shop.act(ALICE, Action::Ship(action::Ship { order: order.id })).await.unwrap();
    }
    assert_eq!(shop.names_read().await, expected);
}

async fn orders_keep_the_names_within_a_batch(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 20).await;
    shop.rename_all(lamp, ["Bob", "Lamp", "Alice"]).await;
    let actions = [
        (BOB, buy(lamp, 1)),
        (BOB, called(Role::Buyer, "Bert")),
        (ALICE, renamed(lamp, "Light")),
        (BOB, buy(lamp, 1)),
        (ALICE, called(Role::Seller, "Ann")),
        (BOB, called(Role::Buyer, "Bob")),
        (BOB, buy(lamp, 1)),
    ];
    let commands: Vec<_> = actions.into_iter().map(|(caller, action)| shop.command(caller, action)).collect();
    let mut expected: Vec<_> = shop
        .batch(&commands)
        .await
        .0
        .into_iter()
        .filter_map(|outcome| match outcome.unwrap() {
            Outcome::Order(order) => Some(names(&order)),
            _ => None,
        })
        .collect();
    assert_eq!(expected[..2], ["Bob Lamp Alice", "Bert Light Alice"]);
    assert!(expected[2].starts_with("Bob Light "), "{}", expected[2]);
    assert_eq!(shop.names_read().await, expected);
    expected.push(names(&shop.buy_one(lamp).await));
    shop.rename_all(lamp, ["X", "Y", "Z"]).await;
    assert_eq!(shop.names_read().await, expected);
}

async fn names_of_others_do_not_change(mut shop: Shop) {
    let (lamp, vase) = (shop.lamp(ALICE, 9).await, shop.listed(CAROL, "Vase", 9).await.id);
    let before = names(&shop.buy_one(lamp).await);
    shop.act(DAVE, buy(vase, 1)).await.unwrap();
    shop.act(DAVE, called(Role::Buyer, "Dora")).await.unwrap();
    shop.act(CAROL, called(Role::Seller, "Cleo")).await.unwrap();
    shop.act(CAROL, renamed(vase, "Jar")).await.unwrap();
    assert_eq!(shop.names_read().await, [before]);
}

fn cancelled(order: OrderId) -> Action {
    Action::Cancel(action::Cancel { order })
}

async fn cancelled_orders_keep_the_names_of_their_time(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 20).await;
    let mut expected = Vec::new();
    for names in [["Bob", "Lamp", "Alice"], ["Bert", "Light", "Ann"]] {
        shop.rename_all(lamp, names).await;
        let order = shop.buy_one(lamp).await.id;
        expected.push(names.join(" "));
        shop.act(BOB, cancelled(order)).await.unwrap();
    }
    // Renamed between the purchase and the cancellation, and in the same batch as the latter.
    for in_one_batch in [false, true] {
        shop.rename_all(lamp, ["Bob", "Lamp", "Alice"]).await;
        let order = shop.buy_one(lamp).await.id;
        expected.push("Bob Lamp Alice".to_owned());
        let last = [shop.command(ALICE, renamed(lamp, "Light")), shop.command(BOB, cancelled(order))];
        if in_one_batch {
            shop.batch(&last).await;
        } else {
            for command in last {
                shop.batch(&[command]).await;
            }
        }
    }
    shop.rename_all(lamp, ["X", "Y", "Z"]).await;
    assert_eq!(shop.names_read().await, expected);
}

async fn names_that_look_alike_belong_to_one_party(mut shop: Shop) {
    let taken = Err(souk_domain::Refusal::DisplayNameTaken);
    shop.act(ALICE, called(Role::Seller, "Shop")).await.unwrap();
    for (other, role) in [(CAROL, Role::Seller), (BOB, Role::Buyer)] {
        assert_eq!(shop.act(other, called(role, "\u{405}hop")).await, taken);
    }
    // What is not about the name leaves it alone.
    shop.with_callback(DAVE, Role::Buyer).await;
    shop.act(ALICE, called(Role::Seller, "SHOP")).await.unwrap();
    assert_eq!(shop.act(BOB, called(Role::Buyer, "shop")).await, taken);
    // In one batch, the first has it; the name that a party gives up is free afterwards.
    let actions = [
        (ALICE, called(Role::Seller, "Store")),
        (CAROL, called(Role::Seller, "Stall")),
        (BOB, called(Role::Buyer, "STALL")),
        (BOB, called(Role::Buyer, "Shop")),
    ];
    let commands: Vec<_> = actions.into_iter().map(|(caller, action)| shop.command(caller, action)).collect();
    let outcomes = shop.batch(&commands).await.0;
    let refused: Vec<_> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, true]);
    shop.act(BOB, called(Role::Buyer, "Shop")).await.unwrap();
    assert_eq!(shop.act(ALICE, called(Role::Seller, "Shop")).await, taken);
    shop.act(ALICE, called(Role::Seller, "Store")).await.unwrap();
}

/// Former names are kept for good, so they are noted only if an order has them.
#[tokio::test]
async fn names_that_no_order_has_leave_nothing_behind() {
    let mut shop = Shop::sqlite().await;
    let (lamp, vase) = (shop.lamp(ALICE, 9).await, shop.listed(ALICE, "Vase", 9).await.id);
    let raw = rusqlite::Connection::open(super::path_in(shop.folder.as_ref())).unwrap();
    let kept = || {
        let count =
            "SELECT (SELECT count(*) FROM former_item_name), (SELECT count(*) FROM former_party_name)";
        raw.query_row(count, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
    };
    shop.rename_all(lamp, ["Bob", "Light", "Alice"]).await;
    assert_eq!(kept(), (0, 0), "nobody has bought anything");
    for name in ["Jar", "Pot", "Vase"] {
        shop.act(DAVE, buy(lamp, 1)).await.unwrap();
        shop.act(BOB, called(Role::Buyer, name)).await.unwrap();
        shop.act(ALICE, renamed(vase, name)).await.unwrap();
    }
    assert_eq!(kept(), (0, 0), "others have traded");
    let order = shop.buy_one(vase).await.id;
    shop.act(BOB, cancelled(order)).await.unwrap();
    shop.rename_all(vase, ["Bob", "Jar", "Alicia"]).await;
    assert_eq!(kept(), (0, 2), "a cancelled order has the item's name itself");
    shop.rename_all(lamp, ["Bert", "Lamp", "Alice"]).await;
    assert_eq!(kept(), (1, 2), "the parties have no order since");
}
