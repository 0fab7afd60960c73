use proptest::prelude::*;

use super::*;

fn code(authority: &str, domain: &str) -> InvitationCode {
    let root = RootPin::of(&CertificateDer::from(b"a root".as_slice()));
    let (authority, domain) = (authority.parse().unwrap(), domain.parse().unwrap());
    InvitationCode::new(InvitationId([7; ID_BYTES]), Secret([9; SECRET_BYTES]), root, authority, domain)
        .unwrap()
}

/// Returns the word of these bytes, with a checksum that is right.
fn sealed(bytes: &[u8]) -> String {
    let bytes = [bytes, &checksum(bytes)].concat();
    format!("{PREFIX}{}", BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase())
}

fn opened(text: &str) -> Vec<u8> {
    let bytes = BASE32_NOPAD_NOCASE.decode(text.strip_prefix(PREFIX).unwrap().as_bytes()).unwrap();
    bytes[..bytes.len() - CHECKSUM_BYTES].to_vec()
}

fn same(one: &InvitationCode, other: &InvitationCode) -> bool {
    (one.id, one.secret.0, one.root, &one.authority, &one.trust_domain)
        == (other.id, other.secret.0, other.root, &other.authority, &other.trust_domain)
}

#[test]
fn a_code_is_one_word_of_about_a_hundred_characters() {
    let text = code("market.example.org:7442", "souk.internal").reveal();
    assert!(text.starts_with(PREFIX) && (90..=130).contains(&text.len()), "{text}");
    assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
}

#[test]
fn the_default_domain_takes_no_room() {
    let default = code("a:1", "souk.internal").reveal();
    assert!(default.len() < code("a:1", "souk.example").reveal().len());
    assert_eq!(default.parse::<InvitationCode>().unwrap().trust_domain(), &TrustDomain::default());
}

#[test]
fn line_breaks_and_capital_letters_do_no_harm() {
    let code = code("[2001:db8::1]:7442", "market.example");
    let text = code.reveal();
    for changed in [
        text.to_uppercase(),
        format!(" {text}\r\n"),
        text.chars().enumerate().fold(String::new(), |line, (at, c)| match at % 40 {
            39 => format!("{line}{c}\n  "),
            _ => format!("{line}{c}"),
        }),
    ] {
        assert!(same(&changed.parse().unwrap(), &code), "{changed}");
    }
}

#[test]
fn every_wrong_missing_or_swapped_character_is_noticed() {
    let text = code("market.example.org:7442", "souk.internal").reveal();
    let is_refused = |text: &str| {
        let refusal = text.parse::<InvitationCode>().unwrap_err();
        assert!(matches!(refusal, CodeError::Damaged | CodeError::NotACode), "{refusal}");
    };
    for at in 0..text.len() {
        is_refused(&format!("{}{}", &text[..at], &text[at + 1..]));
        for other in ['a', '7', '1', '-', 'é'].into_iter().filter(|other| !text[at..].starts_with(*other)) {
            is_refused(&format!("{}{other}{}", &text[..at], &text[at + 1..]));
        }
        if let Some(next) = text[at + 1..].chars().next().filter(|next| !text[at..].starts_with(*next)) {
            is_refused(&format!("{}{next}{}{}", &text[..at], &text[at..=at], &text[at + 2..]));
        }
    }
}

#[test]
fn what_was_made_wrong_is_named() {
    let bytes = opened(&code("a:1", "souk.example").reveal());
    let refusal = |bytes: &[u8]| sealed(bytes).parse::<InvitationCode>().unwrap_err();
    assert_eq!(refusal(&[&[2], &bytes[1..]].concat()), CodeError::Version { version: 2 });
    assert_eq!(refusal(&[bytes.as_slice(), &[0]].concat()), CodeError::Damaged);
    let head = &bytes[..1 + ID_BYTES + SECRET_BYTES + PIN_BYTES];
    assert!(matches!(refusal(&[head, b"\x01a\x00"].concat()), CodeError::Address(_)));
    assert!(matches!(refusal(&[head, b"\x03a:1\x02-a"].concat()), CodeError::TrustDomain(_)));
    assert_eq!(refusal(&[head, b"\xffa:1"].concat()), CodeError::Damaged);
    assert_eq!(refusal(&[head, b"\x02\xff\xff\x00"].concat()), CodeError::Damaged);
    for text in ["", "souk", "ae3k", "souk2ae3k", "https://market.example.org", &"souk1a".repeat(1000)] {
        assert_eq!(text.parse::<InvitationCode>().unwrap_err(), CodeError::NotACode, "{text}");
    }
    for text in [PREFIX, "souk1a", "souk1aaaaaaa"] {
        assert_eq!(text.parse::<InvitationCode>().unwrap_err(), CodeError::Damaged, "{text}");
    }
}

#[test]
fn an_address_that_does_not_fit_is_refused() {
    let root = RootPin::of(&CertificateDer::from(b"a root".as_slice()));
    let authority = Dial { host: "a".repeat(253), port: 65535 };
    let (id, secret) = (InvitationId([0; ID_BYTES]), Secret([0; SECRET_BYTES]));
    let refused = InvitationCode::new(id, secret, root, authority, TrustDomain::default());
    assert_eq!(refused.unwrap_err(), CodeError::TooLong);
}

#[test]
fn no_output_for_developers_contains_the_secret() {
    let code = code("a:1", "souk.internal");
    let shown = format!("{code:?} {:?}", code.secret());
    assert!(!shown.contains("9, 9") && !shown.contains("0909"), "{shown}");
}

#[test]
fn an_id_is_written_in_hexadecimal_and_read_back() {
    let id = InvitationId([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
    assert_eq!(id.to_string(), "00010203fcfdfeff");
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "0", "00010203fcfdfe", "00010203fcfdfeff00", "zz010203fcfdfeff"] {
        assert_eq!(text.parse::<InvitationId>(), Err(InvitationIdError), "{text}");
    }
}

fn codes() -> impl Strategy<Value = InvitationCode> {
    let address = prop_oneof![
        "[a-z][a-z0-9-]{0,60}(\\.[a-z][a-z0-9]{0,20}){0,3}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ];
    let domain = "[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,20}){0,4}";
    (any::<[u8; ID_BYTES]>(), any::<[u8; SECRET_BYTES]>(), any::<[u8; 16]>(), address, 1_u16.., domain)
        .prop_map(|(id, secret, root, host, port, domain)| {
            let domain = domain.parse().unwrap();
            InvitationCode::new(InvitationId(id), Secret(secret), RootPin(root), Dial { host, port }, domain)
                .unwrap()
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(code in codes()) {
        prop_assert!(same(&code.reveal().parse().unwrap(), &code));
    }

    #[test]
    fn any_text_at_all_is_answered_without_panic(text in "\\PC{0,200}", tail in "[a-z2-7]{0,200}") {
        let _ = text.parse::<InvitationCode>();
        let _ = format!("{PREFIX}{tail}").parse::<InvitationCode>();
    }

    #[test]
    fn any_bytes_with_a_right_checksum_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = sealed(&bytes).parse::<InvitationCode>();
        let _ = sealed(&[&[VERSION], bytes.as_slice()].concat()).parse::<InvitationCode>();
    }
}
