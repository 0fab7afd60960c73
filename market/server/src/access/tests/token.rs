//! Tests of tokens: one that differs from an issued token in any way is rejected.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::token::TOKEN_LIFE, *};

const CLAIMS: [&str; 10] = ["iss", "aud", "sub", "role", "iat", "nbf", "exp", "jti", "epoch", "cnf"];
const LIFE: i64 = TOKEN_LIFE.as_secs().cast_signed();

struct Forge {
    chain: Chain,
    alice: Arc<PeerCertificate>,
}

impl Forge {
    fn new() -> Self {
        let chain = Chain::new();
        let alice = chain.certificate(Identity::Seller(ALICE));
        Self { chain, alice }
    }

    fn genuine(&self) -> String {
        self.chain.token(&self.alice, 0, 0)
    }

    fn header(&self) -> Header {
        jsonwebtoken::decode_header(self.genuine()).unwrap()
    }

    fn claims(&self) -> Value {
        part(&self.genuine(), 1)
    }

    /// Signs arbitrary claims with the market's own key, as if the market had been tricked into it.
    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.chain.tokens.keys.load().signing).unwrap()
    }

    fn verify(&self, token: &str) -> Result<VerifiedToken, TokenFault> {
        self.chain.tokens.verify(token, &self.alice)
    }

    fn with_claim(&self, name: &str, value: Value) -> Result<VerifiedToken, TokenFault> {
        let mut claims = self.claims();
        claims[name] = value;
        self.verify(&self.sign(&self.header(), &claims))
    }
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_genuine_token_says_who_holds_it_and_until_when() {
    let forge = Forge::new();
    let verified = forge.verify(&forge.genuine()).unwrap();
    assert_eq!((verified.party, verified.role, verified.epoch), (PartyId(ALICE), Role::Seller, 0));
    assert_eq!((verified.info.issued_at, verified.info.expires_at), (at(0), at(LIFE)));
    assert_eq!(verified.is_good_at(at(LIFE - 1), 0), Ok(()));
}

#[test]
fn every_claim_is_required_and_of_one_type() {
    let forge = Forge::new();
    for name in CLAIMS {
        let mut claims = forge.claims();
        assert!(claims.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        let without = forge.verify(&forge.sign(&forge.header(), &claims));
        assert_eq!(without, Err(TokenFault::Malformed), "without {name}");
        assert_eq!(forge.with_claim(name, Value::Null), Err(TokenFault::Malformed), "{name}: null");
    }
    for name in ["iat", "nbf", "exp", "epoch"] {
        let as_text = forge.with_claim(name, json!(BEGIN.to_string()));
        assert_eq!(as_text, Err(TokenFault::Malformed), "{name} as text");
    }
}

#[test]
fn a_claim_about_somebody_else_is_refused() {
    let forge = Forge::new();
    let other = json!({ "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) });
    for (name, value, fault) in [
        ("iss", json!("spiffe://souk.example/market"), TokenFault::Audience),
        ("aud", json!("spiffe://souk.internal/market/other"), TokenFault::Audience),
        ("sub", json!(BOB), TokenFault::Binding),
        ("role", json!("buyer"), TokenFault::Binding),
        ("cnf", other, TokenFault::Binding),
    ] {
        assert_eq!(forge.with_claim(name, value), Err(fault), "{name}");
    }
}

#[test]
fn a_header_that_names_its_own_key_is_refused() {
    let forge = Forge::new();
    let claims = forge.claims();
    let change = |change: fn(&mut Header)| {
        let mut header = forge.header();
        change(&mut header);
        forge.verify(&forge.sign(&header, &claims))
    };
    for (name, result) in [
        ("typ JWT", change(|header| header.typ = Some("JWT".into()))),
        ("no typ", change(|header| header.typ = None)),
        ("no kid", change(|header| header.kid = None)),
        ("unknown kid", change(|header| header.kid = Some("../../etc/passwd".into()))),
        ("jku", change(|header| header.jku = Some("https://evil.example/keys".into()))),
        ("x5u", change(|header| header.x5u = Some("https://evil.example/cert".into()))),
        ("x5c", change(|header| header.x5c = Some(vec!["AAAA".into()]))),
    ] {
        assert_eq!(result, Err(TokenFault::Header), "{name}");
    }
}

#[test]
fn another_algorithm_or_key_is_refused() {
    let forge = Forge::new();
    let (claims, genuine) = (forge.claims(), forge.genuine());
    let payload = genuine.split('.').nth(1).unwrap();

    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    assert!(forge.verify(&format!("{none}.{payload}.")).is_err(), "alg none");

    // Algorithm confusion: an HMAC whose key is public, such as the id or the bytes of the public key.
    let kid = forge.header().kid.unwrap();
    let header = Header { alg: Algorithm::HS256, ..forge.header() };
    let hmac = encode(&header, &claims, &EncodingKey::from_secret(kid.as_bytes())).unwrap();
    assert_eq!(forge.verify(&hmac), Err(TokenFault::Header), "HS256");

    // Signed with another market's key, but naming this market's key id.
    let foreign = encode(&forge.header(), &claims, &new_keys().signing).unwrap();
    assert_eq!(forge.verify(&foreign), Err(TokenFault::Signature), "foreign key");
}

#[test]
fn a_stolen_token_is_worth_nothing_under_another_certificate() {
    let forge = Forge::new();
    let genuine = forge.genuine();
    let mallory = forge.chain.certificate(Identity::Seller(BOB));
    assert_eq!(forge.chain.tokens.verify(&genuine, &mallory), Err(TokenFault::Binding));
    // A later certificate of the same party does not match either: the party fetches a new token with one call.
    let renewed = forge.chain.certificate(Identity::Seller(ALICE));
    assert_eq!(forge.chain.tokens.verify(&genuine, &renewed), Err(TokenFault::Binding));
}

#[test]
fn time_and_epoch_end_a_token() {
    let forge = Forge::new();
    let verified = forge.chain.tokens.verify(&forge.chain.token(&forge.alice, 3, 0), &forge.alice).unwrap();
    let leeway = 30;
    for (later, epoch, expected) in [
        (-leeway, 3, Ok(())),
        (-leeway - 1, 3, Err(TokenFault::NotYet)),
        (LIFE + leeway - 1, 3, Ok(())),
        (LIFE + leeway, 3, Err(TokenFault::Expired)),
        (1, 2, Err(TokenFault::Epoch)),
        (1, 4, Err(TokenFault::Epoch)),
    ] {
        assert_eq!(verified.is_good_at(at(later), epoch), expected, "{later} s, epoch {epoch}");
    }
    assert_eq!(
        forge.with_claim("exp", json!(BEGIN - 1)),
        Err(TokenFault::Malformed),
        "ends before it begins"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_is_noticed(places in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..128), 64)) {
        let forge = Forge::new();
        let genuine = forge.genuine();
        for (place, change) in places {
            let mut bytes = genuine.clone().into_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            prop_assert!(forge.verify(&text).is_err(), "byte {place} ^ {change}: {text}");
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in ".{0,300}") {
        prop_assert!(Forge::new().verify(&text).is_err());
    }
}
