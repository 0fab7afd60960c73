//! Registration of all services behind their guards.

use std::sync::Arc;

use souk_domain::Role;
use souk_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        account_service_server::AccountServiceServer, admin_service_server::AdminServiceServer,
        buyer_service_server::BuyerServiceServer, catalog_service_server::CatalogServiceServer,
        event_service_server::EventServiceServer, ride_service_server::RideServiceServer,
        seller_service_server::SellerServiceServer, session_service_server::SessionServiceServer,
    },
};
use tonic::{
    server::NamedService,
    service::{Routes, RoutesBuilder, interceptor::InterceptedService},
};
use tonic_health::pb::health_server::HealthServer;

use super::{
    AccountApi, AdminApi, Api, BuyerApi, CatalogApi, EventApi, HealthApi, RideApi, SellerApi, SessionApi,
};
use crate::access::{Access, Admission, Guard};

/// Maximum size of a request message in bytes. The largest valid request is many times smaller.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

const SELLERS: Admission = Admission::Token(&[Role::Seller]);
const BUYERS: Admission = Admission::Token(&[Role::Buyer]);
const EVERYBODY: Admission = Admission::Token(&[Role::Seller, Role::Buyer]);

/// Builds the routes of all services, each with its guard.
pub fn routes(access: &Arc<Access>, api: &Api) -> Result<Routes, tonic_reflection::server::Error> {
    let mut routes = RoutesBuilder::default();
    let mut served = Vec::new();
    macro_rules! serve {
        ($server:ident, $api:ident, $admission:expr) => {
            serve!($server, $api, $api(api.clone()), $admission)
        };
        ($server:ident, $api:ident, $made:expr, $admission:expr) => {{
            // Set the size first: `InterceptedService` does not expose the setter.
            let service = $server::new($made).max_decoding_message_size(MAX_REQUEST_BYTES);
            routes.add_service(InterceptedService::new(service, Guard::new(Arc::clone(access), $admission)));
            served.push(<$server<$api> as NamedService>::NAME);
        }};
    }
    serve!(AccountServiceServer, AccountApi, Admission::Certificate);
    serve!(SessionServiceServer, SessionApi, EVERYBODY);
    serve!(CatalogServiceServer, CatalogApi, EVERYBODY);
    serve!(SellerServiceServer, SellerApi, SELLERS);
    serve!(BuyerServiceServer, BuyerApi, BUYERS);
    serve!(RideServiceServer, RideApi, EVERYBODY);
    serve!(EventServiceServer, EventApi, EVERYBODY);
    let admin = AdminApi { api: api.clone(), access: Arc::clone(access) };
    serve!(AdminServiceServer, AdminApi, admin, Admission::Operator);
    let anybody = Guard::new(Arc::clone(access), Admission::Connection);
    let health =
        HealthServer::new(HealthApi::new(&api.parts, served)).max_decoding_message_size(MAX_REQUEST_BYTES);
    routes.add_service(InterceptedService::new(health, anybody.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(InterceptedService::new(reflection().build_v1()?, anybody.clone()));
    // Older tools, such as grpcurl before 1.8.8, support only the v1alpha service.
    routes.add_service(InterceptedService::new(reflection().build_v1alpha()?, anybody));
    Ok(routes.routes())
}
