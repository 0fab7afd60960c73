//! Unary calls, with a deadline and retries.

use http::uri::PathAndQuery;
use souk_enrolment::trust::fetch::MAX_TRUST_MESSAGE_BYTES;
use souk_proto::{
    Unary,
    v1::{account_service_server, admin_service_server, trust_service_server},
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{GrpcMethod, Status};
use tonic_prost::ProstCodec;

use super::Connection;
use crate::{
    Error,
    retry::{MAX_ATTEMPTS, Verdict, verdict, wait},
    timing::Timings,
};

/// The services that take no access token: one issues it, one is for operators, and one is also for parties that have not
/// registered.
const WITHOUT_TOKEN: [&str; 3] = [
    account_service_server::SERVICE_NAME,
    admin_service_server::SERVICE_NAME,
    trust_service_server::SERVICE_NAME,
];

impl Connection {
    /// Makes a unary call, with a deadline and retries. The type of the request decides the RPC.
    ///
    /// - The deadline ([`timeout`](Self::timeout)) covers everything and goes to the market as `grpc-timeout`.
    /// - An empty `request_id` is filled in once, before the first attempt. A retry sends the identical
    ///   message, so that the call takes effect once whatever happened to the first attempt (AIP-155).
    /// - A transient failure is retried after a back-off (see [`retry`](crate::retry)), within the connection's
    ///   [budget](crate::budget) of retries, or at once while the market has another address that is not known to fail. A
    ///   rejected token is renewed once.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn buy(connection: souk_client::Connection) -> Result<(), souk_client::Error> {
    /// use souk_proto::v1::BuyItemRequest;
    ///
    /// let request = BuyItemRequest { item_id: 7, quantity: 1, ..Default::default() };
    /// let bought = connection.call(request).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub async fn call<R: Unary>(&self, request: R) -> Result<R::Response, Error> {
        Ok(self.call_with_metadata(request).await?.into_inner())
    }

    /// Like [`call`](Self::call), but also returns the metadata of the answer, for example for
    /// [`answered_by`](Self::answered_by).
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub async fn call_with_metadata<R: Unary>(
        &self,
        mut message: R,
    ) -> Result<tonic::Response<R::Response>, Error> {
        if let Some(request_id) = message.request_id_mut().filter(|request_id| request_id.is_empty()) {
            // Before the loop: every attempt has to carry the same id.
            *request_id = self.request_id();
        }
        let attempts = self.shared.timings.as_ref().filter(|_| !self.is_silent).map(Timings::begin);
        let deadline = Instant::now() + self.timeout;
        let mut failed_attempts = 0;
        let mut moves = 0;
        let mut renewed = false;
        loop {
            let mut request = tonic::Request::new(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            if let Some(attempts) = &attempts {
                request.extensions_mut().insert(attempts.log());
            }
            let failure = match timeout_at(deadline, self.send(request)).await {
                Ok(Ok(response)) => {
                    self.shared.budget.answered();
                    return Ok(response);
                }
                Ok(Err(status)) => self.explain_by(deadline, status).await,
                Err(_) => Error::TimedOut { market: self.market().clone(), after: self.timeout },
            };
            if self.may_move(&failure, moves) {
                moves += 1;
                tracing::debug!(%failure, moves, "going on at another address");
                continue;
            }
            moves = 0;
            failed_attempts += 1;
            let wait = match verdict(&failure) {
                Verdict::Renew if !renewed => {
                    renewed = true;
                    continue;
                }
                Verdict::Repeat { at_least } if self.may_repeat(failed_attempts) => {
                    wait(at_least, failed_attempts, self.jitter())
                }
                Verdict::GiveUp if failure.refusal().is_some() => {
                    self.shared.budget.answered();
                    return Err(failure);
                }
                _ => return Err(failure),
            };
            // The real failure now says more than a timeout later.
            if Instant::now() + wait >= deadline {
                return Err(failure);
            }
            tracing::debug!(%failure, ?wait, failed_attempts, "trying again");
            sleep(wait).await;
        }
    }

    /// Takes a token from the connection's budget for a failed attempt. Returns whether there may be another one.
    fn may_repeat(&self, failed_attempts: u32) -> bool {
        // Taken for the last attempt too: it is a failure like the others.
        let is_within_budget = self.shared.budget.spend();
        is_within_budget && failed_attempts < MAX_ATTEMPTS
    }

    /// Like [`explain`](Self::explain), but looks into the cause only until the deadline.
    async fn explain_by(&self, deadline: Instant, status: Status) -> Error {
        let failure = Error::from_status(status, self.market(), self.timeout);
        let distrust = timeout_at(deadline, self.distrust_behind(&failure)).await;
        let failure = distrust.ok().flatten().unwrap_or(failure);
        let late = || Error::TimedOut { market: self.market().clone(), after: self.timeout };
        timeout_at(deadline, self.recovered(failure)).await.unwrap_or_else(|_| late())
    }

    /// Makes one attempt, as the generated clients do.
    async fn send<R: Unary>(
        &self,
        mut request: tonic::Request<R>,
    ) -> Result<tonic::Response<R::Response>, Status> {
        let session =
            if WITHOUT_TOKEN.contains(&R::SERVICE) { &self.shared.account } else { &self.shared.session };
        let mut client = tonic::client::Grpc::new(self.via(session));
        if R::SERVICE == trust_service_server::SERVICE_NAME {
            client = client.max_decoding_message_size(MAX_TRUST_MESSAGE_BYTES);
        }
        client
            .ready()
            .await
            .map_err(|error| Status::unknown(format!("the connection is not ready: {error}")))?;
        request.extensions_mut().insert(GrpcMethod::new(R::SERVICE, R::METHOD));
        let codec = ProstCodec::<R, R::Response>::default();
        client.unary(request, PathAndQuery::from_static(R::PATH), codec).await
    }
}
