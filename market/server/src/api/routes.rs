//! Registration of all services behind their guards.

use std::sync::Arc;

use prost::DecodeError;
use souk_domain::Role;
use souk_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        account_service_server::AccountServiceServer, admin_service_server::AdminServiceServer,
        buyer_service_server::BuyerServiceServer, catalog_service_server::CatalogServiceServer,
        event_service_server::EventServiceServer, ride_service_server::RideServiceServer,
        seller_service_server::SellerServiceServer, session_service_server::SessionServiceServer,
        trust_service_server::TrustServiceServer,
    },
};
use tonic::{
    codec::CompressionEncoding,
    server::NamedService,
    service::{Routes, RoutesBuilder, interceptor::InterceptedService},
};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::pb::{v1, v1alpha};

use super::{
    AccountApi, AdminApi, Api, BuyerApi, CatalogApi, EventApi, HealthApi, RideApi, SellerApi, SessionApi,
    TrustApi,
    reflection::{Reflection, Schema},
};
use crate::access::{Access, Admission, AwaitKeys, Guard};

/// Maximum size of a request message in bytes. The largest valid request is many times smaller.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

const SELLERS: Admission = Admission::Token(&[Role::Seller]);
const BUYERS: Admission = Admission::Token(&[Role::Buyer]);
const EVERYBODY: Admission = Admission::Token(&[Role::Seller, Role::Buyer]);

/// What reflection describes: the services, and the details that statuses carry (`google/rpc/error_details.proto` and
/// `status.proto`), without which tools can't print them.
const REFLECTED: &[&[u8]] = &[
    FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    v1::FILE_DESCRIPTOR_SET,
    v1alpha::FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
];

/// Builds the routes of all services, each with its guard.
pub fn routes(access: &Arc<Access>, api: &Api) -> Result<Routes, DecodeError> {
    let mut routes = RoutesBuilder::default();
    let mut served = Vec::new();
    macro_rules! accept {
        ($service:expr) => {
            $service
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
        };
    }
    macro_rules! serve {
        ($server:ident, $api:ident, $admission:expr) => {
            serve!($server, $api, $api(api.clone()), $admission)
        };
        ($server:ident, $api:ident, $made:expr, $admission:expr) => {{
            // Set first: `InterceptedService` does not expose the setters. The size also bounds what a compressed request
            // becomes. Answers are compressed by the transport, which knows their size.
            let service = accept!($server::new($made));
            let guarded = InterceptedService::new(service, Guard::new(Arc::clone(access), $admission));
            routes.add_service(AwaitKeys::new(guarded, Arc::clone(access), $admission));
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
    serve!(TrustServiceServer, TrustApi, Admission::Connection);
    let anybody = Guard::new(Arc::clone(access), Admission::Connection);
    let health = accept!(HealthServer::new(HealthApi::new(&api.parts, served)));
    routes.add_service(InterceptedService::new(health, anybody.clone()));
    let reflection = Reflection::new(Schema::of(REFLECTED)?, api.parts.closing.clone());
    let service = v1::server_reflection_server::ServerReflectionServer::new(reflection.clone());
    routes.add_service(InterceptedService::new(accept!(service), anybody.clone()));
    // Older tools, such as grpcurl before 1.8.8, support only the v1alpha service.
    let service = v1alpha::server_reflection_server::ServerReflectionServer::new(reflection);
    routes.add_service(InterceptedService::new(accept!(service), anybody));
    Ok(routes.routes())
}
