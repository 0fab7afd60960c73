//! AdminService: administration by operators.

use std::sync::Arc;

use souk_domain::{Outcome, Party, PartyId};
use souk_proto::v1::{self, admin_service_server::AdminService};
use souk_store::Standing;
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{Api, read, unexpected};
use crate::{
    access::{Access, Operator},
    wire::{
        self, PageToken,
        command::{self, Parsed},
    },
};

/// The implementation of AdminService.
pub struct AdminApi {
    pub(super) api: Api,
    pub(super) access: Arc<Access>,
}

#[async_trait]
impl AdminService for AdminApi {
    async fn list_parties(
        &self,
        request: Request<v1::ListPartiesRequest>,
    ) -> Result<Response<v1::ListPartiesResponse>, Status> {
        Operator::of(&request)?;
        let request = request.into_inner();
        let limit = wire::page_size(request.page_size)?;
        let token = PageToken::of(&[b"ListParties", &[u8::from(request.suspended_only)]]);
        let after: Option<Uuid> = token.read(&request.page_token)?;
        let parties = self.api.reads().parties(after.map(PartyId), request.suspended_only, limit + 1).await;
        let mut parties = read(parties)?;
        let next = super::cut(&mut parties, limit, |party| party.id.0);
        Ok(Response::new(v1::ListPartiesResponse {
            parties: parties.iter().map(wire::party_record).collect(),
            next_page_token: next.map(|next| token.write(&next)).unwrap_or_default(),
        }))
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
}

impl AdminApi {
    /// Submits the command. The commit hook makes the change take effect.
    async fn change(&self, operator: Operator, parsed: Parsed) -> Result<Party, Status> {
        let done = self.api.submit(parsed.by(operator.id, operator.origin())).await?;
        let party = match done.outcome {
            Outcome::Party(party) => party,
            other => return Err(unexpected(&other)),
        };
        if done.replayed {
            // The operator may repeat a call because the first one's outcome was unknown. Then the commit hook may
            // not have run, so apply the party's current state here.
            let now = read(self.api.reads().party(party.id).await)?.unwrap_or_else(|| party.clone());
            let standing = Standing::of(&now);
            self.access.take_note(&standing);
            if standing.is_suspended {
                self.api.parts.relay.end_stream(standing.party);
            }
        }
        Ok(party)
    }
}
