//! The audit log, which is committed with the changes that it describes; and the operators' list of parties.

use souk_domain::{Action, AuditEntry, Keys, SuspensionReason, Timestamp, action};
use souk_store::audit::{Head, Verifier};

use super::{ALICE, BOB, CAROL, DAVE, Shop, buy, on_every_back_end, party, reprice};

on_every_back_end!(
    every_change_has_its_entry_and_a_refusal_has_none,
    chain_continues_across_batches,
    entries_without_a_change_are_saved,
    compacted_log_has_the_same_entries,
    parties_are_listed_by_id_and_by_suspension,
);

async fn lines(shop: &Shop) -> Vec<serde_json::Value> {
    let rows = shop.store.reads.audit(0, 1_000).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(&row.line).unwrap()).collect()
}

/// Checks that the log's chain is unbroken, and returns its head.
async fn verified(shop: &Shop) -> Head {
    let mut verifier = Verifier::new(None);
    for row in shop.store.reads.audit(0, 1_000).await.unwrap() {
        verifier.check(&row).unwrap();
    }
    let end = verifier.finish().unwrap();
    assert_eq!(shop.store.reads.audit_head().await.unwrap(), end);
    end
}

async fn every_change_has_its_entry_and_a_refusal_has_none(mut shop: Shop) {
    let before = verified(&shop).await.sequence;
    let lamp = shop.lamp(ALICE, 1).await;
    let purchase = shop.command(BOB, buy(lamp, 1));
    // A request, its replay and a refusal: only one of them is a change.
    let second = shop.command(DAVE, buy(lamp, 1));
    shop.batch(&[purchase.clone(), purchase.clone(), second]).await;
    shop.batch(&[purchase]).await;
    let log = lines(&shop).await.split_off(usize::try_from(before).unwrap());
    let entries: Vec<_> = log
        .iter()
        .map(|line| format!("{} {} {}", line["who"], line["did"], line["what"]).replace('"', ""))
        .collect();
    let who = |number| party(number).to_string();
    assert_eq!(
        entries,
        [
            format!("party/{} SellItem item {lamp} version 1", who(ALICE)),
            format!("party/{} BuyItem order 1: 1 of item {lamp}", who(BOB)),
        ]
    );
    assert!(log.iter().all(|line| line["request"].is_string() && line["at"].is_i64()));
}

async fn chain_continues_across_batches(mut shop: Shop) {
    let first = verified(&shop).await;
    let lamp = shop.lamp(ALICE, 10).await;
    let reprices: Vec<_> = (1..=5).map(|price| shop.command(ALICE, reprice(lamp, price))).collect();
    shop.batch(&reprices).await;
    let end = verified(&shop).await;
    assert_eq!(end.sequence, first.sequence + 6);
    let page = shop.store.reads.audit(first.sequence, 2).await.unwrap();
    assert_eq!(page.iter().map(|row| row.sequence - first.sequence).collect::<Vec<_>>(), [1, 2]);
}

async fn entries_without_a_change_are_saved(mut shop: Shop) {
    let mut rows = shop.lane.load(&Keys::default()).await.unwrap();
    rows.audit.push(AuditEntry {
        at: Timestamp(7),
        who: "unknown".into(),
        from: Some([192, 0, 2, 7].into()),
        did: "Refused",
        what: "no certificate".into(),
        count: 12,
        request: None,
    });
    assert!(!rows.is_unchanged());
    shop.lane.save(&rows).await.unwrap();
    verified(&shop).await;
    let line = lines(&shop).await.pop().unwrap();
    let expected =
        r#"{"at":7,"who":"unknown","from":"192.0.2.7","did":"Refused","what":"no certificate","count":12}"#;
    assert_eq!(line, serde_json::from_str::<serde_json::Value>(expected).unwrap());
}

async fn compacted_log_has_the_same_entries(mut shop: Shop) {
    const ENTRIES: usize = 6_000;
    let mut rows = shop.lane.load(&Keys::default()).await.unwrap();
    rows.audit.extend((0..ENTRIES).map(|number| AuditEntry {
        at: Timestamp(7),
        who: format!("buyer/{}", party(BOB)),
        from: Some([192, 0, 2, 7].into()),
        did: "BuyItem",
        what: format!("order {number}: 1 of item 1"),
        count: 1,
        request: None,
    }));
    shop.lane.save(&rows).await.unwrap();
    let reads = shop.store.reads.clone();
    let all = async || reads.audit(i64::MIN, 2 * ENTRIES).await.unwrap();
    let (log, head) = (all().await, reads.audit_head().await.unwrap());
    let mut compacted = 0;
    while let entries @ 1.. = shop.store.upkeep.compact_audit().await.unwrap() {
        compacted += entries;
        assert_eq!(all().await, log);
    }
    // Memory has no blocks, and on PostgreSQL the log is two tables.
    assert_eq!(compacted > 1_000, shop.folder.is_some(), "{compacted} entries");
    assert_eq!(reads.audit_head().await.unwrap(), head);
    let mut pages = Vec::new();
    while let page @ [_, ..] = &*reads.audit(pages.len() as i64, 700).await.unwrap() {
        pages.extend_from_slice(page);
    }
    assert_eq!(pages, log);
    shop.lamp(ALICE, 1).await;
    let mut verifier = Verifier::new(Some(head));
    all().await.iter().try_for_each(|row| verifier.check(row)).unwrap();
    assert_eq!(verifier.finish().unwrap().sequence, head.sequence + 1);
}

async fn parties_are_listed_by_id_and_by_suspension(mut shop: Shop) {
    let reason = SuspensionReason::parse("sells what is not theirs").unwrap();
    shop.act(99, Action::Suspend(action::Suspend { party: party(CAROL), reason })).await.unwrap();
    let ids = async |after, suspended_only, limit| {
        let parties = shop.store.reads.parties(after, suspended_only, limit).await.unwrap();
        parties.iter().map(|found| found.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, false, 10).await, [ALICE, CAROL, BOB, DAVE].map(party));
    assert_eq!(ids(None, false, 2).await, [ALICE, CAROL].map(party));
    assert_eq!(ids(Some(party(CAROL)), false, 10).await, [BOB, DAVE].map(party));
    assert_eq!(ids(None, true, 10).await, [party(CAROL)]);
    assert!(ids(Some(party(CAROL)), true, 10).await.is_empty());
    let carol = shop.store.reads.party(party(CAROL)).await.unwrap().unwrap();
    assert_eq!(carol.suspension.unwrap().reason.as_str(), "sells what is not theirs");
    assert_eq!(shop.store.reads.raised_epochs().await.unwrap(), [(party(CAROL), 1)]);
}
