//! All services behind their guards.

use std::sync::Arc;

use souk_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        account_service_server::AccountServiceServer, buyer_service_server::BuyerServiceServer,
        catalog_service_server::CatalogServiceServer, event_service_server::EventServiceServer,
        seller_service_server::SellerServiceServer, session_service_server::SessionServiceServer,
    },
};
use tonic::service::{Routes, RoutesBuilder, interceptor::InterceptedService};

use super::{AccountApi, Api, BuyerApi, CatalogApi, EventApi, SellerApi, SessionApi};
use crate::{
    access::{Access, Admission, Guard},
    domain::Role,
};

/// The largest request, in bytes. Every request of the contract fits many times over.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

const SELLERS: Admission = Admission::Token(&[Role::Seller]);
const BUYERS: Admission = Admission::Token(&[Role::Buyer]);
const EVERYBODY: Admission = Admission::Token(&[Role::Seller, Role::Buyer]);

/// All services. Health and reflection ask for no more than the certificate that every connection has.
pub async fn routes(access: &Arc<Access>, api: &Api) -> Result<Routes, tonic_reflection::server::Error> {
    let mut routes = RoutesBuilder::default();
    let (health, health_service) = tonic_health::server::health_reporter();
    macro_rules! serve {
        ($server:ident, $api:ident, $admission:expr) => {{
            // The size has to be set before the interceptor hides the setter.
            let service = $server::new($api(api.clone())).max_decoding_message_size(MAX_REQUEST_BYTES);
            routes.add_service(InterceptedService::new(service, Guard::new(Arc::clone(access), $admission)));
            health.set_serving::<$server<$api>>().await;
        }};
    }
    serve!(AccountServiceServer, AccountApi, Admission::Certificate);
    serve!(SessionServiceServer, SessionApi, EVERYBODY);
    serve!(CatalogServiceServer, CatalogApi, EVERYBODY);
    serve!(SellerServiceServer, SellerApi, SELLERS);
    serve!(BuyerServiceServer, BuyerApi, BUYERS);
    serve!(EventServiceServer, EventApi, EVERYBODY);
    routes.add_service(health_service);
    routes.add_service(
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?,
    );
    Ok(routes.routes())
}
