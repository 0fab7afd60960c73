//! A party that sends as much as it can delays its own commands.

use souk_domain::{ImportRow, TestText};

use super::*;

fn test_event(of: u128, request: u128) -> Command {
    let text = TestText::parse("").unwrap();
    command(of, request, Action::Test(action::Test { text }))
}

fn import(of: u128, request: u128) -> Command {
    let listing = lamp();
    let row = |line| ImportRow::of(line, listing.clone());
    let rows = (0..ImportRow::MAX_AT_ONCE as i64).map(row).collect();
    command(of, request, Action::Import(action::Import(rows)))
}

/// Lets the lane execute this many batches, and waits until all of the calls are answered.
async fn answered_within(ground: &LocalMarket, batches: usize, calls: Vec<tokio::task::JoinHandle<Answer>>) {
    ground.controls.loads.add_permits(batches);
    for call in calls {
        let answered = tokio::time::timeout(Duration::from_secs(20), call).await;
        answered.unwrap_or_else(|_| panic!("it takes more than {batches} batches")).unwrap().unwrap();
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let holding = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), holding).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn flood_of_one_party_is_refused_and_delays_others_by_no_more_than_two_batches() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let flood: Vec<_> =
        (0..2 * LANE_QUEUE as u128).map(|n| ground.submit(test_event(1, 1_000 + n))).collect();
    let settled = || {
        let refused = flood.iter().filter(|call| call.is_finished()).count();
        refused + ground.lanes.queued()() == flood.len()
    };
    until("the flood is queued or refused", settled).await;
    let queued = ground.lanes.queued()();
    assert!(queued < LANE_QUEUE * 3 / 4, "{queued} are queued: others have no place left");

    let honest: Vec<_> = (2..12).map(|number| ground.submit(register(number))).collect();
    until("all honest commands are taken", || ground.lanes.queued()() == queued + honest.len()).await;
    // The batch in progress, the one that was full when they came, and theirs.
    answered_within(&ground, 3, honest).await;
    ground.controls.loads.add_permits(100);
    first.await.unwrap().unwrap();
    let mut executed = 0;
    for call in flood {
        match call.await.unwrap() {
            Ok(_) => executed += 1,
            Err(error) => assert!(matches!(error, LedgerError::Overloaded), "{error}"),
        }
    }
    assert!(executed >= LANE_QUEUE / 2, "a party alone gets half: {executed}");
}

#[tokio::test]
async fn imports_share_batches_by_rows() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let imports: Vec<_> = (0..64).map(|n| ground.submit(import(1, 1_000 + n))).collect();
    ground.until_queued(64).await;
    let honest: Vec<_> = (2..12).map(|number| ground.submit(register(number))).collect();
    ground.until_queued(74).await;
    answered_within(&ground, 3, honest).await;
    let done = imports.iter().filter(|import| import.is_finished()).count();
    assert!(done <= 11, "a batch holds five imports, not all {done}");
    ground.controls.loads.add_permits(100);
    first.await.unwrap().unwrap();
    for import in imports {
        import.await.unwrap().unwrap();
    }
}
