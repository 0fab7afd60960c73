//! The sweep of markets that share a store, without a network.

use std::sync::atomic::{AtomicI64, AtomicUsize};

use async_trait::async_trait;
use souk_domain::{
    Act, Category, Description, DisplayName, ItemListing, ItemName, Money, OrderLine, OrderQuantity,
    Quantity, Role, Timestamp,
};
use souk_store::{
    ClockFinding, ClockReport, LeaseEpoch, SWEEP_STEP, Store, SweepLook, SweepPlace, SweepStep, memory,
};

use super::*;
use crate::{
    clock::{Clock, Monotonic},
    ledger::{Done, Lanes},
};

const DAY: i64 = 86_400_000_000;
const TODAY: i64 = 1_000;
const ALICE: u128 = 1;
const BOB: u128 = 2;

/// A pair of clocks, in microseconds; each test has its own.
macro_rules! clocks {
    () => {{
        static WALL: AtomicI64 = AtomicI64::new((TODAY - 1) * DAY);
        let ticks = Monotonic::new(|| Duration::from_micros(WALL.load(Ordering::SeqCst).unsigned_abs()));
        (&WALL, Clock::new(|| Timestamp(WALL.load(Ordering::SeqCst))), ticks)
    }};
}

/// A store with a ledger, for any number of sweepers.
struct Market {
    store: Store,
    lanes: Lanes,
    ledger: Ledger,
    clock: SteadyClock,
    /// Advances both clocks.
    time: &'static AtomicI64,
}

/// The sweep of a store that fails at a step.
struct Failing {
    inner: Arc<dyn Ranking>,
    steps: AtomicUsize,
    fails_at: usize,
}

#[async_trait]
impl Ranking for Failing {
    async fn claim_sweep(&self, request: SweepRequest) -> Result<SweepLook, StoreError> {
        self.inner.claim_sweep(request).await
    }

    async fn sweep(&self, day: i64, after: SweepPlace) -> Result<SweepStep, StoreError> {
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at {
            return Err(StoreError::unavailable("killed"));
        }
        self.inner.sweep(day, after).await
    }

    async fn advance_sweep(&self, epoch: LeaseEpoch, progress: SweepProgress) -> Result<bool, StoreError> {
        self.inner.advance_sweep(epoch, progress).await
    }
}

impl Market {
    /// Opens a market with items of one seller, of each of which a unit was sold yesterday.
    async fn open((time, wall, ticks): (&'static AtomicI64, Clock, Monotonic), items: usize) -> Self {
        let mut store = memory::open();
        let clock = SteadyClock::open(Arc::clone(&store.clocks), wall, ticks).await.unwrap();
        let lanes = std::mem::take(&mut store.lanes);
        let lanes = Lanes::start(lanes, &clock, Random::SYSTEM, || Box::new(|_| ())).unwrap();
        let ledger = lanes.ledgers().open(&AnswerQueue::open());
        let market = Self { store, lanes, ledger, clock, time };
        for (party, role) in [(ALICE, Role::Seller), (BOB, Role::Buyer)] {
            let display_name = DisplayName::parse(&format!("party {party}")).unwrap();
            market.act(party, action::Register { role, display_name, callback: None }).await;
        }
        for _ in 0..items {
            let item = market.act(ALICE, sell()).await.outcome.id;
            let line =
                OrderLine { item, quantity: OrderQuantity::parse(1).unwrap(), expected_unit_price: None };
            market.act(BOB, action::Buy(line)).await;
        }
        time.fetch_add(DAY, Ordering::SeqCst);
        market
    }

    async fn act<A: Act>(&self, caller: u128, action: A) -> Done<A::Outcome> {
        let command = Command {
            caller: PartyId(Uuid::from_u128(caller)),
            request: RequestKey {
                id: RequestId(Random::SYSTEM.uuid_v4()),
                fingerprint: Fingerprint([0; 16]),
            },
            validate_only: false,
            action,
            origin: Origin { role: "party", address: None },
        };
        self.ledger.submit(command).await.unwrap()
    }

    fn sweeper(&self) -> Sweeper {
        Sweeper::new(Arc::clone(&self.store.ranking), self.clock.clone(), Random::SYSTEM)
    }

    /// Returns a sweeper whose step with this number fails.
    fn failing(&self, fails_at: usize) -> Sweeper {
        let inner = Arc::clone(&self.store.ranking);
        let ranking = Arc::new(Failing { inner, steps: AtomicUsize::new(0), fails_at });
        Sweeper { ranking, ..self.sweeper() }
    }

    fn pass(&self, time: Duration) {
        self.time.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Returns how many items each command has ranked, according to the audit log.
    async fn batches(&self) -> Vec<String> {
        let lines = self.store.reads.audit(0, 100_000).await.unwrap();
        lines.into_iter().map(|row| row.line).filter(|line| line.contains("RankItems")).collect()
    }
}

fn sell() -> action::Sell {
    action::Sell(ItemListing {
        sku: None,
        name: ItemName::parse("Lamp").unwrap(),
        description: Description::parse("").unwrap(),
        category: Category::parse("home").unwrap(),
        unit_price: Money::price(1_250, "GBP").unwrap(),
        quantity: Quantity::parse_listing(1_000).unwrap(),
    })
}

#[tokio::test]
async fn of_two_markets_one_sweeps_and_once_a_day() {
    let market = Market::open(clocks!(), 3).await;
    let (one, other) = (market.sweeper(), market.sweeper());
    let looks = tokio::join!(one.look(&market.ledger), other.look(&market.ledger));
    assert!(looks.0.is_ok() && looks.1.is_ok());
    assert_eq!(
        (one.report.sweeps() + other.report.sweeps(), one.report.items() + other.report.items()),
        (1, 3)
    );
    for sweeper in [&one, &other] {
        market.pass(Duration::from_secs(3_600));
        sweeper.look(&market.ledger).await.unwrap();
        assert_eq!(sweeper.report.due_for(), Duration::ZERO, "it is done");
    }
    assert_eq!(one.report.sweeps() + other.report.sweeps(), 1);
    market.pass(Duration::from_secs(24 * 3_600));
    other.look(&market.ledger).await.unwrap();
    assert_eq!((one.report.sweeps() + other.report.sweeps(), market.batches().await.len()), (2, 1));
    let line = &market.batches().await[0];
    assert!(line.contains("\"market\"") && line.contains("3 items"), "{line}");
}

#[tokio::test]
async fn sweep_that_was_cut_short_is_continued_by_another_market() {
    let items = 2 * SWEEP_STEP + 10;
    let market = Market::open(clocks!(), items).await;
    let killed = market.failing(2);
    assert!(killed.look(&market.ledger).await.is_err());
    assert_eq!(killed.report.items(), SWEEP_STEP as u64);
    let other = market.failing(usize::MAX);
    other.look(&market.ledger).await.unwrap();
    assert_eq!(other.report.items(), 0, "it still belongs to the one that may only be slow");
    market.pass(LEASE);
    other.look(&market.ledger).await.unwrap();
    assert_eq!((other.report.sweeps(), other.report.items() as usize), (1, items - SWEEP_STEP));
    market.pass(LEASE);
    killed.look(&market.ledger).await.unwrap();
    assert_eq!(killed.report.sweeps(), 0, "the day is done");
}

/// A batch of the lane is short, and purchases come in between.
#[tokio::test]
async fn sweep_leaves_the_lane_to_others_between_small_batches() {
    let items = SWEEP_STEP + 10;
    let market = Market::open(clocks!(), items).await;
    market.sweeper().look(&market.ledger).await.unwrap();
    let batches = market.batches().await;
    assert_eq!(batches.len(), SWEEP_STEP / action::Rank::MAX_AT_ONCE + 1);
    let full = format!("{} items", action::Rank::MAX_AT_ONCE);
    assert!(batches[..batches.len() - 1].iter().all(|line| line.contains(&full)), "{batches:?}");
    let ended = Instant::now() + Duration::from_secs(10);
    drop(market.ledger);
    market.lanes.end(ended).await;
}

#[tokio::test]
async fn nothing_is_swept_while_the_clocks_disagree() {
    let (time, wall, ticks) = clocks!();
    let market = Market::open((time, wall, ticks), 1).await;
    let report = ClockReport { steady: None, wall: wall.now(), finding: ClockFinding::Jumped(-86_400) };
    market.store.clocks.exchange(report).await.unwrap();
    let clock = SteadyClock::open(Arc::clone(&market.store.clocks), wall, ticks).await.unwrap();
    let sweeper = Sweeper { clock, ..market.sweeper() };
    sweeper.look(&market.ledger).await.unwrap();
    assert_eq!(sweeper.report.sweeps(), 0, "it can't know which day it is");
    sweeper.clock.accept().await.unwrap();
    sweeper.look(&market.ledger).await.unwrap();
    assert_eq!(sweeper.report.sweeps(), 1);
}

/// The lanes wait for all ledgers at the end.
#[tokio::test]
async fn sweep_ends_with_the_market() {
    let market = Market::open(clocks!(), 1).await;
    let (sweeper, closing) = (market.sweeper(), CancellationToken::new());
    let report = sweeper.report();
    let running = tokio::spawn(sweeper.run(market.lanes.ledgers(), closing.clone()));
    let done = async {
        while report.sweeps() == 0 {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    time::timeout(Duration::from_secs(10), done).await.unwrap();
    closing.cancel();
    running.await.unwrap();
    drop(market.ledger);
    market.lanes.end(Instant::now() + Duration::from_secs(10)).await;
}
