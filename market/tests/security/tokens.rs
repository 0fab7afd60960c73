//! Forged, stolen and expired tokens. The forger even has the market's signing key, as if the market could
//! be tricked into signing.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use souk_certs::identity::Role;
use souk_proto::Reason;

use crate::fixture::{Fixture, attacks, honest, reason, sell_with, token};

attacks!(
    a_forged_token_that_is_right_in_everything_passes_or_the_cases_would_prove_nothing,
    stolen_under_another_sellers_certificate,
    stolen_under_a_newer_certificate_of_the_same_party,
    algorithm_none,
    algorithm_none_with_a_signature,
    algorithm_hs256_keyed_with_the_public_key,
    algorithm_es384,
    signed_by_another_market,
    signature_cut_off,
    payload_exchanged,
    claim_iss_removed,
    claim_aud_removed,
    claim_sub_removed,
    claim_role_removed,
    claim_iat_removed,
    claim_nbf_removed,
    claim_exp_removed,
    claim_jti_removed,
    claim_epoch_removed,
    claim_epoch_in_the_future,
    claim_cnf_removed,
    claim_exp_as_text,
    claim_nbf_as_text,
    claim_aud_wrong,
    claim_iss_wrong,
    claim_sub_of_another_party,
    claim_role_of_the_other_side,
    claim_cnf_of_another_certificate,
    header_typ_wrong,
    header_crit,
    header_jwk_with_the_forgers_own_key,
    header_jku,
    header_x5u,
    header_kid_unknown,
    header_kid_missing,
    expired_beyond_the_leeway,
    not_valid_yet,
    nbf_in_the_future,
    good_for_longer_than_the_market_issues,
    not_a_token_at_all,
);

/// What a forger has: a genuine token to start from, and the market's signing key.
struct Forge<'a> {
    fixture: &'a Fixture,
    genuine: String,
    key_pem: Vec<u8>,
}

impl<'a> Forge<'a> {
    async fn new(fixture: &'a Fixture) -> Self {
        let key_pem = std::fs::read(fixture.market.path().join("pki/token.key")).unwrap();
        Self { fixture, genuine: fixture.token().await, key_pem }
    }

    fn part(&self, number: usize) -> &str {
        self.genuine.split('.').nth(number).unwrap()
    }

    fn claims(&self) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(self.part(1)).unwrap()).unwrap()
    }

    fn header(&self) -> Header {
        jsonwebtoken::decode_header(&self.genuine).unwrap()
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &EncodingKey::from_ed_pem(&self.key_pem).unwrap()).unwrap()
    }

    /// Presents a token over alice's connection.
    async fn present(&self, token: &str) -> Result<(), tonic::Status> {
        let bearer = format!("Bearer {token}");
        sell_with(self.fixture.channel().await, &honest(&self.fixture.alice.id(), &bearer)).await
    }

    async fn refused(&self, token: &str) {
        assert_eq!(reason(self.present(token).await), Reason::TokenInvalid);
    }
}

async fn with_claim(fixture: &Fixture, change: impl FnOnce(&mut Value)) {
    let forge = Forge::new(fixture).await;
    let mut claims = forge.claims();
    change(&mut claims);
    forge.refused(&forge.sign(&forge.header(), &claims)).await;
}

async fn without_claim(fixture: &Fixture, name: &str) {
    with_claim(fixture, |claims| assert!(claims.as_object_mut().unwrap().remove(name).is_some())).await;
}

async fn with_header(fixture: &Fixture, change: impl FnOnce(&mut Header)) {
    let forge = Forge::new(fixture).await;
    let mut header = forge.header();
    change(&mut header);
    forge.refused(&forge.sign(&header, &forge.claims())).await;
}

async fn a_forged_token_that_is_right_in_everything_passes_or_the_cases_would_prove_nothing(
    fixture: &Fixture,
) {
    let forge = Forge::new(fixture).await;
    let token = forge.sign(&forge.header(), &forge.claims());
    let bearer = format!("Bearer {token}");
    // Tried on a service for buyers, where alice's role is refused only after her token has been verified.
    let mut request = tonic::Request::new(souk_proto::v1::ListOrdersRequest::default());
    for (name, value) in honest(&fixture.alice.id(), &bearer) {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut buying = souk_proto::v1::buyer_service_client::BuyerServiceClient::new(fixture.channel().await);
    assert_eq!(reason(buying.list_orders(request).await), Reason::RoleDenied);
}

async fn stolen_under_another_sellers_certificate(fixture: &Fixture) {
    let bearer = format!("Bearer {}", fixture.token().await);
    let mallory = souk_testkit::actor::Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
    mallory.register(None).await.unwrap();
    let channel = fixture.market.channel(Role::Seller, "Mallory").await.unwrap();
    for claims_to_be in [mallory.id(), fixture.alice.id()] {
        let refused = reason(sell_with(channel.clone(), &honest(&claims_to_be, &bearer)).await);
        assert!(matches!(refused, Reason::TokenInvalid | Reason::PartyIdInvalid), "{refused:?}");
    }
    // Both tokens are valid with their own certificates, so the cache must not confuse them.
    let own = format!("Bearer {}", token(&mallory).await);
    let swapped = sell_with(fixture.channel().await, &honest(&fixture.alice.id(), &own)).await;
    assert_eq!(reason(swapped), Reason::TokenInvalid);
}

async fn stolen_under_a_newer_certificate_of_the_same_party(fixture: &Fixture) {
    let bearer = format!("Bearer {}", fixture.token().await);
    fixture.market.change_pki(|pki| pki.renew("alice", false, souk_certs::clock::now()).unwrap());
    let refused = sell_with(fixture.channel().await, &honest(&fixture.alice.id(), &bearer)).await;
    assert_eq!(reason(refused), Reason::TokenInvalid);
}

async fn algorithm_none(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    forge.refused(&format!("{header}.{}.", forge.part(1))).await;
}

async fn algorithm_none_with_a_signature(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    for name in ["none", "None", "NONE", "nOnE"] {
        let header = json!({ "alg": name, "typ": "at+jwt", "kid": forge.header().kid });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        forge.refused(&format!("{header}.{}.{}", forge.part(1), forge.part(2))).await;
    }
}

async fn algorithm_hs256_keyed_with_the_public_key(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&forge.key_pem).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).unwrap();
    let header = Header { alg: Algorithm::HS256, ..forge.header() };
    let public = EncodingKey::from_secret(pair.public_key().as_ref());
    forge.refused(&encode(&header, &forge.claims(), &public).unwrap()).await;
}

async fn algorithm_es384(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let header = Header { alg: Algorithm::ES384, ..forge.header() };
    forge.refused(&encode(&header, &forge.claims(), &key).unwrap()).await;
}

async fn signed_by_another_market(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    forge.refused(&encode(&forge.header(), &forge.claims(), &key).unwrap()).await;
}

async fn signature_cut_off(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    forge.refused(&format!("{}.{}.", forge.part(0), forge.part(1))).await;
    forge.refused(&format!("{}.{}", forge.part(0), forge.part(1))).await;
}

async fn payload_exchanged(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let mut claims = forge.claims();
    claims["epoch"] = json!(1_000);
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    forge.refused(&format!("{}.{payload}.{}", forge.part(0), forge.part(2))).await;
}

async fn claim_iss_removed(fixture: &Fixture) {
    without_claim(fixture, "iss").await;
}

async fn claim_aud_removed(fixture: &Fixture) {
    without_claim(fixture, "aud").await;
}

async fn claim_sub_removed(fixture: &Fixture) {
    without_claim(fixture, "sub").await;
}

async fn claim_role_removed(fixture: &Fixture) {
    without_claim(fixture, "role").await;
}

async fn claim_iat_removed(fixture: &Fixture) {
    without_claim(fixture, "iat").await;
}

async fn claim_nbf_removed(fixture: &Fixture) {
    without_claim(fixture, "nbf").await;
}

async fn claim_exp_removed(fixture: &Fixture) {
    without_claim(fixture, "exp").await;
}

async fn claim_jti_removed(fixture: &Fixture) {
    without_claim(fixture, "jti").await;
}

async fn claim_epoch_removed(fixture: &Fixture) {
    without_claim(fixture, "epoch").await;
}

async fn claim_epoch_in_the_future(fixture: &Fixture) {
    for epoch in [1, 1_000, i64::MAX] {
        with_claim(fixture, |claims| claims["epoch"] = json!(epoch)).await;
    }
}

async fn claim_cnf_removed(fixture: &Fixture) {
    without_claim(fixture, "cnf").await;
}

async fn claim_exp_as_text(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["exp"] = json!(claims["exp"].to_string())).await;
}

async fn claim_nbf_as_text(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["nbf"] = json!(claims["nbf"].to_string())).await;
}

async fn claim_aud_wrong(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["aud"] = json!("spiffe://souk.example/market")).await;
    with_claim(fixture, |claims| claims["aud"] = json!([claims["aud"], "another"])).await;
}

async fn claim_iss_wrong(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["iss"] = json!("spiffe://souk.internal/seller/market")).await;
}

async fn claim_sub_of_another_party(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["sub"] = json!(fixture.bob.id())).await;
}

async fn claim_role_of_the_other_side(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["role"] = json!("buyer")).await;
}

async fn claim_cnf_of_another_certificate(fixture: &Fixture) {
    let other = json!({ "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) });
    with_claim(fixture, |claims| claims["cnf"] = other).await;
}

async fn header_typ_wrong(fixture: &Fixture) {
    for typ in [None, Some("JWT"), Some("AT+JWT "), Some("")] {
        with_header(fixture, |header| header.typ = typ.map(str::to_owned)).await;
    }
}

async fn header_crit(fixture: &Fixture) {
    with_header(fixture, |header| header.crit = Some(vec!["b64".into()])).await;
}

async fn header_jwk_with_the_forgers_own_key(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let jwk: Jwk = serde_json::from_value(json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).unwrap();
    let header = Header { jwk: Some(jwk), ..forge.header() };
    forge.refused(&encode(&header, &forge.claims(), &key).unwrap()).await;
}

async fn header_jku(fixture: &Fixture) {
    with_header(fixture, |header| header.jku = Some("https://evil.example/keys".into())).await;
}

async fn header_x5u(fixture: &Fixture) {
    with_header(fixture, |header| header.x5u = Some("https://evil.example/chain".into())).await;
}

async fn header_kid_unknown(fixture: &Fixture) {
    for kid in ["", "../../../etc/passwd", "' OR 1=1 --"] {
        with_header(fixture, |header| header.kid = Some(kid.into())).await;
    }
}

async fn header_kid_missing(fixture: &Fixture) {
    with_header(fixture, |header| header.kid = None).await;
}

async fn expired_beyond_the_leeway(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    let mut claims = forge.claims();
    let issued = claims["iat"].as_i64().unwrap();
    for (name, time) in [("iat", issued - 631), ("nbf", issued - 631), ("exp", issued - 31)] {
        claims[name] = json!(time);
    }
    let refused = forge.present(&forge.sign(&forge.header(), &claims)).await;
    assert_eq!(reason(refused), Reason::TokenExpired);
}

async fn not_valid_yet(fixture: &Fixture) {
    with_claim(fixture, |claims| {
        let issued = claims["iat"].as_i64().unwrap();
        for (name, time) in [("iat", issued + 60), ("nbf", issued + 60), ("exp", issued + 660)] {
            claims[name] = json!(time);
        }
    })
    .await;
}

async fn nbf_in_the_future(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["nbf"] = json!(claims["iat"].as_i64().unwrap() + 300)).await;
}

async fn good_for_longer_than_the_market_issues(fixture: &Fixture) {
    with_claim(fixture, |claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 601)).await;
    with_claim(fixture, |claims| claims["exp"] = json!(i64::MAX)).await;
    with_claim(fixture, |claims| claims["iat"] = json!(i64::MIN)).await;
}

async fn not_a_token_at_all(fixture: &Fixture) {
    let forge = Forge::new(fixture).await;
    for token in ["x", "..", "a.b.c", "%00.%00.%00", &"a".repeat(2_048)] {
        forge.refused(token).await;
    }
}
