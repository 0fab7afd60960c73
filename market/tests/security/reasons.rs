//! Every error has a reason, also those that the gRPC library makes, in headers and in trailers.

use prost::Message as _;
use souk_certs::identity::Role;
use souk_proto::{Reason, v1};
use souk_testkit::actor::Actor;
use tonic::{Request, Status, metadata::MetadataValue};

use crate::{
    fixture::{Fixture, attacks, reason},
    raw::{Pass, call, calls},
};

attacks!(
    deadline_of_a_stream,
    message_that_is_another,
    malformed_message_within_a_stream,
    metadata_just_above_the_limit,
    unknown_service_of_the_health_check,
);

async fn bob(fixture: &Fixture) -> Pass {
    Pass::of(fixture, &fixture.bob).await
}

/// The stream has begun, so its status comes in the trailers.
async fn deadline_of_a_stream(fixture: &Fixture) {
    let pass = bob(fixture).await;
    let mut request = pass.request(v1::WatchSearchRequest::default().encode_to_vec());
    request.metadata_mut().insert("grpc-timeout", MetadataValue::from_static("500m"));
    let ended = calls(pass.channel(), request, "/shopping.v1.CatalogService/WatchSearch").await;
    assert_eq!(reason(ended), Reason::DeadlineExceeded);
}

async fn message_that_is_another(fixture: &Fixture) {
    // Field 1 is the id of an item, and not a message.
    let body = vec![0x0a, 2, 8, 1];
    let refused = bob(fixture).await.call("/shopping.v1.CatalogService/GetItem", body).await;
    assert_eq!(reason(refused), Reason::RequestMalformed);
}

async fn malformed_message_within_a_stream(fixture: &Fixture) {
    let pass = Pass::of(fixture, &fixture.alice).await;
    let refused = pass.call("/shopping.v1.SellerService/ImportItems", vec![0xff; 8]).await;
    assert_eq!(reason(refused), Reason::RequestMalformed);
}

async fn metadata_just_above_the_limit(fixture: &Fixture) {
    let pass = bob(fixture).await;
    let with = |bytes: usize| {
        let mut request: Request<Vec<u8>> = pass.request(Vec::new());
        request.metadata_mut().insert("x-large", "x".repeat(bytes).parse().unwrap());
        call(pass.channel(), request, "/shopping.v1.SessionService/WhoAmI")
    };
    with(12 * 1024).await.unwrap();
    assert_eq!(reason(with(16 * 1024).await), Reason::MetadataTooLarge);
    // The connection goes on.
    with(1).await.unwrap();
}

async fn unknown_service_of_the_health_check(fixture: &Fixture) {
    let mallory = Actor::enter(&fixture.market, Role::Buyer, "Mallory").await.unwrap();
    let pass = Pass::of_token(fixture, &mallory, "none").await;
    // `HealthCheckRequest { service: "x" }`.
    let refused: Result<_, Status> = pass.call("/grpc.health.v1.Health/Check", vec![0x0a, 1, b'x']).await;
    assert_eq!(reason(refused), Reason::ServiceUnknown);
}
