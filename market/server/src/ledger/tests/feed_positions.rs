//! Feed positions go only to the callers that have changed what searches find.

use super::*;

/// Returns a command of a registered party, which lists an item.
fn sell(number: u128, request: u128) -> Command {
    command(number, request, Action::Sell(action::Sell(lamp())))
}

/// Otherwise a stranger's import would make the searches of everybody who buys meanwhile wait for the index.
#[tokio::test]
async fn only_commands_that_change_what_is_found_get_a_feed_position() {
    let ground = LocalMarket::open(0);
    ground.controls.loads.add_permits(1);
    ground.submit(register(1)).await.unwrap().unwrap();

    let first = ground.keep_busy(register(2)).await;
    let batch = ground.queue([sell(1, 10), register(3), open_till(1, 11), sell(1, 10)]).await;
    ground.controls.loads.add_permits(2);
    first.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for answer in batch {
        answers.push(answer.await.unwrap().unwrap());
    }
    assert_eq!(
        ground.controls.largest.load(Ordering::SeqCst),
        3,
        "one batch of three requests, one of them twice"
    );
    let moved: Vec<_> = answers.iter().map(|done| done.feed_position.is_some()).collect();
    assert_eq!(moved, [true, false, false, false]);
    // The caller of a repeated request learns that its change is older, and looks up the end of the feed itself.
    let replayed: Vec<_> = answers.iter().map(|done| done.replayed).collect();
    assert_eq!(replayed, [false, false, false, true]);
}
