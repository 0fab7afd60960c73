use super::*;

/// One address has `of_address` places; in all there are more than a test uses.
fn sources(of_address: usize) -> Sources {
    Sources::new(AcceptorLimits { handshakes_of_address: of_address, ..AcceptorLimits::default() })
}

fn place(entry: Entry) -> Place {
    match entry {
        Entry::Place(place) => place,
        other => panic!("{other:?}"),
    }
}

fn host(number: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + number).into())
}

/// Whether nothing is in progress or waiting. Debts may be left.
fn is_quiet(sources: &Sources) -> bool {
    let shared = sources.lock();
    shared.by_source.values().all(Source::is_idle)
        && (shared.waiting.total, shared.under_way, shared.strangers, shared.resting) == (0, 0, 0, 0)
}

#[test]
fn a_host_has_its_own_places_and_gets_them_back() {
    let sources = sources(2);
    let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let places = [place(sources.enter(one)), place(sources.enter(one))];
    assert!(matches!(sources.enter("::ffff:192.0.2.1".parse().unwrap()), Entry::Wait(_)), "the same host");
    place(sources.enter(other));
    drop(places);
    place(sources.enter(one));
    assert!(is_quiet(&sources), "nothing is left behind");
}

#[test]
fn waiting_connections_have_their_turns_in_order() {
    let sources = sources(1);
    let first = place(sources.enter(host(1)));
    let Entry::Wait(mut second) = sources.enter(host(1)) else { panic!("no place is free") };
    let Entry::Wait(gone) = sources.enter(host(1)) else { panic!("no place is free") };
    let Entry::Wait(mut last) = sources.enter(host(1)) else { panic!("no place is free") };
    assert_eq!(sources.waiting(), 3);
    assert!(second.try_recv().is_err() && last.try_recv().is_err());
    drop(first);
    let second = second.try_recv().unwrap();
    assert!(last.try_recv().is_err());
    // A connection that was given up meanwhile passes its turn on.
    drop((gone, second));
    drop(last.try_recv().unwrap());
    assert!(is_quiet(&sources));
}

#[tokio::test(start_paused = true)]
async fn connections_that_had_to_be_ended_use_up_the_budget_of_their_host() {
    let sources = sources(1);
    let handshakes =
        BURST.as_secs_f64() * f64::from(AcceptorLimits::default().handshakes_per_second_of_address);
    let ended = handshakes / f64::from(ENDED_COST + 1);
    for _ in 0..ended.ceil() as u32 {
        drop(place(sources.enter(host(1))));
        sources.charge_ended(host(1));
    }
    drop(place(sources.enter(host(1))));
    assert!(matches!(sources.enter(host(1)), Entry::Wait(_)), "its place rests");
    place(sources.enter(host(2)));
}

#[test]
fn a_flood_of_waiting_connections_leaves_a_place_for_a_newcomer() {
    let sources = sources(1);
    let waiting_limit = AcceptorLimits::default().waiting;
    let mut held = Vec::new();
    for number in 0..20 {
        held.push(sources.enter(host(number)));
        while let entry @ Entry::Wait(_) = sources.enter(host(number)) {
            held.push(entry);
        }
    }
    assert_eq!(sources.waiting(), waiting_limit);
    let _place = place(sources.enter(host(99)));
    let newcomers: Vec<_> = (0..waiting_limit / 40).map(|_| sources.enter(host(99))).collect();
    assert!(newcomers.iter().all(|entry| matches!(entry, Entry::Wait(_))), "as others give way");
    assert_eq!(sources.waiting(), waiting_limit);
}

#[test]
fn number_of_waiting_connections_of_a_host_is_bounded() {
    let sources = sources(1);
    let _place = place(sources.enter(host(0)));
    let mut waiting: Vec<_> = std::iter::repeat_with(|| sources.enter(host(0)))
        .take_while(|entry| matches!(entry, Entry::Wait(_)))
        .collect();
    assert_eq!(waiting.len(), AcceptorLimits::default().waiting / 4);
    // Those that give up make room.
    waiting.remove(0);
    assert!(matches!(sources.enter(host(0)), Entry::Wait(_)));
}

#[test]
fn a_host_can_not_get_more_places_by_changing_the_lower_half_of_its_ipv6_address() {
    let sources = sources(1);
    let _place = place(sources.enter("2001:db8::1".parse().unwrap()));
    assert!(matches!(sources.enter("2001:db8::ffff:1".parse().unwrap()), Entry::Wait(_)));
    place(sources.enter("2001:db8:0:1::1".parse().unwrap()));
}

#[test]
fn strangers_leave_a_share_to_those_who_have_authenticated() {
    let limits = AcceptorLimits { handshakes: 8, handshakes_of_address: 2, ..AcceptorLimits::default() };
    let sources = Sources::new(limits);
    place(sources.enter(host(100))).authenticated();
    let strangers: Vec<_> = (0..3).flat_map(|n| [n, n]).map(|n| place(sources.enter(host(n)))).collect();
    assert!(matches!(sources.enter(host(3)), Entry::Wait(_)), "the strangers' share is used up");
    let known = [place(sources.enter(host(100))), place(sources.enter(host(100)))];
    drop((strangers, known));
    assert!(is_quiet(&sources));
}

#[test]
fn hosts_take_turns() {
    let limits = AcceptorLimits { handshakes: 1, handshakes_of_address: 1, ..AcceptorLimits::default() };
    let sources = Sources::new(limits);
    let first = place(sources.enter(host(0)));
    let wait = |number| match sources.enter(host(number)) {
        Entry::Wait(turn) => turn,
        other => panic!("{other:?}"),
    };
    let mut many: Vec<_> = (0..5).map(|_| wait(1)).collect();
    let mut single = wait(2);
    drop(first);
    drop(many[0].try_recv().unwrap());
    drop(single.try_recv().expect("the second host's turn comes after one of the first"));
    for turn in &mut many[1..] {
        drop(turn.try_recv().unwrap());
    }
    assert!(is_quiet(&sources));
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_handshakes_fail_waits_for_its_budget() {
    let limits = AcceptorLimits {
        handshakes_of_address: 1,
        handshakes_per_second_of_address: FAILED_COST,
        ..AcceptorLimits::default()
    };
    let sources = Sources::new(limits);
    let fail = || match sources.enter(host(1)) {
        Entry::Place(mut place) => place.failed(),
        other => panic!("{other:?}"),
    };
    // One failure a second is paid for, and a burst of ten.
    (0..10).for_each(|_| fail());
    assert_eq!(sources.resting(), 0);
    fail();
    let started = Instant::now();
    let Entry::Wait(turn) = sources.enter(host(1)) else { panic!("the place is kept") };
    place(sources.enter(host(2)));
    drop(turn.await.unwrap());
    assert!(started.elapsed() >= Duration::from_millis(990), "{:?}", started.elapsed());
    tokio::time::sleep(2 * BURST).await;
    // When it owes nothing any more, it has a burst again.
    (0..9).for_each(|_| fail());
    assert!(is_quiet(&sources));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_remembered_hosts_is_bounded() {
    let sources = sources(1);
    for number in 0..3 * u32::try_from(INDEBTED).unwrap() {
        place(sources.enter(host(number))).failed();
        assert!(sources.lock().by_source.len() <= 2 * INDEBTED);
    }
    assert!(is_quiet(&sources));
}
