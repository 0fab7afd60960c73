//! A market with several addresses: calls are spread over them, and fail over when one fails.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use souk_cli::{
    Audience,
    doctor::{Outcome, examine},
};
use souk_client::{
    ClientConfig, Connection, Error, Notice, Seen,
    balance::{ATTEMPT_DELAY, FROZEN_INTERVAL, FROZEN_TIMEOUT},
    error::{Distrust, Objection},
    follow::follow,
};
use souk_proto::{
    Reason,
    v1::{SubscribeResponse, TestEventRequest, WhoAmIRequest, subscribe_response::Message},
};
use souk_testkit::gate::Gate;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

use crate::{
    market::{Market, refusal, refusal_for},
    world::{Party, World, next, notice_of, test_notice},
};

/// The maximum duration of a call that need not wait for anything, on a busy machine.
const SLACK: Duration = Duration::from_secs(1);
/// The deadline for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Fresh connections, each of which starts at a random address: enough to hit all of them.
const FRESH: usize = 32;

/// Two markets that act as two addresses of one, each behind a gate.
struct Pair {
    world: World,
    other: Market,
    gates: [Gate; 2],
    alice: Party,
}

impl Pair {
    async fn open() -> Self {
        let world = World::open().await;
        let other = Market::open(&world.market_party.credentials).await;
        let gates = [Gate::open(world.market.address).await, Gate::open(other.address).await];
        let alice = world.party("seller/alice");
        Self { world, other, gates, alice }
    }

    fn markets(&self) -> [&Market; 2] {
        [&self.world.market, &self.other]
    }

    fn connect(&self) -> Connection {
        connect(&self.world, &self.alice, &[self.gates[0].address, self.gates[1].address])
    }

    /// Returns the number of calls that each market has received.
    fn calls(&self) -> [usize; 2] {
        self.markets().map(|market| market.script().calls.len())
    }

    /// Calls until both have been called.
    async fn warm_up(&self, connection: &Connection) {
        let both = async {
            while self.calls().contains(&0) {
                load(connection, 8, 1).await;
            }
        };
        timeout(PATIENCE, both).await.expect("both markets are called");
    }
}

fn config(world: &World, party: &Party, addresses: &[SocketAddr]) -> ClientConfig {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    ClientConfig { market: addresses.join(",").parse().expect("addresses"), ..world.config(party) }
}

fn connect(world: &World, party: &Party, addresses: &[SocketAddr]) -> Connection {
    Connection::with_credentials(&config(world, party, addresses), &party.credentials).expect("opened")
}

async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    listener.local_addr().expect("an address")
}

async fn who_am_i(connection: &Connection) -> Result<(), Error> {
    connection.call(WhoAmIRequest {}).await.map(drop)
}

/// Makes a mutating call, and returns its id.
async fn change(connection: &Connection) -> Result<String, Error> {
    let request_id = connection.request_id();
    let request = TestEventRequest { request_id: request_id.clone(), ..TestEventRequest::default() };
    connection.call(request).await?;
    Ok(request_id)
}

/// Makes `calls` calls from each of `callers` concurrent callers, all of which must succeed.
async fn load(connection: &Connection, callers: usize, calls: usize) {
    let callers = (0..callers).map(|_| async {
        for _ in 0..calls {
            change(connection).await.expect("no call fails");
        }
    });
    futures::future::join_all(callers).await;
}

#[tokio::test]
async fn a_dead_address_does_not_hold_the_first_call_up() {
    let world = World::open().await;
    let (alice, dead) = (world.party("seller/alice"), dead_address().await);
    for _ in 0..FRESH {
        let connection = connect(&world, &alice, &[dead, world.market.address]);
        let begin = Instant::now();
        who_am_i(&connection).await.expect("the other address answers");
        assert!(begin.elapsed() < SLACK, "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn when_all_addresses_are_dead_each_is_named() {
    let world = World::open().await;
    let (alice, dead) = (world.party("seller/alice"), [dead_address().await, dead_address().await]);
    let failure = who_am_i(&connect(&world, &alice, &dead)).await.expect_err("nobody is there");
    assert!(matches!(failure, Error::NoneReached(_)), "{failure:?}");
    for address in dead {
        assert!(failure.to_string().contains(&address.to_string()), "{failure}");
    }
    assert!(failure.to_string().contains("refused"), "{failure}");
    assert!(souk_cli::hint(&failure).expect("a hint").contains("--market"));
    assert_eq!(souk_cli::exit::of_error(&failure), 6);
}

#[tokio::test]
async fn an_address_that_swallows_everything_costs_a_moment_and_no_more() {
    let pair = Pair::open().await;
    pair.gates[0].freeze(true);
    for _ in 0..FRESH / 4 {
        let connection = pair.connect();
        let begin = Instant::now();
        who_am_i(&connection).await.expect("the other address answers");
        assert!(begin.elapsed() < ATTEMPT_DELAY + SLACK, "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_market_that_freezes_holds_calls_up_for_a_bounded_time() {
    let pair = Pair::open().await;
    let connection = pair.connect();
    pair.warm_up(&connection).await;
    pair.gates[0].freeze(true);
    let begin = Instant::now();
    load(&connection, 8, 2).await;
    let bound = FROZEN_INTERVAL + FROZEN_TIMEOUT + SLACK;
    assert!(begin.elapsed() < bound, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn calls_at_the_same_time_are_spread_with_one_token_and_calls_in_a_row_are_not() {
    let pair = Pair::open().await;
    let connection = pair.connect();
    for _ in 0..20 {
        change(&connection).await.expect("answered");
    }
    assert!(pair.calls().contains(&20), "what was changed is seen where it was changed: {:?}", pair.calls());
    pair.warm_up(&connection).await;
    let before = pair.calls();
    load(&connection, 16, 20).await;
    let after = pair.calls();
    let share = [after[0] - before[0], after[1] - before[1]];
    assert_eq!(share[0] + share[1], 320);
    assert!(share.iter().all(|calls| *calls >= 80), "{share:?}");
    let issued: u32 = pair.markets().iter().map(|market| market.script().issued).sum();
    assert_eq!(issued, 1, "a token is good at every address");
}

#[tokio::test]
async fn an_address_that_dies_under_load_fails_no_call_and_has_its_share_when_it_is_back() {
    let mut pair = Pair::open().await;
    let connection = pair.connect();
    pair.warm_up(&connection).await;
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (connection, done) = (connection.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    ids.push(change(&connection).await.expect("no call fails"));
                }
                ids
            })
        })
        .collect();
    for round in 0..3 {
        let [at_first, at_other] = pair.calls();
        pair.markets()[1].until("load", |script| script.calls.len() > at_other + 50).await;
        pair.gates[0].shut().await;
        let at_other = pair.calls()[1];
        pair.markets()[1].until("load", |script| script.calls.len() > at_other + 50).await;
        pair.gates[0].reopen().await;
        let before = pair.calls()[0];
        pair.markets()[0].until("the share", |script| script.calls.len() > before + 50).await;
        assert!(before >= at_first, "round {round}");
    }
    done.store(true, Ordering::Relaxed);
    let mut known = HashSet::new();
    for market in pair.markets() {
        known.extend(market.script().calls.iter().map(|call| call.request_id.clone()));
    }
    for caller in callers {
        for id in caller.await.expect("no panic") {
            assert!(known.contains(&id), "{id} was answered and is nowhere");
        }
    }
}

#[tokio::test]
async fn a_market_that_drains_is_left_at_once_with_the_same_request_id() {
    let pair = Pair::open().await;
    let connection = pair.connect();
    pair.warm_up(&connection).await;
    // A caller that waited for that would run into its deadline.
    let draining = refusal_for(Reason::Unavailable, Duration::from_secs(3_600));
    for market in pair.markets() {
        market.script().calls.clear();
    }
    pair.world.market.script().test_event.extend(vec![draining; 64]);
    load(&connection, 8, 8).await;
    let [refused, answered] = pair.markets().map(|market| {
        market.script().calls.iter().map(|call| call.request_id.clone()).collect::<HashSet<_>>()
    });
    assert_eq!(answered.len(), 64);
    assert!(!refused.is_empty() && refused.is_subset(&answered), "{refused:?}");
}

#[tokio::test]
async fn when_all_are_unavailable_a_call_waits_as_with_one() {
    let pair = Pair::open().await;
    let connection = pair.connect();
    for market in pair.markets() {
        market.script().test_event.extend(vec![refusal(Reason::Unavailable); 2]);
    }
    change(&connection).await.expect("the third round succeeds");
    assert!(pair.calls().iter().sum::<usize>() >= 3);
}

fn sent(party: &Party, sequence: i64, id: &str) -> Vec<Result<SubscribeResponse, tonic::Status>> {
    let message = Some(Message::Event(test_notice(party, sequence, id)));
    vec![Ok(SubscribeResponse { message })]
}

#[tokio::test]
async fn a_stream_goes_on_at_the_other_address_with_its_cursor_and_without_a_pause() {
    let mut pair = Pair::open().await;
    for market in pair.markets() {
        market.script().streams.push_back(sent(&pair.alice, 3, "a"));
    }
    let (follower, mut notices) = follow(pair.connect(), Seen::in_memory());
    assert_eq!(notice_of(&mut notices).await.take().event_id, "a");
    let here = usize::from(pair.markets()[0].script().cursors.is_empty());
    pair.markets()[1 - here].script().streams = [sent(&pair.alice, 4, "b")].into();
    pair.gates[here].shut().await;
    // No interruption is reported.
    assert_eq!(notice_of(&mut notices).await.take().event_id, "b");
    assert_eq!(pair.markets()[1 - here].script().cursors, [3]);
    pair.gates[1 - here].shut().await;
    match next(&mut notices).await {
        Notice::Interrupted { failure, .. } => assert!(failure.is_transient(), "{failure}"),
        other => panic!("{other:?}"),
    }
    pair.markets()[here].script().streams = [sent(&pair.alice, 5, "c")].into();
    pair.gates[here].reopen().await;
    loop {
        match next(&mut notices).await {
            Notice::Event(delivery) => break assert_eq!(delivery.take().event_id, "c"),
            Notice::Interrupted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    follower.close().await;
}

#[tokio::test]
async fn distrust_at_one_address_is_reported_while_the_other_answers() {
    let (world, stranger) = (World::open().await, World::open().await);
    let alice = world.party("seller/alice");
    let failures = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..FRESH {
        let connection = connect(&world, &alice, &[stranger.market.address, world.market.address]);
        let reported = Arc::clone(&failures);
        connection.on_distrust(move |failure| reported.lock().expect("the list").push(failure.to_string()));
        for _ in 0..2 {
            who_am_i(&connection).await.expect("the other address answers");
        }
    }
    let failures = failures.lock().expect("the list");
    assert!(!failures.is_empty() && failures.len() <= FRESH, "once for each connection: {}", failures.len());
    let address = stranger.market.address.to_string();
    assert!(
        failures.iter().all(|text| text.contains(&address) && text.contains("authority")),
        "{failures:?}"
    );
}

#[tokio::test]
async fn distrust_comes_before_what_may_pass_and_other_credentials_are_tried_at_once() {
    let (world, other) = (World::open().await, World::open().await);
    let stranger = other.party("seller/alice").trusting(&world);
    let credentials = souk_certs::credentials::Credentials::load(
        &stranger.files,
        world.market_party.credentials.trust_domain(),
        souk_certs::clock::now(),
    )
    .expect("loaded");
    let dead = dead_address().await;
    let config = config(&world, &stranger, &[dead, world.market.address]);
    let connection = Connection::with_credentials(&config, &credentials).expect("opened");
    let failure = who_am_i(&connection).await.expect_err("one distrusts, one is dead");
    assert_eq!(souk_cli::exit::of_error(&failure), 4, "{failure}");
    let Error::NoneReached(failures) = &failure else { panic!("{failure:?}") };
    let distrust = Distrust::Ours(Objection::UnknownAuthority);
    assert!(failures.iter().any(|f| matches!(f, Error::Untrusted { distrust: d, .. } if *d == distrust)));
    assert!(failure.to_string().contains(&dead.to_string()), "{failure}");

    connection.take_up(&world.party("seller/alice").credentials).expect("taken up");
    let refused = who_am_i(&connection).await.expect_err("the certificate is another party's");
    let reason = refused.refusal().and_then(|refusal| refusal.reason());
    assert_eq!(reason, Some(Reason::PartyIdInvalid), "the market let it in: {refused}");
}

#[tokio::test]
async fn the_doctor_says_which_address_is_bad_and_examines_the_others() {
    let (world, stranger) = (World::open().await, World::open().await);
    world.market.script().echo_to_stream = true;
    let dead = dead_address().await;
    let addresses = [dead, world.market.address, stranger.market.address];
    let findings = examine(&config(&world, &world.party("seller/alice"), &addresses), Audience::Seller).await;
    let of = |check: &str| -> Vec<_> {
        let found = findings.iter().filter(|finding| finding.check == check);
        found.map(|finding| (finding.outcome, finding.detail.clone())).collect()
    };
    let outcomes = |check: &str| of(check).into_iter().map(|(outcome, _)| outcome).collect::<Vec<_>>();
    assert_eq!(outcomes("tcp"), [Outcome::Fail(6), Outcome::Pass, Outcome::Pass], "{findings:#?}");
    assert_eq!(outcomes("tls"), [Outcome::Skip, Outcome::Pass, Outcome::Fail(4)], "{findings:#?}");
    assert_eq!(outcomes("identity"), [Outcome::Skip, Outcome::Pass, Outcome::Skip], "{findings:#?}");
    assert_eq!(outcomes("events"), [Outcome::Pass], "{findings:#?}");
    for check in ["tcp", "tls", "clock", "identity"] {
        for (address, (_, detail)) in addresses.iter().zip(of(check)) {
            assert!(detail.contains(&address.to_string()), "{check}: {detail}");
        }
    }
}
