//! The gRPC services, one file each: parse the request, submit it, format the response.
//!
//! The guard (`access`) has authenticated the caller before, and the rules (`souk_domain`) decide what is allowed.
//! Nothing here holds a transaction or a lock.

mod account;
mod admin;
mod archive;
mod buyer;
mod catalog;
mod dead_letters;
mod event;
mod health;
mod import;
mod reflection;
mod ride;
mod routes;
mod seller;
mod session;
mod stream;
mod sync;
mod talkers;
mod trust;

use std::sync::Arc;

pub use account::AccountApi;
pub use admin::AdminApi;
pub use buyer::BuyerApi;
pub use catalog::CatalogApi;
pub use event::EventApi;
pub use health::{HealthApi, Readiness};
pub use import::ImportPace;
pub use ride::RideApi;
pub use routes::routes;
pub use seller::SellerApi;
pub use session::SessionApi;
use souk_domain::{Act, AuditEntry, Command, Fingerprint, PartyId, RequestId, RequestKey};
use souk_proto::Reason;
use souk_search::Search;
use souk_store::{Archive, Consumers, DeadLetters, Mailboxes, Reads, StoreError, Tracks, WriteAheadLog};
use tokio_util::sync::CancellationToken;
use tonic::Status;
pub use trust::TrustApi;

use crate::{
    access::{CallbackPolicy, Caller, Epochs, Suspended, Tokens},
    accounts::Accounts,
    clock::{Clock, SteadyClock},
    config::RetentionConfig,
    ledger::{Done, Ledger, LedgerError, OVERLOAD_RETRY_DELAY},
    observe::{Activity, Tally, TopTalkers},
    random::Random,
    relay::RelayHandle,
    rides::RideNews,
    trust::TrustNews,
    watches::Watches,
    wire::{self, command::Parsed},
};

/// The numbers of open streams, by call. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OpenStreams {
    /// Of WatchSearch.
    pub searches: Tally,
    /// Of SyncInventory.
    pub tills: Tally,
}

/// The components that the services use, shared by all server threads.
pub struct Parts {
    /// Queries to the store, which never wait for the ledger.
    pub reads: Arc<dyn Reads>,
    /// The accounts of parties, in memory.
    pub accounts: Accounts,
    /// The mailboxes with pending deliveries.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// The named consumers of the mailboxes.
    pub consumers: Arc<dyn Consumers>,
    /// What the mailboxes have dropped.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The recorded positions of rides.
    pub tracks: Arc<dyn Tracks>,
    /// Removal of what operators have archived.
    pub archive: Arc<dyn Archive>,
    /// How long finished orders and audit entries are kept.
    pub retention: RetentionConfig,
    /// Wakes the watchers of a ride when there are new positions.
    pub rides: RideNews,
    /// The authority's newest trust bundle, which is passed on to clients.
    pub trust: TrustNews,
    /// The open streams that nothing else counts.
    pub streams: OpenStreams,
    /// The pace of imports.
    pub imports: ImportPace,
    /// The search index of this market.
    pub search: Search,
    /// The watched searches.
    pub watches: Watches,
    /// The handle to the delivery of events.
    pub relay: RelayHandle,
    /// Issues access tokens, and is shared with the guards.
    pub tokens: Arc<Tokens>,
    /// Decides which callback addresses may be registered.
    pub callbacks: CallbackPolicy,
    /// The suspended parties, whose items are left out of search results.
    pub suspended: Suspended,
    /// The epochs of parties, in which tokens are issued.
    pub epochs: Epochs,
    /// The wall clock for times in commands and responses.
    pub clock: Clock,
    /// The steady clock, by which data ages.
    pub steady: SteadyClock,
    /// The source of new ids.
    pub random: Random,
    /// Cancelled when the market shuts down. It ends the streams that have no end of their own.
    pub closing: CancellationToken,
    /// Whether the market is ready, for the health service.
    pub readiness: Readiness,
    /// The orders of the last hour.
    pub activity: Activity,
    /// The parties that use this market most.
    pub talkers: TopTalkers,
    /// Returns the number of commands that wait for the ledger.
    pub queued: Box<dyn Fn() -> usize + Send + Sync>,
    /// The size of the store's write-ahead log; `None` if it has none of its own.
    pub log: Option<WriteAheadLog>,
}

/// The state that the services share on one server thread.
#[derive(Clone)]
pub struct Api {
    parts: Arc<Parts>,
    ledger: Ledger,
}

impl Api {
    /// Creates the state for the server thread to which `ledger` returns its results.
    pub fn new(parts: Arc<Parts>, ledger: Ledger) -> Self {
        Self { parts, ledger }
    }

    /// Submits a command of the caller and waits for its outcome.
    async fn carry_out<A: Act>(&self, caller: &Caller, parsed: Parsed<A>) -> Result<A::Outcome, Status> {
        let command = parsed.by(caller.party, caller.origin());
        let Done { outcome, feed_position, replayed } = self.submit(command).await?;
        let feed_position = match feed_position {
            // The outcome of a replay was committed earlier, at a position that is no longer known, and possibly at
            // another market. The current end of the feed is a safe upper bound for what the caller's next search
            // must show.
            None if replayed => Some(read(self.reads().feed_end().await)?),
            position => position,
        };
        // Before the answer is returned: the caller's next search may arrive as soon as it has it.
        if let Some(position) = feed_position {
            self.parts.search.remember(caller.party, position);
        }
        Ok(outcome)
    }

    /// Wraps an idempotent action, which needs no request id from the caller.
    fn parsed<A>(&self, action: A) -> Parsed<A> {
        let id = self.parts.random.uuid_v7(self.parts.clock.now());
        let request = RequestKey { id: RequestId(id), fingerprint: Fingerprint([0; 16]) };
        Parsed { request, validate_only: false, action }
    }

    /// Adds an entry to the audit log for what an operator does without a command.
    fn note(&self, entry: AuditEntry) -> Result<(), Status> {
        if self.ledger.note(entry) { Ok(()) } else { Err(wire::ledger_error(&LedgerError::Overloaded)) }
    }

    async fn submit<A: Act>(&self, command: Command<A>) -> Result<Done<A::Outcome>, Status> {
        self.ledger.submit(command).await.map_err(|error| wire::ledger_error(&error))
    }

    /// Runs one step of a stream to a party. Fails if the market shuts down or the party has been suspended
    /// meanwhile: the guard checks a call only at its start.
    async fn unless_suspended<T>(
        &self,
        party: PartyId,
        step: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let taken = tokio::select! {
            taken = step => taken?,
            () = self.parts.closing.cancelled() => {
                let message = "the market is shutting down; begin again in a moment";
                return Err(wire::try_again(Reason::Unavailable, message, OVERLOAD_RETRY_DELAY));
            }
        };
        if self.parts.suspended.contains(party) { Err(wire::suspended()) } else { Ok(taken) }
    }

    fn reads(&self) -> &dyn Reads {
        &*self.parts.reads
    }
}

fn read<T>(result: Result<T, StoreError>) -> Result<T, Status> {
    result.map_err(|error| wire::store_error(&error))
}
