//! TrustService: passes the authority's newest trust bundle on to clients. Bundles prove themselves, so a client need
//! not trust the market for them.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use souk_proto::{
    Reason,
    v1::{self, trust_service_server::TrustService},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::Api;
use crate::{ledger::OVERLOAD_RETRY_DELAY, trust::Passed, wire};

/// The implementation of TrustService.
pub struct TrustApi(pub Api);

/// A client that waits for the bundle after the one that it has.
struct Watcher {
    newest: watch::Receiver<Option<Arc<Passed>>>,
    known_sequence: i64,
    closing: CancellationToken,
}

impl Watcher {
    async fn next(&mut self) -> Result<v1::WatchTrustResponse, Status> {
        let (newest, known) = (&mut self.newest, self.known_sequence);
        let is_newer =
            |passed: &Option<Arc<Passed>>| passed.as_ref().is_some_and(|passed| passed.sequence > known);
        let found = self.closing.run_until_cancelled(newest.wait_for(is_newer)).await;
        // The sender is dropped with the market's other parts.
        let passed = found.and_then(Result::ok).and_then(|passed| passed.clone());
        let passed = passed.ok_or_else(|| {
            let message = "the market is shutting down; begin again in a moment";
            wire::try_again(Reason::Unavailable, message, OVERLOAD_RETRY_DELAY)
        })?;
        self.known_sequence = passed.sequence;
        Ok(v1::WatchTrustResponse { bundle: Some(passed.signed.clone()) })
    }
}

#[async_trait]
impl TrustService for TrustApi {
    type WatchTrustStream = Pin<Box<dyn Stream<Item = Result<v1::WatchTrustResponse, Status>> + Send>>;

    /// Returns the newest bundle alone. It is signed with the key of each of its roots, and a client that has verified this
    /// connection trusts one of them.
    async fn get_trust(
        &self,
        request: Request<v1::GetTrustRequest>,
    ) -> Result<Response<v1::GetTrustResponse>, Status> {
        let known = request.into_inner().known_sequence;
        let newest = self.0.parts.trust.newest().borrow().clone();
        let latest_sequence = newest.as_ref().map_or(0, |passed| passed.sequence);
        let bundles = newest.filter(|passed| passed.sequence > known);
        let bundles = bundles.map(|passed| passed.signed.clone()).into_iter().collect();
        Ok(Response::new(v1::GetTrustResponse { bundles, latest_sequence }))
    }

    async fn watch_trust(
        &self,
        request: Request<v1::WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        let watcher = Watcher {
            newest: self.0.parts.trust.newest(),
            known_sequence: request.into_inner().known_sequence,
            closing: self.0.parts.closing.clone(),
        };
        let steps = stream::try_unfold(watcher, |mut watcher| async move {
            let bundle = watcher.next().await?;
            Ok(Some((bundle, watcher)))
        });
        Ok(Response::new(steps.boxed()))
    }
}
