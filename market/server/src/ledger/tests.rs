//! Tests of a lane whose store is slow, full, unreadable or does not respond.

mod fairness;
mod feed_positions;
mod repetitions;
mod store_failures;

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use souk_domain::{
    Category, Description, DisplayName, Fingerprint, ItemId, ItemListing, ItemName, Keys, Money, Origin,
    PartyId, Quantity, RequestId, RequestKey, Role, TillName, WorkingSet,
};
use souk_store::{SaveError, StoreError, memory};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;

/// A party whose row can't be read.
const UNREADABLE: u128 = u128::MAX;

/// A party whose row the database's constraints reject, if it is saved together with others or alone.
const REJECTED: u128 = u128::MAX - 1;

/// A party that is rejected only together with others: its row contradicts another row of the batch.
const QUARRELSOME: u128 = u128::MAX - 2;

/// An item whose row is locked by another market.
const HELD: ItemId = ItemId(7);

/// The outcome of the next saves.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Ending {
    Well,
    Lost,
    /// The disk is full.
    Full,
    /// Every commit collides with a row that another market, or the batch itself, has inserted.
    Rejected,
    /// The commit happens, but its outcome is reported as unknown.
    CommittedUnconfirmed,
    /// The commit is sent, and nothing comes back.
    NeverAnswers,
    /// One conflict with another market, and then success.
    Collides,
}

/// The controls and observations of a test while the lane runs.
struct Controls {
    ending: AtomicU8,
    /// Each load takes one permit, so that a test controls when it happens.
    loads: Semaphore,
    batches: AtomicUsize,
    saves: AtomicUsize,
    largest: AtomicUsize,
    /// Commits whose outcome was reported as unknown.
    doubts: AtomicUsize,
}

/// The memory back end with injected faults.
struct Faulty {
    inner: Box<dyn Lane>,
    controls: Arc<Controls>,
}

#[async_trait]
impl Lane for Faulty {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        self.controls.loads.acquire().await.map_err(StoreError::unavailable)?.forget();
        self.controls.batches.fetch_add(1, Ordering::SeqCst);
        self.controls.largest.fetch_max(keys.requests.len(), Ordering::SeqCst);
        if keys.parties.contains(&party(UNREADABLE)) {
            return Err(StoreError::corrupt("a party of another age"));
        }
        if keys.items.contains(&HELD) {
            return Err(StoreError::Held("another market is slow".into()));
        }
        self.inner.load(keys).await
    }

    async fn held(&mut self, keys: &Keys) -> Result<Keys, StoreError> {
        let items = keys.items.iter().copied().filter(|id| *id == HELD).collect();
        Ok(Keys { items, ..Keys::default() })
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        self.controls.saves.fetch_add(1, Ordering::SeqCst);
        let new: Vec<_> = rows.parties.changes().map(|(id, _)| id).collect();
        let is_rejected =
            new.contains(&party(REJECTED)) || new.contains(&party(QUARRELSOME)) && new.len() > 1;
        if is_rejected {
            self.inner.abandon().await;
            return Err(SaveError::Lost(StoreError::Rejected("UNIQUE constraint failed".into())));
        }
        match self.controls.ending.load(Ordering::SeqCst) {
            lost if lost == Ending::Lost as u8 => {
                self.inner.abandon().await;
                Err(SaveError::Lost(StoreError::unavailable("the disk is full")))
            }
            silent if silent == Ending::NeverAnswers as u8 => std::future::pending().await,
            full if full == Ending::Full as u8 => {
                self.inner.abandon().await;
                Err(SaveError::Lost(StoreError::Full("no space left".into())))
            }
            rejected if rejected == Ending::Rejected as u8 && new.len() > 1 => {
                self.inner.abandon().await;
                Err(SaveError::Conflict(StoreError::Rejected("duplicate key".into())))
            }
            collides if collides == Ending::Collides as u8 => {
                self.controls.ending.store(Ending::Well as u8, Ordering::SeqCst);
                self.inner.abandon().await;
                Err(SaveError::Conflict(StoreError::unavailable("another market was faster")))
            }
            unconfirmed if unconfirmed == Ending::CommittedUnconfirmed as u8 => {
                self.inner.save(rows).await?;
                Err(SaveError::Indefinite(StoreError::unavailable("the connection broke")))
            }
            _ => self.inner.save(rows).await,
        }
    }

    async fn abandon(&mut self) {
        self.inner.abandon().await;
    }

    async fn confirm(&mut self, replays: usize) -> Result<(), SaveError> {
        if self.controls.ending.load(Ordering::SeqCst) == Ending::CommittedUnconfirmed as u8 {
            return Err(SaveError::Indefinite(StoreError::unavailable("the standby does not answer")));
        }
        self.inner.confirm(replays).await
    }
}

fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

/// Registers a party; the request id is the party's number.
fn register(number: u128) -> Command {
    Command {
        caller: party(number),
        request: RequestKey {
            id: RequestId(Uuid::from_u128(number)),
            fingerprint: Fingerprint([number.to_le_bytes()[0]; 16]),
        },
        validate_only: false,
        origin: Origin { role: "seller", address: None },
        action: Action::Register(action::Register {
            role: Role::Seller,
            display_name: DisplayName::parse(&format!("seller {number}")).unwrap(),
            callback: None,
        }),
    }
}

/// Returns a command of a registered party, which wishes for an item.
fn wish(number: u128, item: ItemId) -> Command {
    Command { action: Action::Wish(action::Wish { item }), ..register(number) }
}

/// Returns a command of a registered party, with a request id of its own.
fn command(number: u128, request: u128, action: Action) -> Command {
    let registered = register(number);
    let request = RequestKey { id: RequestId(Uuid::from_u128(request)), ..registered.request };
    Command { request, action, ..registered }
}

/// Returns a command of a registered party, which opens its till, with a request id of its own as every stream has.
fn open_till(number: u128, request: u128) -> Command {
    let till = TillName::parse("counter-1").unwrap();
    command(number, request, Action::OpenTill(action::OpenTill { till }))
}

fn lamp() -> ItemListing {
    ItemListing {
        sku: None,
        name: ItemName::parse("Lamp").unwrap(),
        description: Description::parse("").unwrap(),
        category: Category::parse("home").unwrap(),
        unit_price: Money::price(100, "GBP").unwrap(),
        quantity: Quantity::parse(1).unwrap(),
    }
}

struct LocalMarket {
    lanes: Lanes,
    ledger: Ledger,
    controls: Arc<Controls>,
}

impl LocalMarket {
    /// Creates a fixture with permits for this many loads.
    fn open(loads: usize) -> Self {
        let controls = Arc::new(Controls {
            ending: AtomicU8::new(Ending::Well as u8),
            loads: Semaphore::new(loads),
            batches: AtomicUsize::new(0),
            saves: AtomicUsize::new(0),
            largest: AtomicUsize::new(0),
            doubts: AtomicUsize::new(0),
        });
        let inner = memory::open().lanes.remove(0);
        let clock = SteadyClock::unstored(Clock::SYSTEM);
        let lane: Box<dyn Lane> = Box::new(Faulty { inner, controls: Arc::clone(&controls) });
        let lanes = Lanes::start(vec![lane], &clock, Random::SYSTEM, || {
            let controls = Arc::clone(&controls);
            Box::new(move |commit| {
                controls.doubts.fetch_add(usize::from(commit.is_none()), Ordering::SeqCst);
            })
        });
        let lanes = lanes.unwrap();
        let ledger = lanes.ledgers().open(&AnswerQueue::open());
        Self { lanes, ledger, controls }
    }

    fn end(&self, ending: Ending) {
        self.controls.ending.store(ending as u8, Ordering::SeqCst);
    }

    fn submit(&self, command: Command) -> tokio::task::JoinHandle<Answer> {
        let ledger = self.ledger.clone();
        tokio::spawn(async move { ledger.submit(command).await })
    }

    /// Keeps the lane busy with one command, so that further ones wait in the queue. There must be no permit for its
    /// load yet.
    async fn keep_busy(&self, command: Command) -> tokio::task::JoinHandle<Answer> {
        let first = self.submit(command);
        tokio::task::yield_now().await;
        self.until_queued(0).await;
        first
    }

    /// Queues commands, which will be executed as one batch when the lane is free.
    async fn queue<C: IntoIterator<Item = Command>>(
        &self,
        commands: C,
    ) -> Vec<tokio::task::JoinHandle<Answer>> {
        let queued: Vec<_> = commands.into_iter().map(|command| self.submit(command)).collect();
        tokio::task::yield_now().await;
        self.until_queued(queued.len()).await;
        queued
    }

    /// Waits until the lane has taken the queued commands into a batch, or all of them are in the queue.
    async fn until_queued(&self, commands: usize) {
        while self.lanes.queued()() != commands {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_waits_while_a_batch_is_carried_out_becomes_one_batch() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let others = ground.queue((2..102).map(register)).await;
    ground.controls.loads.add_permits(2);
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(ground.controls.batches.load(Ordering::SeqCst), 2);
    assert_eq!(ground.controls.largest.load(Ordering::SeqCst), 100);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    let ground = LocalMarket::open(0);
    let first = ground.keep_busy(register(1)).await;
    let last = LANE_QUEUE as u128 + 1;
    let waiting = ground.queue((2..=last).map(register)).await;

    let refused = ground.ledger.submit(register(last + 1)).await;
    assert!(matches!(refused, Err(LedgerError::Overloaded)), "{refused:?}");

    ground.controls.loads.add_permits(LANE_QUEUE);
    for accepted in std::iter::once(first).chain(waiting) {
        accepted.await.unwrap().unwrap();
    }
    ground.ledger.submit(register(last + 1)).await.unwrap();
    assert!(ground.controls.largest.load(Ordering::SeqCst) <= LANE_BATCH);
}

#[tokio::test]
async fn a_lost_batch_says_so_and_can_be_sent_again() {
    let ground = LocalMarket::open(100);
    ground.end(Ending::Lost);
    let lost = ground.ledger.submit(register(1)).await;
    assert!(matches!(lost, Err(LedgerError::Unavailable)), "{lost:?}");
    ground.end(Ending::Well);
    ground.ledger.submit(register(1)).await.unwrap();
}

#[tokio::test]
async fn an_unconfirmed_commit_is_not_called_a_failure_and_is_not_done_twice() {
    let ground = LocalMarket::open(100);
    ground.end(Ending::CommittedUnconfirmed);
    let unknown = ground.ledger.submit(register(1)).await;
    assert!(matches!(unknown, Err(LedgerError::Indefinite)), "{unknown:?}");
    assert_eq!(ground.controls.doubts.load(Ordering::SeqCst), 1, "nothing in memory is relied on any more");
    ground.end(Ending::Lost);
    // It took effect: the retry is answered from the stored outcome, and nothing is saved.
    ground.ledger.submit(register(1)).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing_about_its_command() {
    let ground = LocalMarket::open(0);
    let caller = ground.keep_busy(register(1)).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    ground.controls.loads.add_permits(2);
    ground.ledger.submit(register(2)).await.unwrap();
    ground.end(Ending::Lost);
    ground.controls.loads.add_permits(1);
    ground.ledger.submit(register(1)).await.expect("it was carried out: this is the replay of its answer");
}

#[tokio::test]
async fn a_store_that_is_gone_fails_the_call_and_the_queue_is_worked_off_before_the_end() {
    let ground = LocalMarket::open(0);
    ground.controls.loads.close();
    let refused = ground.ledger.submit(register(1)).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable)), "{refused:?}");

    let ground = LocalMarket::open(0);
    let waiting: Vec<_> = (1..10).map(|number| ground.submit(register(number))).collect();
    tokio::task::yield_now().await;
    ground.controls.loads.add_permits(10);
    let LocalMarket { lanes, ledger, .. } = ground;
    drop(ledger);
    for accepted in waiting {
        accepted.await.unwrap().unwrap();
    }
    lanes.end(soon()).await;
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn a_batch_that_collides_is_decided_anew() {
    let ground = LocalMarket::open(100);
    ground.end(Ending::Collides);
    ground.ledger.submit(register(1)).await.unwrap();
    assert_eq!(ground.controls.batches.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_replay_is_answered_when_it_is_confirmed() {
    let ground = LocalMarket::open(100);
    ground.ledger.submit(register(1)).await.unwrap();
    ground.end(Ending::CommittedUnconfirmed);
    let unknown = ground.ledger.submit(register(1)).await;
    assert!(matches!(unknown, Err(LedgerError::Indefinite)), "{unknown:?}");
    ground.end(Ending::Well);
    ground.ledger.submit(register(1)).await.unwrap();
}

/// A till skips the lines up to the number in the answer, so the standby must have them.
#[tokio::test]
async fn a_till_that_is_opened_again_is_answered_when_it_is_confirmed() {
    let ground = LocalMarket::open(100);
    ground.ledger.submit(register(1)).await.unwrap();
    ground.ledger.submit(open_till(1, 10)).await.unwrap();
    ground.end(Ending::CommittedUnconfirmed);
    let unknown = ground.ledger.submit(open_till(1, 11)).await;
    assert!(matches!(unknown, Err(LedgerError::Indefinite)), "{unknown:?}");
    ground.end(Ending::Well);
    ground.ledger.submit(open_till(1, 12)).await.unwrap();
}
