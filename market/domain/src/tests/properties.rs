//! Properties that hold for any sequence of commands by any callers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn any_action() -> impl Strategy<Value = Action> {
    let item = (1..6_i64).prop_map(ItemId);
    prop_oneof![
        (1..20_i64).prop_map(|units| sell("Thing", 100, units)),
        // Few SKUs, so that they are taken, freed by a deletion and used again.
        (1..3_u8, 1..20_i64).prop_map(|(sku, units)| sell_as(&sku.to_string(), units)),
        (1..3_u8, 0..9_i64).prop_map(|(sku, units)| import(&sku.to_string(), units)),
        (item.clone(), 1..9_i64).prop_map(|(item, units)| buy(item, units)),
        (item.clone(), -9..9_i64).prop_map(|(item, delta)| restock(item, delta)),
        (item.clone(), 0..9_i64).prop_map(|(item, units)| {
            let stock = Some(StockChange::To(Quantity::parse(units).unwrap()));
            let patch = ItemPatch { stock, ..ItemPatch::default() };
            Action::Update(action::Update { item, patch, expected_version: None })
        }),
        item.clone().prop_map(|item| Action::Delete(action::Delete { item, expected_version: None })),
        (item.clone(), 0..9_i64, prop::option::of(1..3_u8)).prop_map(|(item, units, sku)| {
            let sku = sku.map(|sku| Sku::parse(&sku.to_string()).unwrap());
            let quantity = Quantity::parse(units).unwrap();
            Action::Undelete(action::Undelete { item, quantity, expected_version: None, sku })
        }),
        (item.clone(), 1..3_u8).prop_map(|(item, sku)| {
            let patch = ItemPatch { sku: Sku::parse(&sku.to_string()).ok(), ..ItemPatch::default() };
            Action::Update(action::Update { item, patch, expected_version: None })
        }),
        prop::collection::vec((item.clone(), 1..5_i64), 1..4).prop_map(|lines| Action::Place(action::Place(
            lines.into_iter().map(|(item, units)| line(item, units)).collect()
        ))),
        (1..12_i64, 0..4_u8).prop_map(|(order, what)| {
            let order = OrderId(order);
            match what {
                0 => Action::Cancel(action::Cancel { order }),
                1 => Action::CancelSale(action::CancelSale {
                    order,
                    reason: CancelReason::parse("why not").unwrap(),
                }),
                2 => Action::Ship(action::Ship { order }),
                _ => Action::Deliver(action::Deliver { order }),
            }
        }),
        item.clone().prop_map(|item| Action::Wish(action::Wish { item })),
        item.clone().prop_map(|item| Action::Unwish(action::Unwish { item })),
        (item, 1..=5, any::<bool>()).prop_map(|(item, stars, update_existing)| {
            Action::Rate(action::Rate { item, stars: Stars::parse(stars).unwrap(), update_existing })
        }),
    ]
}

fn any_caller() -> impl Strategy<Value = u128> {
    prop_oneof![Just(ALICE), Just(CAROL), Just(BOB), Just(DAVE), Just(99)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// G2: stock is never negative, and every unit is either sold, for sale or withdrawn.
    #[test]
    fn every_unit_is_accounted_for(steps in prop::collection::vec((any_caller(), any_action()), 1..60)) {
        let mut fixture = Fixture::open();
        for (caller, action) in steps {
            // Refusals are expected; they must not break the invariant either.
            let _ = fixture.act(caller, action);
        }
        for id in fixture.rows.items.keys() {
            let item = fixture.item(id);
            prop_assert!(item.is_balanced(), "{item:?}");
            let ordered: i64 = fixture
                .rows
                .orders
                .keys()
                .filter_map(|order| fixture.rows.orders.row(order))
                .filter(|order| order.item == id && order.status.stands())
                .map(|order| order.quantity)
                .sum();
            prop_assert_eq!(item.sold, ordered);
        }
    }

    /// A refusal or a validation changes nothing; a replay returns the outcome and changes nothing either.
    #[test]
    fn refusals_validations_and_replays_change_nothing(
        steps in prop::collection::vec((any_caller(), any_action(), any::<bool>()), 1..40),
    ) {
        let mut fixture = Fixture::open();
        for (number, (caller, action, validate_only)) in steps.into_iter().enumerate() {
            let request = 10_000 + number as u128;
            let before = trace(&fixture.rows);
            let first = fixture.send(caller, request, 1, validate_only, action.clone());
            if first.is_err() || validate_only {
                prop_assert_eq!(&trace(&fixture.rows), &before);
                continue;
            }
            let after = trace(&fixture.rows);
            let again = fixture.send(caller, request, 1, validate_only, action);
            prop_assert_eq!(first, again);
            prop_assert_eq!(trace(&fixture.rows), after);
        }
    }

    /// What the working set derives from its rows agrees with them, in whatever order items leave the market,
    /// their SKUs are used again, and their old orders change.
    #[test]
    fn derived_indexes_agree_with_the_rows(steps in prop::collection::vec((any_caller(), any_action()), 1..60)) {
        let mut fixture = Fixture::open();
        for (caller, action) in steps {
            let _ = fixture.act(caller, action);
            let rows = &fixture.rows;
            let items = rows.items.keys().filter_map(|id| rows.items.row(id)).filter(|item| item.is_listed());
            let listed: BTreeMap<_, _> =
                items.filter_map(|item| Some(((item.seller, item.sku.clone()?), item.id))).collect();
            prop_assert_eq!(&rows.skus, &listed);
            for ((buyer, item), count) in &rows.purchases {
                // The store need not count further than to know whether there is any.
                let purchases = fixture.purchases(*buyer, *item);
                prop_assert!(*count <= purchases && (*count > 0) == (purchases > 0), "{count} of {purchases}");
            }
        }
    }

    /// The first half of G6: an item's version never decreases.
    #[test]
    fn versions_never_decrease(steps in prop::collection::vec((any_caller(), any_action()), 1..40)) {
        let mut fixture = Fixture::open();
        for (caller, action) in steps {
            let before: Vec<_> = versions(&fixture.rows);
            let _ = fixture.act(caller, action);
            for ((_, old), (_, new)) in before.iter().zip(versions(&fixture.rows)) {
                prop_assert!(new >= *old);
            }
        }
    }
}

fn versions(rows: &WorkingSet) -> Vec<(ItemId, i64)> {
    rows.items.keys().filter_map(|id| rows.items.row(id)).map(|item| (item.id, item.version)).collect()
}
