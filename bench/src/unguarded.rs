//! Markets with a guard that checks nothing.
//!
//! One knows the caller by its certificate: the difference to the real market is the cost of the guard. The other one
//! lets a call act as any buyer, so that a few connections can act for any number of them.

use std::sync::Arc;

use souk_certs::identity;
use souk_domain::{PartyId, Role, Timestamp};
use souk_proto::v1::{
    account_service_server::AccountServiceServer, buyer_service_server::BuyerServiceServer,
    catalog_service_server::CatalogServiceServer, seller_service_server::SellerServiceServer,
    session_service_server::SessionServiceServer,
};
use souk_server::{
    access::{Caller, KnownPeer, TokenInfo},
    api::{AccountApi, BuyerApi, CatalogApi, SellerApi, SessionApi},
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

/// Metadata that names the buyer that a call acts as, at a market started by [`serve_anyone`].
pub(crate) const ACTING: &str = "x-acting-buyer";

/// Serves what traders need. The caller is the buyer named by [`ACTING`]; without it, the party of the certificate.
pub(crate) async fn serve_anyone(args: ServeArgs) -> anyhow::Result<()> {
    let stop = process::stopped_by_sigterm()?;
    let (app, _log) = process::open_market(args, "souk.db").await?;
    let serving = app.run_with(stop, |_, api| {
        let mut routes = RoutesBuilder::default();
        macro_rules! serve {
            ($server:ident, $api:ident) => {
                routes.add_service(InterceptedService::new($server::new($api(api.clone())), act));
            };
        }
        serve!(AccountServiceServer, AccountApi);
        serve!(SessionServiceServer, SessionApi);
        serve!(CatalogServiceServer, CatalogApi);
        serve!(SellerServiceServer, SellerApi);
        serve!(BuyerServiceServer, BuyerApi);
        Ok(routes.routes())
    });
    Ok(serving.await?)
}

fn act(request: Request<()>) -> Result<Request<()>, Status> {
    let named = request.metadata().get(ACTING).map(|value| value.to_str().ok()?.parse().ok());
    let mut request = pass(request)?;
    if let Some(named) = named {
        let buyer: Uuid = named.ok_or_else(|| Status::invalid_argument("the acting buyer is not a UUID"))?;
        if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
            caller.party = PartyId(buyer);
            caller.role = Role::Buyer;
        }
    }
    Ok(request)
}

/// Builds the `Caller` that handlers need, without any check.
fn pass(mut request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<KnownPeer>().ok_or_else(|| Status::internal("no connection"))?;
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
