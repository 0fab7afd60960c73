//! What fails in the store fails no more callers than necessary, and says what became of their commands.

use super::*;

#[tokio::test]
async fn one_unreadable_row_does_not_fail_the_others() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let batch = ground.queue([2, UNREADABLE, 3].map(register)).await;
    ground.controls.loads.add_permits(100);
    first.await.unwrap().unwrap();
    let [before, unreadable, after] = batch.try_into().unwrap();
    before.await.unwrap().unwrap();
    assert!(matches!(unreadable.await.unwrap(), Err(LedgerError::Corrupt)));
    after.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_rejected_row_does_not_fail_the_others() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let batch = ground.queue([2, REJECTED, 3, QUARRELSOME].map(register)).await;
    ground.controls.loads.add_permits(100);
    first.await.unwrap().unwrap();
    let [before, rejected, after, quarrelsome] = batch.try_into().unwrap();
    before.await.unwrap().unwrap();
    assert!(matches!(rejected.await.unwrap(), Err(LedgerError::Corrupt)));
    after.await.unwrap().unwrap();
    quarrelsome.await.unwrap().unwrap();
}

/// On a database that several markets share, such a conflict is retried first: the row may be another market's.
#[tokio::test]
async fn batch_that_collides_with_itself_is_executed_command_by_command() {
    let ground = LocalMarket::open(0);
    ground.end(Ending::Rejected);
    let first = ground.keep_busy(register(1)).await;
    let batch = ground.queue([2, 3].map(register)).await;
    ground.controls.loads.add_permits(100);
    first.await.unwrap().unwrap();
    for answer in batch {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn full_disk_is_reported_as_such_and_changes_nothing() {
    let ground = LocalMarket::open(100);
    ground.end(Ending::Full);
    let full = ground.ledger.submit(register(1)).await;
    assert!(matches!(full, Err(LedgerError::StorageFull)), "{full:?}");
    ground.end(Ending::Well);
    let done = ground.ledger.submit(register(1)).await.unwrap();
    assert!(!done.replayed);
}

/// The store holds up a batch, and others are queued behind it.
#[tokio::test]
async fn held_store_does_not_keep_the_market_from_ending() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let waiting = ground.queue((2..=1_000).map(register)).await;
    let LocalMarket { lanes, ledger, .. } = ground;
    lanes.refusal().cancel();
    for refused in std::iter::once(first).chain(waiting) {
        let refused = refused.await.unwrap();
        assert!(matches!(refused, Err(LedgerError::Unavailable)), "nothing was begun: {refused:?}");
    }
    drop(ledger);
    let deadline = soon();
    lanes.end(deadline).await;
    assert!(Instant::now() < deadline);
}

/// Whether a commit that was sent took effect is unknown.
#[tokio::test]
async fn batch_that_is_abandoned_in_its_commit_has_no_known_outcome() {
    let ground = LocalMarket::open(1);
    ground.end(Ending::NeverAnswers);
    let first = ground.keep_busy(register(1)).await;
    let waiting = ground.queue([register(2)]).await.remove(0);
    while ground.controls.saves.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    ground.lanes.refusal().cancel();
    let (first, waiting) = (first.await.unwrap(), waiting.await.unwrap());
    assert!(matches!(first, Err(LedgerError::Indefinite)), "{first:?}");
    assert!(matches!(waiting, Err(LedgerError::Unavailable)), "{waiting:?}");
}

#[tokio::test]
async fn one_row_that_another_market_holds_does_not_fail_the_others() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let batch = [register(2), wish(3, HELD), register(4), wish(5, ItemId(8))];
    let batch = ground.queue(batch).await;
    ground.controls.loads.add_permits(100);
    first.await.unwrap().unwrap();
    let [before, held, after, other] = batch.try_into().unwrap();
    before.await.unwrap().unwrap();
    assert!(matches!(held.await.unwrap(), Err(LedgerError::Unavailable)));
    after.await.unwrap().unwrap();
    assert!(matches!(other.await.unwrap(), Err(LedgerError::Refused(_))), "there is no such item");
    // Loads: the first command, the whole batch, the commands without locked rows, and the rest once more.
    assert_eq!(ground.controls.batches.load(Ordering::SeqCst), 4);
}
