//! AdminService: administration by operators.

use std::sync::Arc;

use souk_domain::{Act, Origin, Party, PartyId};
use souk_proto::v1::{self, admin_service_server::AdminService};
use souk_store::{Standing, WriteAheadLog};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api,
    archive::{self, Archived},
    read,
};
use crate::{
    access::{Access, Operator},
    audit::clock_accepted,
    wire::{
        self,
        command::{self, Parsed},
        query,
    },
};

/// The implementation of AdminService.
pub struct AdminApi {
    pub(super) api: Api,
    pub(super) access: Arc<Access>,
}

#[async_trait]
impl AdminService for AdminApi {
    type ArchiveStream = Archived;

    async fn list_parties(
        &self,
        request: Request<v1::ListPartiesRequest>,
    ) -> Result<Response<v1::ListPartiesResponse>, Status> {
        Operator::of(&request)?;
        let request = request.into_inner();
        let page = query::list_parties(&request)?;
        let after = page.after.map(PartyId);
        let parties = self.api.reads().parties(after, request.suspended_only, page.rows()).await;
        let (parties, next_page_token) = page.fill(&read(parties)?, |party| party.id.0, wire::party_record);
        Ok(Response::new(v1::ListPartiesResponse { parties, next_page_token }))
    }

    async fn list_mailboxes(
        &self,
        request: Request<v1::ListMailboxesRequest>,
    ) -> Result<Response<v1::ListMailboxesResponse>, Status> {
        Operator::of(&request)?;
        Ok(Response::new(self.api.list_mailboxes(request.get_ref()).await?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        Operator::of(&request)?;
        Ok(Response::new(self.api.list_dead_letters(request.get_ref()).await?))
    }

    async fn redeliver(
        &self,
        request: Request<v1::RedeliverRequest>,
    ) -> Result<Response<v1::RedeliverResponse>, Status> {
        let operator = Operator::of(&request)?;
        Ok(Response::new(self.api.redeliver(operator, request.into_inner()).await?))
    }

    async fn suspend(
        &self,
        request: Request<v1::SuspendRequest>,
    ) -> Result<Response<v1::SuspendResponse>, Status> {
        let operator = Operator::of(&request)?;
        let party = self.change(operator, command::suspend(request.into_inner())?).await?;
        Ok(Response::new(v1::SuspendResponse { party: Some(wire::party_record(&party)) }))
    }

    async fn reinstate(
        &self,
        request: Request<v1::ReinstateRequest>,
    ) -> Result<Response<v1::ReinstateResponse>, Status> {
        let operator = Operator::of(&request)?;
        let party = self.change(operator, command::reinstate(request.into_inner())?).await?;
        Ok(Response::new(v1::ReinstateResponse { party: Some(wire::party_record(&party)) }))
    }

    async fn get_clock(
        &self,
        request: Request<v1::GetClockRequest>,
    ) -> Result<Response<v1::GetClockResponse>, Status> {
        Operator::of(&request)?;
        let clock = Some(wire::clock_state(&self.api.parts.steady));
        Ok(Response::new(v1::GetClockResponse { clock }))
    }

    async fn accept_clock(
        &self,
        request: Request<v1::AcceptClockRequest>,
    ) -> Result<Response<v1::AcceptClockResponse>, Status> {
        let operator = Operator::of(&request)?;
        let (parts, Origin { role, address }) = (&self.api.parts, operator.origin());
        let (steady, who) = (&parts.steady, format!("{role}/{}", operator.id));
        // Noted first: a pause must not end without a trace because the queue is full.
        self.api.note(clock_accepted(parts.clock.now(), who, address))?;
        read(steady.accept().await)?;
        Ok(Response::new(v1::AcceptClockResponse { clock: Some(wire::clock_state(steady)) }))
    }

    async fn stats(&self, request: Request<v1::StatsRequest>) -> Result<Response<v1::StatsResponse>, Status> {
        Operator::of(&request)?;
        let totals = read(self.api.reads().totals().await)?;
        let revenue = read(self.api.reads().revenue().await)?;
        let parts = &self.api.parts;
        let queued_command_count = i64::try_from((parts.queued)()).unwrap_or(i64::MAX);
        let subscriber_count = i32::try_from(parts.relay.subscribers()).unwrap_or(i32::MAX);
        let log = parts.log.as_ref().map_or(0, WriteAheadLog::bytes);
        let write_ahead_log_bytes = i64::try_from(log).unwrap_or(i64::MAX);
        let stats = wire::stats(&totals, &revenue, parts.activity.started(), parts.activity.orders());
        Ok(Response::new(v1::StatsResponse {
            queued_command_count,
            subscriber_count,
            write_ahead_log_bytes,
            ..stats
        }))
    }

    async fn list_top_talkers(
        &self,
        request: Request<v1::ListTopTalkersRequest>,
    ) -> Result<Response<v1::ListTopTalkersResponse>, Status> {
        Operator::of(&request)?;
        Ok(Response::new(self.api.list_top_talkers(request.get_ref()).await?))
    }

    async fn archive(
        &self,
        request: Request<v1::ArchiveRequest>,
    ) -> Result<Response<Self::ArchiveStream>, Status> {
        Operator::of(&request)?;
        archive::open(self.api.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn prune_archived(
        &self,
        request: Request<v1::PruneArchivedRequest>,
    ) -> Result<Response<v1::PruneArchivedResponse>, Status> {
        let operator = Operator::of(&request)?;
        archive::prune(self.api.clone(), operator, request.into_inner()).await.map(Response::new)
    }
}

impl AdminApi {
    /// Submits the command. The commit hook makes the change take effect.
    async fn change<A>(&self, operator: Operator, parsed: Parsed<A>) -> Result<Party, Status>
    where
        A: Act<Outcome = Party>,
    {
        let done = self.api.submit(parsed.by(operator.id, operator.origin())).await?;
        let party = done.outcome;
        if done.replayed {
            // The operator may repeat a call because the first one's outcome was unknown. Then the commit hook may
            // not have run, so apply the party's current state here.
            let now = read(self.api.reads().party(party.id).await)?.unwrap_or_else(|| party.clone());
            let standing = Standing::of(&now);
            self.access.note_standing(&standing);
            if standing.is_suspended {
                self.api.parts.relay.end_stream(standing.party);
            }
        }
        Ok(party)
    }
}
