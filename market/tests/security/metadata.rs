//! Identity in metadata: exactly one party id, equal to the certificate's, and exactly one bearer token.

use souk_proto::{
    Reason,
    metadata::{AUTHORIZATION, PARTY_ID},
};

use crate::{
    fixture::{Fixture, attacks, honest, reason, sell_with},
    raw::{Pass, call},
};

attacks!(
    honest_calls_pass_or_the_cases_would_prove_nothing,
    authorization_scheme_has_any_case,
    party_id_missing,
    party_id_of_another_party,
    party_id_malformed,
    party_id_in_upper_case,
    party_id_nil,
    party_id_twice_the_same,
    party_id_twice_own_first,
    party_id_twice_others_first,
    token_missing,
    token_twice_the_same,
    token_twice_good_first,
    token_as_basic_auth,
    token_longer_than_two_kib,
    token_empty,
);

async fn honest_calls_pass_or_the_cases_would_prove_nothing(fixture: &Fixture) {
    let (alice, bearer) = parts(fixture).await;
    let channel = fixture.channel().await;
    let mut request = tonic::Request::new(souk_proto::v1::DisplaySellerItemsRequest::default());
    for (name, value) in honest(&alice, &bearer) {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut client = souk_proto::v1::seller_service_client::SellerServiceClient::new(channel);
    assert_eq!(client.display_seller_items(request).await.unwrap().into_inner().items.len(), 1);
}

async fn authorization_scheme_has_any_case(fixture: &Fixture) {
    let pass = Pass::of(fixture, &fixture.alice).await;
    for scheme in ["bearer", "Bearer", "BEARER"] {
        let mut request = pass.request(Vec::new());
        let bearer = format!("{scheme} {}", pass.token());
        request.metadata_mut().insert(AUTHORIZATION, bearer.parse().unwrap());
        call(pass.channel(), request, "/shopping.v1.SessionService/WhoAmI").await.unwrap();
    }
}

async fn parts(fixture: &Fixture) -> (String, String) {
    (fixture.alice.id(), format!("Bearer {}", fixture.token().await))
}

async fn with_party_ids(fixture: &Fixture, ids: &[&str]) -> Reason {
    let (_, bearer) = parts(fixture).await;
    let mut metadata: Vec<_> = ids.iter().map(|id| (PARTY_ID, *id)).collect();
    metadata.push((AUTHORIZATION, &bearer));
    reason(sell_with(fixture.channel().await, &metadata).await)
}

async fn party_id_missing(fixture: &Fixture) {
    assert_eq!(with_party_ids(fixture, &[]).await, Reason::PartyIdInvalid);
}

async fn party_id_of_another_party(fixture: &Fixture) {
    assert_eq!(with_party_ids(fixture, &[&fixture.bob.id()]).await, Reason::PartyIdInvalid);
}

async fn party_id_malformed(fixture: &Fixture) {
    let own = fixture.alice.id();
    let simple = own.replace('-', "");
    let urn = format!("urn:uuid:{own}");
    for id in ["alice", "", " ", &own[..35], &simple, &urn, "spiffe://souk.internal/seller/x"] {
        assert_eq!(with_party_ids(fixture, &[id]).await, Reason::PartyIdInvalid, "{id:?}");
    }
}

async fn party_id_in_upper_case(fixture: &Fixture) {
    assert_eq!(with_party_ids(fixture, &[&fixture.alice.id().to_uppercase()]).await, Reason::PartyIdInvalid);
}

async fn party_id_nil(fixture: &Fixture) {
    let nil = uuid::Uuid::nil().to_string();
    assert_eq!(with_party_ids(fixture, &[&nil]).await, Reason::PartyIdInvalid);
}

async fn party_id_twice_the_same(fixture: &Fixture) {
    let own = fixture.alice.id();
    assert_eq!(with_party_ids(fixture, &[&own, &own]).await, Reason::PartyIdInvalid);
}

async fn party_id_twice_own_first(fixture: &Fixture) {
    let ids = [fixture.alice.id(), fixture.bob.id()];
    assert_eq!(with_party_ids(fixture, &[&ids[0], &ids[1]]).await, Reason::PartyIdInvalid);
}

async fn party_id_twice_others_first(fixture: &Fixture) {
    let ids = [fixture.bob.id(), fixture.alice.id()];
    assert_eq!(with_party_ids(fixture, &[&ids[0], &ids[1]]).await, Reason::PartyIdInvalid);
}

async fn with_authorizations(fixture: &Fixture, values: &[&str]) -> Reason {
    let own = fixture.alice.id();
    let mut metadata = vec![(PARTY_ID, own.as_str())];
    metadata.extend(values.iter().map(|value| (AUTHORIZATION, *value)));
    reason(sell_with(fixture.channel().await, &metadata).await)
}

async fn token_missing(fixture: &Fixture) {
    assert_eq!(with_authorizations(fixture, &[]).await, Reason::TokenRequired);
}

async fn token_twice_the_same(fixture: &Fixture) {
    let (_, bearer) = parts(fixture).await;
    assert_eq!(with_authorizations(fixture, &[&bearer, &bearer]).await, Reason::TokenRequired);
}

async fn token_twice_good_first(fixture: &Fixture) {
    let (_, bearer) = parts(fixture).await;
    assert_eq!(with_authorizations(fixture, &[&bearer, "Bearer x.y.z"]).await, Reason::TokenRequired);
}

async fn token_as_basic_auth(fixture: &Fixture) {
    let (_, bearer) = parts(fixture).await;
    for value in [&bearer.replace("Bearer", "Basic"), &bearer.replace("Bearer ", ""), &bearer.to_lowercase()]
    {
        let refused = with_authorizations(fixture, &[value]).await;
        assert!(matches!(refused, Reason::TokenRequired | Reason::TokenInvalid), "{refused:?}");
    }
}

async fn token_longer_than_two_kib(fixture: &Fixture) {
    let long = format!("Bearer {}", "a".repeat(2_049));
    assert_eq!(with_authorizations(fixture, &[&long]).await, Reason::TokenRequired);
}

async fn token_empty(fixture: &Fixture) {
    for value in ["Bearer ", "Bearer", ""] {
        assert_eq!(with_authorizations(fixture, &[value]).await, Reason::TokenRequired, "{value:?}");
    }
}
