//! The market with a guard that admits every call. The difference to the real market is the cost of the guard.

use std::sync::Arc;

use souk_certs::{acceptor::PeerInfo, identity};
use souk_domain::{PartyId, Role, Timestamp};
use souk_proto::v1::{
    account_service_server::AccountServiceServer, session_service_server::SessionServiceServer,
};
use souk_server::{
    access::{Caller, TokenInfo},
    api::{AccountApi, SessionApi},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::{RoutesBuilder, interceptor::InterceptedService},
};
use uuid::Uuid;

use crate::process::{self, ServeArgs};

pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let (app, _log) = process::open_market(args, "unguarded.db").await?;
    let serving = app.run_with(CancellationToken::new(), |_, api| {
        let mut routes = RoutesBuilder::default();
        let (account, session) = (AccountApi(api.clone()), SessionApi(api));
        routes.add_service(InterceptedService::new(AccountServiceServer::new(account), pass));
        routes.add_service(InterceptedService::new(SessionServiceServer::new(session), pass));
        Ok(routes.routes())
    });
    Ok(serving.await?)
}

/// Builds the `Caller` that handlers need, without any check.
fn pass(mut request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<PeerInfo>().ok_or_else(|| Status::internal("no connection"))?;
    let identity = peer.certificate.identity();
    let role = if identity.role() == identity::Role::Seller { Role::Seller } else { Role::Buyer };
    let token = TokenInfo { id: Uuid::nil(), issued_at: Timestamp(0), expires_at: Timestamp(0) };
    let caller = Caller {
        was_elsewhere: false,
        party: PartyId(identity.uuid().unwrap_or_default()),
        role,
        certificate: Arc::clone(&peer.certificate),
        peer: peer.address,
        token: Some(token),
    };
    request.extensions_mut().insert(caller);
    Ok(request)
}
