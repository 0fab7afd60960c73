//! Pruning of archived orders and audit entries, on every back end: what it leaves behind, and what it never takes.

use std::time::Duration;

use souk_domain::{
    Action, AuditEntry, ItemId, Keys, Order, OrderId, Outcome, Place, Refusal, RideKind, RidePlan, RideStop,
    RideText, Sales, SalesSummary, Sequence, Stars, TimeRange, Timestamp, Totals, action, day_of,
};
use souk_store::{
    AUDIT_STEP, ORDERS_STEP, PrunedBy,
    audit::{Broken, Head, Verifier, attested},
};

use super::{ALICE, BOB, DAVE, Shop, buy, on_every_back_end, party, path_in};

on_every_back_end!(
    pruned_orders_leave_sums_and_the_right_to_rate,
    orders_are_kept_while_something_refers_to_them,
    only_named_orders_are_pruned,
    audit_log_is_verified_from_its_base,
    newest_audit_entry_is_never_pruned,
);

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn by() -> PrunedBy {
    PrunedBy { at: Timestamp(9), who: "operator/olga".into(), from: Some([192, 0, 2, 9].into()) }
}

impl Shop {
    pub(super) async fn bought(&mut self, buyer: u128, item: ItemId, units: i64) -> OrderId {
        match self.act(buyer, buy(item, units)).await.unwrap() {
            Outcome::Order(order) => order.id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn delivered(&mut self, buyer: u128, item: ItemId, units: i64) -> OrderId {
        let order = self.bought(buyer, item, units).await;
        self.act(ALICE, Action::Ship(action::Ship { order })).await.unwrap();
        self.act(ALICE, Action::Deliver(action::Deliver { order })).await.unwrap();
        order
    }

    async fn rate(&mut self, buyer: u128, item: ItemId) -> Result<Outcome, Refusal> {
        let stars = Stars::parse(5).unwrap();
        self.act(buyer, Action::Rate(action::Rate { item, stars, update_existing: false })).await
    }

    /// Empties the mailboxes.
    pub(super) async fn deliver_all(&self) {
        for number in [ALICE, BOB, DAVE] {
            let state = self.store.mailboxes.state(party(number)).await.unwrap().unwrap();
            let through = Sequence(state.last_sequence);
            self.store.mailboxes.acknowledge(party(number), through).await.unwrap();
        }
    }

    /// Deletes the outcomes of all requests.
    pub(super) async fn forget(&self) {
        while self.store.mailboxes.forget_requests(self.now.plus(DAY), 256).await.unwrap() > 0 {}
    }

    /// Returns the orders that are due, with all of the past behind the retention.
    async fn due(&self) -> Vec<Order> {
        let (mut due, mut next) = (Vec::new(), Some(OrderId(0)));
        while let Some(after) = next {
            let page = self.store.archive.due_orders(self.now.plus(DAY), after).await.unwrap();
            due.extend(page.orders);
            next = page.next;
        }
        due
    }

    pub(super) async fn due_ids(&self) -> Vec<OrderId> {
        self.due().await.iter().map(|order| order.id).collect()
    }

    pub(super) async fn prune(&self, orders: &[OrderId]) -> usize {
        self.store.archive.prune_orders(orders, self.now.plus(DAY), &by()).await.unwrap()
    }

    async fn sums(&self) -> (Totals, Vec<Sales>, SalesSummary) {
        let reads = &self.store.reads;
        let summary = reads.sales_summary(party(ALICE), TimeRange::ALL, 10).await.unwrap();
        (reads.totals().await.unwrap(), reads.revenue().await.unwrap(), summary)
    }

    /// Verifies the log from its base, and returns its end.
    async fn verified(&self, noted: Option<Head>) -> Result<Head, Broken> {
        let base = self.store.reads.audit_base().await.unwrap();
        let mut verifier = Verifier::from_base(base, noted, attested)?;
        for row in self.store.reads.audit(i64::MIN, 100_000).await.unwrap() {
            verifier.check(&row)?;
        }
        let end = verifier.finish()?;
        assert_eq!(self.store.reads.audit_head().await.unwrap(), end);
        Ok(end)
    }

    /// Checks what must hold of the rows, where the back end can.
    pub(super) async fn holds(&self) {
        let findings = match (&self.folder, &self.database) {
            (Some(_), _) => souk_store::sqlite::check(&path_in(self.folder.as_ref()), |_| ()).unwrap(),
            (_, Some(database)) => {
                souk_store::postgres::check(database.address(), &Default::default(), |_| ()).await.unwrap()
            }
            _ => return,
        };
        let broken: Vec<_> = findings.iter().filter(|finding| finding.violations > 0).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }

    async fn log(&mut self, entries: usize) {
        let mut rows = self.lane.load(&Keys::default()).await.unwrap();
        rows.audit.extend((0..entries).map(|number| AuditEntry {
            at: Timestamp(7),
            who: format!("buyer/{}", party(BOB)),
            from: None,
            did: "BuyItem",
            what: format!("order {number}: 1 of item 1"),
            count: 1,
            request: None,
        }));
        self.lane.save(&rows).await.unwrap();
    }
}

async fn pruned_orders_leave_sums_and_the_right_to_rate(mut shop: Shop) {
    let (lamp, vase) = (shop.lamp(ALICE, 20).await, shop.listed(ALICE, "Vase", 9).await.id);
    let first = shop.delivered(BOB, lamp, 2).await;
    let second = shop.delivered(BOB, lamp, 3).await;
    let third = shop.delivered(BOB, vase, 1).await;
    let cancelled = shop.bought(DAVE, lamp, 4).await;
    shop.act(DAVE, Action::Cancel(action::Cancel { order: cancelled })).await.unwrap();
    let open = shop.bought(BOB, lamp, 1).await;
    shop.act(ALICE, Action::Delete(action::Delete { item: vase, expected_version: None })).await.unwrap();
    shop.deliver_all().await;
    shop.forget().await;
    let before = shop.sums().await;
    let due = shop.due().await;
    assert_eq!(due.iter().map(|order| order.id).collect::<Vec<_>>(), [first, second, third, cancelled]);
    assert!(due.iter().all(|order| order.finished_at().is_some()));

    assert_eq!(shop.prune(&[first, second, third, cancelled, open]).await, 4);
    assert_eq!(shop.prune(&[first, second, third, cancelled, open]).await, 0);
    assert!(shop.due_ids().await.is_empty());
    for gone in [first, second, third, cancelled] {
        assert!(shop.store.reads.order(gone).await.unwrap().is_none());
    }
    assert!(shop.store.reads.order(open).await.unwrap().is_some());
    assert_eq!(shop.sums().await, before);
    shop.holds().await;

    // A part of their day can't be summed up any more.
    let now = shop.now;
    let parts = [
        TimeRange { from: Timestamp(1), until: now.plus(DAY) },
        TimeRange { from: Timestamp(0), until: now },
    ];
    for part in parts {
        let summary = shop.store.reads.sales_summary(party(ALICE), part, 10).await.unwrap();
        let is_cut = [part.from, part.until].map(day_of).contains(&day_of(now));
        assert_eq!(summary.cut_days, if is_cut { vec![day_of(now)] } else { vec![] }, "{part:?}");
        assert_eq!(shop.store.reads.sales_summary(party(DAVE), part, 10).await.unwrap().cut_days, [0_i64; 0]);
    }
    let again = shop.rate(BOB, lamp).await.unwrap();
    assert!(matches!(again, Outcome::Rated(_)), "{again:?}");
    assert_eq!(shop.rate(DAVE, lamp).await, Err(Refusal::NotPurchased(lamp)));
    // The sums go on from what was pruned.
    shop.delivered(BOB, lamp, 1).await;
    shop.deliver_all().await;
    shop.forget().await;
    assert_eq!(shop.prune(&shop.due_ids().await).await, 1);
    let (totals, _, summary) = shop.sums().await;
    assert_eq!((totals.orders, totals.ordered), (before.0.orders + 1, before.0.ordered + 1));
    assert_eq!(summary.items[0].sales.units, before.2.items[0].sales.units + 1);
    shop.holds().await;
    shop.verified(None).await.unwrap();
    let line = shop.store.reads.audit(0, 1_000).await.unwrap().pop().unwrap().line;
    assert!(line.contains(r#""who":"operator/olga","from":"192.0.2.9","did":"PruneArchived""#), "{line}");
    assert!(line.contains("1 orders, "), "{line}");
}

async fn orders_are_kept_while_something_refers_to_them(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 20).await;
    let one = shop.delivered(BOB, lamp, 1).await;
    assert!(shop.due_ids().await.is_empty());
    shop.deliver_all().await;
    assert!(shop.due_ids().await.is_empty(), "the outcomes of its requests are still stored");
    assert_eq!(shop.prune(&[one]).await, 0);
    shop.forget().await;
    assert_eq!(shop.due_ids().await, [one]);

    let (left, right) = (shop.bought(BOB, lamp, 1).await, shop.bought(BOB, lamp, 1).await);
    shop.forget().await;
    // Their buyer's and seller's events are younger than the end of the first order.
    assert_eq!(shop.due_ids().await, [one]);
    let stop = |order| RideStop { order, destination: None };
    let plan = RidePlan {
        kind: RideKind::Regular,
        vehicle: RideText::parse("van").unwrap(),
        driver: RideText::parse("Ann").unwrap(),
        start: Place::parse(52.2, 0.1).unwrap(),
        stops: vec![stop(left), stop(right)],
    };
    let started = shop.act(ALICE, Action::StartRide(action::StartRide(plan))).await.unwrap();
    let Outcome::Ride(ride) = started else { panic!("{started:?}") };
    shop.act(ALICE, Action::Deliver(action::Deliver { order: left })).await.unwrap();
    shop.deliver_all().await;
    shop.forget().await;
    assert_eq!(shop.due_ids().await, [one], "the ride is under way");
    assert_eq!(shop.prune(&[one, left, right]).await, 1);
    let end = action::EndRide { ride: ride.id, orders: vec![left, right] };
    shop.act(ALICE, Action::EndRide(end)).await.unwrap();
    shop.forget().await;
    assert_eq!(shop.due_ids().await, [left], "the buyer was not told of the other delivery yet");
    shop.deliver_all().await;
    assert_eq!(shop.due_ids().await, [left, right]);
    assert_eq!(shop.prune(&[left, right]).await, 2);
    shop.holds().await;
}

async fn only_named_orders_are_pruned(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 1_000).await;
    let mut orders = Vec::new();
    // More than one step looks at.
    for _ in 0..ORDERS_STEP + 3 {
        orders.push(shop.bought(BOB, lamp, 1).await);
    }
    for order in [orders[0], orders[ORDERS_STEP - 1], orders[ORDERS_STEP + 2]] {
        shop.act(BOB, Action::Cancel(action::Cancel { order })).await.unwrap();
    }
    shop.deliver_all().await;
    shop.forget().await;
    let due = shop.due_ids().await;
    assert_eq!(due, [orders[0], orders[ORDERS_STEP - 1], orders[ORDERS_STEP + 2]]);
    assert!(shop.store.archive.due_orders(Timestamp(0), OrderId(0)).await.unwrap().orders.is_empty());
    assert_eq!(shop.store.archive.prune_orders(&due, Timestamp(0), &by()).await.unwrap(), 0);
    assert_eq!(shop.prune(&due[..2]).await, 2);
    assert_eq!(shop.due_ids().await, due[2..]);
    assert_eq!(shop.store.reads.totals().await.unwrap().orders, ORDERS_STEP as i64 + 3);
    shop.holds().await;
}

async fn audit_log_is_verified_from_its_base(mut shop: Shop) {
    shop.log(6_000).await;
    while shop.store.upkeep.compact_audit().await.unwrap() > 0 {}
    let all = shop.store.reads.audit(0, 100_000).await.unwrap();
    let entry = |number: usize| Head { sequence: all[number - 1].sequence, hash: all[number - 1].hash };
    let prune = async |through| shop.store.archive.prune_audit(through, &by()).await.unwrap();
    // In the middle of a block.
    assert_eq!((prune(700).await, prune(700).await, prune(700).await), (AUDIT_STEP, 700 - AUDIT_STEP, 0));
    assert_eq!(shop.store.reads.audit_base().await.unwrap(), entry(700));
    let left = shop.store.reads.audit(i64::MIN, 100_000).await.unwrap();
    assert_eq!(left[..all.len() - 700], all[700..]);
    let end = shop.verified(Some(entry(701))).await.unwrap();
    assert_eq!(end.sequence, all.len() as i64 + 2, "each step is audited");
    assert_eq!(shop.verified(Some(entry(700))).await.unwrap(), end);
    let other = Head { hash: entry(701).hash, ..entry(700) };
    assert_eq!(shop.verified(Some(other)).await, Err(Broken::Rewritten(700)));
    // Without the base the beginning is missing, and a base that no entry attests is no base.
    assert_eq!(Verifier::new(None).check(&left[0]), Err(Broken::Missing { expected: 1, found: 701 }));
    let mut unattested = Verifier::from_base(entry(701), None, attested).unwrap();
    left[1..].iter().try_for_each(|row| unattested.check(row)).unwrap();
    assert_eq!(unattested.finish(), Err(Broken::Unattested(701)));
    while shop.store.upkeep.compact_audit().await.unwrap() > 0 {}
    assert_eq!(shop.verified(None).await.unwrap(), end);
}

async fn newest_audit_entry_is_never_pruned(mut shop: Shop) {
    shop.log(100).await;
    let head = shop.store.reads.audit_head().await.unwrap();
    assert_eq!(shop.store.archive.prune_audit(i64::MAX, &by()).await.unwrap() as i64, head.sequence - 1);
    let base = shop.store.reads.audit_base().await.unwrap();
    assert_eq!(base.sequence, head.sequence - 1);
    shop.verified(Some(head)).await.unwrap();
    shop.lamp(ALICE, 1).await;
    assert_eq!(shop.verified(Some(head)).await.unwrap().sequence, head.sequence + 2);
    if shop.folder.is_some() {
        shop = shop.reopen().await;
        shop.lamp(ALICE, 1).await;
        shop.verified(Some(head)).await.unwrap();
    }
    shop.holds().await;
}
