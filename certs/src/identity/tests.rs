use proptest::prelude::*;

use super::*;

fn domain() -> TrustDomain {
    TrustDomain::default()
}

const UUID: &str = "0197f0c2-7c1a-7b3e-8d52-1f2a3b4c5d6e";

#[test]
fn the_market_the_authority_and_a_seller_are_written_as_in_the_design() {
    let seller = Identity::Seller(Uuid::try_parse(UUID).unwrap());
    assert_eq!(Identity::Market.spiffe_id(&domain()), "spiffe://souk.internal/market");
    assert_eq!(Identity::Market.dns_name(&domain()), "market.souk.internal");
    assert_eq!(Identity::Authority.spiffe_id(&domain()), "spiffe://souk.internal/authority");
    assert_eq!(Identity::Authority.dns_name(&domain()), "authority.souk.internal");
    assert_eq!(seller.spiffe_id(&domain()), format!("spiffe://souk.internal/seller/{UUID}"));
    assert_eq!(seller.dns_name(&domain()), format!("{UUID}.seller.souk.internal"));
}

#[test]
fn every_other_spelling_of_an_identity_is_refused() {
    let upper = UUID.to_uppercase();
    let simple = UUID.replace('-', "");
    for text in [
        "",
        "spiffe://",
        "spiffe://souk.internal",
        "spiffe://souk.internal/",
        "spiffe://souk.internal/market/",
        "spiffe://souk.internal//market",
        "spiffe://souk.internal/Market",
        "SPIFFE://souk.internal/market",
        "spiffe://SOUK.internal/market",
        "spiffe://souk.internal:443/market",
        "spiffe://user@souk.internal/market",
        "spiffe://souk.internal/market?x=1",
        "spiffe://souk.internal/market#x",
        "https://souk.internal/market",
        "spiffe://other.internal/market",
        "spiffe://souk.internal/authority/",
        "spiffe://souk.internal/seller",
        "spiffe://souk.internal/seller/",
        "spiffe://souk.internal/admin/0197f0c2-7c1a-7b3e-8d52-1f2a3b4c5d6e",
        "spiffe://souk.internal/seller/00000000-0000-0000-0000-000000000000",
        "spiffe://souk.internal/seller/ffffffff-ffff-ffff-ffff-ffffffffffff",
        &format!("spiffe://souk.internal/market/{UUID}"),
        &format!("spiffe://souk.internal/authority/{UUID}"),
        &format!("spiffe://souk.internal/seller/{UUID}/"),
        &format!("spiffe://souk.internal/seller/{UUID}/x"),
        &format!("spiffe://souk.internal/seller/{upper}"),
        &format!("spiffe://souk.internal/seller/{simple}"),
        &format!("spiffe://souk.internal/seller/{{{UUID}}}"),
        &format!("spiffe://souk.internal/seller/urn:uuid:{UUID}"),
        &format!(" spiffe://souk.internal/seller/{UUID}"),
        &format!("spiffe://souk.internal/seller/{UUID}\0"),
    ] {
        assert!(Identity::parse(text, &domain()).is_err(), "accepted {text:?}");
    }
}

#[test]
fn an_error_shows_hostile_text_escaped_and_cut() {
    let hostile = format!("spiffe://souk.internal/\u{1b}[31m{}", "x".repeat(10_000));
    let message = Identity::parse(&hostile, &domain()).unwrap_err().to_string();
    assert!(!message.contains('\u{1b}'));
    assert!(message.len() < 400, "{} characters", message.len());
}

#[test]
fn trust_domains_are_lower_case_dns_names() {
    for good in ["souk.internal", "souk", "a-b.c1", "market1.example.org"] {
        assert_eq!(good.parse::<TrustDomain>().unwrap().as_str(), good);
    }
    let label = "a".repeat(64);
    let long = vec!["abcdefghi"; 21].join(".");
    for bad in
        ["", ".", "a.", ".a", "a..b", "Souk", "-a", "a-", "a_b", "a b", "10.0.0.1", "é.org", &label, &long]
    {
        assert!(bad.parse::<TrustDomain>().is_err(), "accepted {bad:?}");
    }
}

fn identities() -> impl Strategy<Value = Identity> {
    (0..Role::ALL.len(), 1_u128..u128::MAX)
        .prop_map(|(role, uuid)| Identity::new(Role::ALL[role], Uuid::from_u128(uuid)))
}

fn domains() -> impl Strategy<Value = TrustDomain> {
    "[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,20}){0,4}".prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(identity in identities(), domain in domains()) {
        prop_assert_eq!(Identity::parse(&identity.spiffe_id(&domain), &domain), Ok(identity));
        prop_assert!(identity.dns_name(&domain).len() <= 253);
    }

    #[test]
    fn an_identity_of_another_domain_is_foreign(identity in identities(), ours in domains(), theirs in domains()) {
        prop_assume!(ours != theirs);
        let foreign = matches!(
            Identity::parse(&identity.spiffe_id(&theirs), &ours),
            Err(IdentityError::ForeignDomain { .. })
        );
        prop_assert!(foreign);
    }

    #[test]
    fn only_the_canonical_text_is_accepted(text in "spiffe://souk\\.internal/(market|seller|buyer|authority)[/a-f0-9A-F-]{0,40}") {
        if let Ok(identity) = Identity::parse(&text, &TrustDomain::default()) {
            prop_assert_eq!(identity.spiffe_id(&TrustDomain::default()), text);
        }
    }

    #[test]
    fn any_text_at_all_is_answered_without_panic(text in "\\PC{0,200}") {
        let _ = Identity::parse(&text, &TrustDomain::default());
        let _ = text.parse::<TrustDomain>();
    }

    #[test]
    fn any_bytes_at_all_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(PeerCertificate::from_der(&bytes.into(), &TrustDomain::default()).is_err());
    }
}
