//! Requests that were carried out before, on a store that notices them when it saves: none is looked up before.

use super::*;
use souk_domain::OrderQuantity;

/// The SQLite back end, and how many requests were loaded.
struct Watched {
    inner: Box<dyn Lane>,
    loaded: Arc<AtomicUsize>,
}

#[async_trait]
impl Lane for Watched {
    async fn load(&mut self, keys: &Keys) -> Result<WorkingSet, StoreError> {
        self.loaded.fetch_add(keys.requests.len(), Ordering::SeqCst);
        self.inner.load(keys).await
    }

    fn notices_repetitions(&self) -> bool {
        self.inner.notices_repetitions()
    }

    async fn has_requests(&mut self, requests: &[(PartyId, RequestId)]) -> Result<bool, StoreError> {
        self.inner.has_requests(requests).await
    }

    async fn save(&mut self, rows: &WorkingSet) -> Result<Receipt, SaveError> {
        self.inner.save(rows).await
    }

    async fn abandon(&mut self) {
        self.inner.abandon().await;
    }

    async fn confirm(&mut self, replays: usize) -> Result<(), SaveError> {
        self.inner.confirm(replays).await
    }
}

struct Shop {
    ledger: Ledger,
    loaded: Arc<AtomicUsize>,
    _lanes: Lanes,
    _folder: tempfile::TempDir,
}

const LAST: ItemId = ItemId(1);
const MANY: ItemId = ItemId(2);

impl Shop {
    /// Opens a shop with one piece of an item, and several of another.
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = souk_store::sqlite::open(&folder.path().join("shop.db")).unwrap();
        let loaded = Arc::default();
        let lane = Box::new(Watched { inner: store.lanes.remove(0), loaded: Arc::clone(&loaded) });
        let clock = SteadyClock::unstored(Clock::SYSTEM);
        let lanes = Lanes::start(vec![lane], &clock, Random::SYSTEM, || Box::new(|_| {})).unwrap();
        let ledger = lanes.ledgers().open(&AnswerQueue::open());
        ledger.submit(register(1)).await.unwrap();
        let several = ItemListing { quantity: Quantity::parse(100).unwrap(), ..lamp() };
        for (request, listing) in [(10, lamp()), (11, several)] {
            ledger.submit(command(1, request, Action::Sell(action::Sell(listing)))).await.unwrap();
        }
        Self { ledger, loaded, _lanes: lanes, _folder: folder }
    }

    async fn answers(&self, commands: Vec<Command>) -> Vec<Answer> {
        futures::future::join_all(commands.into_iter().map(|command| self.ledger.submit(command))).await
    }
}

fn buy(request: u128, item: ItemId) -> Command {
    let line = OrderLine { item, quantity: OrderQuantity::parse(1).unwrap(), expected_unit_price: None };
    command(1, request, Action::Buy(action::Buy(line)))
}

fn done(answer: &Answer) -> (&Outcome, bool) {
    let done = answer.as_ref().unwrap();
    (&done.outcome, done.replayed)
}

#[tokio::test]
async fn repetition_is_noticed_although_it_was_not_looked_up() {
    let shop = Shop::open().await;
    let first = shop.answers((100..120).map(|request| buy(request, MANY)).collect()).await;
    assert_eq!(shop.loaded.load(Ordering::SeqCst), 0, "nothing is looked up");
    // Old and new ones in one batch, and one of them twice.
    let again = shop.answers(vec![buy(119, MANY), buy(120, MANY), buy(100, MANY), buy(120, MANY)]).await;
    assert_eq!(done(&again[0]), (done(&first[19]).0, true));
    assert_eq!(done(&again[2]), (done(&first[0]).0, true));
    assert_eq!(done(&again[1]).0, done(&again[3]).0);
    let Outcome::Order(order) = done(&again[1]).0 else { panic!("an order") };
    assert_eq!(order.id.0, 21, "each request took effect once");
    let reused = shop.answers(vec![buy(119, LAST)]).await.remove(0);
    assert_eq!(done(&reused).0, done(&first[19]).0, "as the fingerprint says");
    assert!(shop.loaded.load(Ordering::SeqCst) > 0, "after a repetition, more are expected");
}

/// The first purchase is why the repetition would be refused.
#[tokio::test]
async fn repetition_that_would_be_refused_has_the_first_outcome() {
    let shop = Shop::open().await;
    let first = shop.answers(vec![buy(100, LAST)]).await.remove(0);
    let again = shop.answers(vec![buy(100, LAST), buy(101, LAST), buy(102, MANY)]).await;
    assert_eq!(done(&again[0]), (done(&first).0, true));
    assert!(
        matches!(again[1], Err(LedgerError::Refused(Refusal::OutOfStock { .. }))),
        "another is refused: {again:?}"
    );
    assert!(!done(&again[2]).1);
    let check = Command { validate_only: true, ..buy(100, LAST) };
    assert_eq!(done(&shop.answers(vec![check]).await[0]), (done(&first).0, true));
}
