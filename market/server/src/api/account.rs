//! AccountService: registration and tokens.

use souk_domain::{Callback, Party, Refusal, Registered, Role, action};
use souk_proto::{
    Reason,
    v1::{self, account_service_server::AccountService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{Api, read};
use crate::{
    access::{Caller, IssuedToken},
    wire::{
        self,
        command::{self, Parsed, Registration},
    },
};

/// The implementation of AccountService.
pub struct AccountApi(pub Api);

#[async_trait]
impl AccountService for AccountApi {
    async fn register_seller(
        &self,
        request: Request<v1::RegisterSellerRequest>,
    ) -> Result<Response<v1::RegisterSellerResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let registration = command::register_seller(request.into_inner())?;
        let account = self.register(&caller, Role::Seller, registration).await?;
        Ok(Response::new(v1::RegisterSellerResponse { account: Some(account) }))
    }

    async fn register_buyer(
        &self,
        request: Request<v1::RegisterBuyerRequest>,
    ) -> Result<Response<v1::RegisterBuyerResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let registration = command::register_buyer(request.into_inner())?;
        let account = self.register(&caller, Role::Buyer, registration).await?;
        Ok(Response::new(v1::RegisterBuyerResponse { account: Some(account) }))
    }

    async fn issue_token(
        &self,
        request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssueTokenResponse>, Status> {
        let caller = Caller::of(&request)?;
        // From the store: the token must have the party's present epoch, even if another market has just raised it.
        let party = read(self.0.reads().party(caller.party).await)?
            .ok_or_else(|| wire::refusal(&Refusal::NotRegistered))?;
        let issued = self.issue(caller, &party)?;
        // A party that fetches a token is online, so retry its pending deliveries now instead of after the back-off.
        self.0.parts.relay.probe(party.id);
        Ok(Response::new(token_response(&issued)))
    }
}

impl AccountApi {
    fn issue(&self, caller: &Caller, party: &Party) -> Result<IssuedToken, Status> {
        let parts = &self.0.parts;
        let (now, id) = (parts.clock.now(), parts.random.uuid_v4());
        // Another market may have raised it: the token must be valid here at once.
        parts.epochs.note(party.id, party.epoch);
        let issued = parts.tokens.issue(&caller.certificate, party.id, party.role, party.epoch, (now, id));
        issued.map_err(|error| wire::internal(&error.to_string()))
    }

    async fn register(
        &self,
        caller: &Caller,
        role: Role,
        registration: Registration,
    ) -> Result<v1::Account, Status> {
        if caller.role != role {
            let certificate = caller.role.as_str();
            return Err(wire::status(
                Reason::RoleDenied,
                format!("a {certificate}'s certificate can't register a {}", role.as_str()),
                [("role", certificate.to_owned())],
            ));
        }
        let Registration { request, validate_only, display_name, callback } = registration;
        // A replay must return the first outcome, even if the callback can't be reached now.
        let repeated = match &callback {
            Some(_) => read(self.0.reads().request(caller.party, request.id).await)?.is_some(),
            None => false,
        };
        let callback = if repeated { None } else { self.prove(caller, callback).await? };
        let action = action::Register { role, display_name, callback };
        let Registered(party) = self.0.carry_out(caller, Parsed { request, validate_only, action }).await?;
        Ok(wire::account(&party))
    }

    /// Checks a callback address, and probes it to prove that the caller itself listens there.
    async fn prove(
        &self,
        caller: &Caller,
        callback: Option<v1::CallbackAddress>,
    ) -> Result<Option<Callback>, Status> {
        let Some(address) = callback else { return Ok(None) };
        let parts = &self.0.parts;
        let callback =
            parts.callbacks.resolve(caller.party, (&address.host, address.port), caller.peer).await?;
        parts.relay.probe_callback(&callback, caller.role, caller.party).await.map_err(|failure| {
            wire::status(
                Reason::CallbackUnreachable,
                format!("your callback server at port {} did not answer: {failure}", callback.port),
                [],
            )
        })?;
        Ok(Some(callback))
    }
}

fn token_response(issued: &IssuedToken) -> v1::IssueTokenResponse {
    v1::IssueTokenResponse {
        access_token: issued.token.reveal().to_owned(),
        expire_time: Some(wire::timestamp(issued.expires_at)),
        issue_time: Some(wire::timestamp(issued.issued_at)),
    }
}
