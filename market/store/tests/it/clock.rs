//! Ages and due times are judged by steady time, never by a reading of the wall clock.

use std::time::Duration;

use souk_domain::{Action, Outcome, Role, Sequence, Timestamp, action};
use souk_store::{
    ByReliability, ClockFinding, ClockMark, ClockReport, DueBounds, DueQuery, LeaseOwner, Retention,
    Settlement, Verdict,
};

use super::{ALICE, BOB, HOUR, Shop, buy, on_every_back_end, owner, party, reprice};

const FORTY_DAYS: Duration = Duration::from_secs(40 * 24 * 3_600);
const RETENTION: Retention =
    Retention { updates: Duration::from_secs(72 * 3_600), orders: Duration::from_secs(30 * 24 * 3_600) };

on_every_back_end!(
    mark_only_grows_and_remembers_a_pause,
    events_and_requests_age_by_steady_time,
    shared_events_age_by_steady_time,
    due_times_beyond_the_bounds_are_lowered,
);

fn report(steady: Timestamp, wall: Timestamp) -> ClockReport {
    ClockReport { steady: Some(steady), wall, finding: ClockFinding::Agrees }
}

async fn mark_only_grows_and_remembers_a_pause(shop: Shop) {
    let clocks = &shop.store.clocks;
    let wall = Timestamp(1_000_000_000_000_000);
    let first = ClockReport { steady: None, ..report(Timestamp(0), wall) };
    let start = clocks.exchange(first).await.unwrap();
    assert!(!start.is_paused());
    let later = start.steady.plus(HOUR);
    assert_eq!(clocks.exchange(report(later, wall.plus(HOUR))).await.unwrap().steady, later);
    // Another market that has seen less time pass adopts the greater one.
    let other = clocks.exchange(report(start.steady, wall.plus(HOUR))).await.unwrap();
    assert_eq!((other.steady, other.is_paused()), (later, false));
    // Started again under a clock that is 40 days ahead, and then with the right one.
    let ahead = ClockReport { steady: None, ..report(later, wall.plus(FORTY_DAYS)) };
    let ahead = clocks.exchange(ahead).await.unwrap();
    assert_eq!((ahead.steady, ahead.is_paused()), (later, false), "time while stopped is no jump");
    let back = clocks.exchange(report(later, wall.plus(HOUR))).await.unwrap();
    assert_eq!((back.steady, back.is_paused()), (later, true));
    let over = later.plus(ClockMark::AGREEMENT);
    let agreed = clocks.exchange(report(over, wall.plus(HOUR).plus(ClockMark::AGREEMENT))).await.unwrap();
    assert!(!agreed.is_paused());
}

async fn events_and_requests_age_by_steady_time(mut shop: Shop) {
    let lamp = shop.lamp(ALICE, 5).await;
    // The event says that it happened 40 days ahead, or ago; neither makes it young or old.
    for wall_ahead in [Duration::ZERO, FORTY_DAYS] {
        shop.wall_ahead = wall_ahead;
        let Outcome::Order(order) = shop.act(BOB, buy(lamp, 1)).await.unwrap() else { panic!("no order") };
        assert_eq!(order.placed_at, shop.now.plus(wall_ahead), "people see the wall clock");
    }
    let mailboxes = &shop.store.mailboxes;
    let oldest = mailboxes.state(party(ALICE)).await.unwrap().unwrap().oldest.unwrap();
    assert!(oldest <= shop.now, "its age counts from steady time: {oldest:?}");
    assert_eq!(mailboxes.expire(shop.now.plus(HOUR), RETENTION, 10).await.unwrap(), 0);
    assert_eq!(mailboxes.forget_requests(shop.now.minus(HOUR), 10).await.unwrap(), 0);
    assert_eq!(mailboxes.expire(shop.now.plus(FORTY_DAYS), RETENTION, 10).await.unwrap(), 2, "both are old");
}

async fn shared_events_age_by_steady_time(mut shop: Shop) {
    for wall_ahead in [Duration::ZERO, FORTY_DAYS] {
        shop.wall_ahead = wall_ahead;
        let lamp = shop.lamp(ALICE, 5).await;
        shop.act(BOB, Action::Wish(action::Wish { item: lamp })).await.unwrap();
        shop.act(ALICE, reprice(lamp, 900)).await.unwrap();
    }
    let mailboxes = &shop.store.mailboxes;
    while mailboxes.expand(10).await.unwrap().more {}
    let state = mailboxes.state(party(BOB)).await.unwrap().unwrap();
    assert!(state.pending == 2 && state.oldest.unwrap() <= shop.now, "{state:?}");
    assert_eq!(mailboxes.expire(shop.now.plus(HOUR), RETENTION, 10).await.unwrap(), 0);
    let later = shop.now.plus(FORTY_DAYS);
    assert_eq!(mailboxes.forget_events(later, 10).await.unwrap(), 0, "deliveries refer to them");
    assert_eq!(mailboxes.expire(later, RETENTION, 10).await.unwrap(), 2);
    assert_eq!(mailboxes.forget_events(shop.now.minus(HOUR), 10).await.unwrap(), 0);
    let forgotten = mailboxes.forget_events(later, 10).await.unwrap();
    assert_eq!(forgotten, if shop.keeps_shared_events() { 2 } else { 0 });
}

async fn due_times_beyond_the_bounds_are_lowered(mut shop: Shop) {
    shop.with_callback(ALICE, Role::Seller).await;
    let lamp = shop.lamp(ALICE, 5).await;
    shop.act(BOB, buy(lamp, 1)).await.unwrap();
    let far = shop.now.plus(FORTY_DAYS);
    let query = |owner: LeaseOwner, now: Timestamp| DueQuery {
        owner,
        now,
        lease: Duration::from_secs(30),
        mailboxes: ByReliability::each(9),
        deliveries: 9,
    };
    let bounds = DueBounds { next_attempt: shop.now.plus(HOUR), lease_until: shop.now.plus(HOUR / 2) };
    let clamped = async |shop: &Shop| shop.store.clocks.clamp_due_times(bounds).await.unwrap();
    assert_eq!(clamped(&shop).await, 0, "nothing is beyond them");
    // A back-off that was set under a clock that was far ahead.
    let claim = shop.store.mailboxes.claim_due(&query(owner(1), shop.now)).await.unwrap().remove(0);
    let verdict = Verdict::Failed { retry_at: far, reason: "no answer".into() };
    let failed = Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict };
    shop.store.mailboxes.settle(&[failed]).await.unwrap();
    assert_eq!(clamped(&shop).await, 1);
    let state = shop.store.mailboxes.state(party(ALICE)).await.unwrap().unwrap();
    assert_eq!(state.next_attempt, Some(bounds.next_attempt));
    // And a lease.
    shop.store.mailboxes.take_over(party(ALICE), owner(2), far).await.unwrap().unwrap();
    assert_eq!(clamped(&shop).await, 1);
    let claims = shop.store.mailboxes.claim_due(&query(owner(1), bounds.next_attempt)).await.unwrap();
    assert_eq!(claims.len(), 1, "it is due again");
    assert_eq!(claims[0].deliveries[0].sequence, Sequence(1));
}
