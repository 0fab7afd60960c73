//! SessionService: reports how the market has identified the caller.

use souk_domain::Refusal;
use souk_proto::v1::{self, session_service_server::SessionService};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::{Caller, TokenInfo},
    wire,
};

/// The implementation of SessionService.
pub struct SessionApi(pub Api);

#[async_trait]
impl SessionService for SessionApi {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let caller = Caller::of(&request)?;
        let party = read(self.0.parts.accounts.find(caller.party).await)?
            .ok_or_else(|| wire::refusal(&Refusal::NotRegistered))?;
        Ok(Response::new(v1::WhoAmIResponse {
            certificate: Some(wire::certificate(&caller.certificate)),
            token: caller.token.as_ref().map(token_info),
            account: Some(wire::account(&party)),
            peer_address: caller.peer.to_string(),
        }))
    }
}

fn token_info(token: &TokenInfo) -> v1::TokenInfo {
    v1::TokenInfo {
        token_id: token.id.to_string(),
        issue_time: Some(wire::timestamp(token.issued_at)),
        expire_time: Some(wire::timestamp(token.expires_at)),
    }
}
