//! SessionService: reports how the market has identified the caller.

use data_encoding::HEXLOWER;
use souk_domain::Refusal;
use souk_proto::v1::{self, session_service_server::SessionService};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{access::Caller, wire};

/// The implementation of SessionService.
pub struct SessionApi(pub Api);

#[async_trait]
impl SessionService for SessionApi {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let caller = Caller::of(&request)?;
        let party = read(self.0.reads().party(caller.party).await)?
            .ok_or_else(|| wire::refusal(&Refusal::NotRegistered))?;
        let certificate = &caller.certificate;
        Ok(Response::new(v1::WhoAmIResponse {
            certificate: Some(v1::CertificateInfo {
                spiffe_id: certificate.spiffe_id().to_owned(),
                serial_number: HEXLOWER.encode(certificate.serial()),
                sha256_thumbprint: HEXLOWER.encode(certificate.thumbprint()),
                not_before: Some(wire::timestamp_of(certificate.not_before())),
                not_after: Some(wire::timestamp_of(certificate.not_after())),
            }),
            token: caller.token.as_ref().map(|token| v1::TokenInfo {
                token_id: token.id.to_string(),
                issue_time: Some(wire::timestamp(token.issued_at)),
                expire_time: Some(wire::timestamp(token.expires_at)),
            }),
            account: Some(wire::account(&party)),
            peer_address: caller.peer.to_string(),
        }))
    }
}
