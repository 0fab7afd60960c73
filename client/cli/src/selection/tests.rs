use std::path::Path;

use clap::{Args as _, Command, FromArgMatches as _};
use souk_certs::identity::{Identity, Role};
use souk_enrolment::{code::InvitationId, context::Generation};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::CommonFlags;

/// A folder with the contexts of two sellers and a buyer, who are at markets of their own. Alice's is current.
fn contexts() -> (TempDir, ContextFolder) {
    let home = tempfile::tempdir().unwrap();
    let folder = ContextFolder::at(home.path().join("souk"));
    for (number, (name, role)) in
        [("alice", Role::Seller), ("carol", Role::Seller), ("bob", Role::Buyer)].into_iter().enumerate()
    {
        let number = u8::try_from(number + 1).unwrap();
        let description = Description {
            identity: Identity::new(role, Uuid::from_u128(number.into())),
            name: name.to_owned(),
            market: vec![format!("{name}.example:7443").parse().unwrap()],
            authority: vec!["ca.example:7442".parse().unwrap()],
            nearby: Vec::new(),
            trust_domain: format!("{name}.example").parse().unwrap(),
            invitation: InvitationId([number; 8]),
            ephemeral: false,
        };
        let text = name.to_owned();
        let locked = folder.begin(&name.parse().unwrap(), &description, Uuid::nil()).unwrap();
        let generation = Generation {
            certificate: text.clone(),
            key: text.clone(),
            roots: text.clone(),
            lists: text,
            trust: Vec::new(),
        };
        locked.install(&generation).unwrap();
    }
    folder.make_current(Role::Seller, Some(&"alice".parse().unwrap()), Uuid::nil()).unwrap();
    (home, folder)
}

fn typed(words: &[&str]) -> CommonFlags {
    // Without the variables of the test's environment.
    let program =
        CommonFlags::augment_args(Command::new("seller")).mut_args(|flag| flag.env(None::<&'static str>));
    let matches = program.try_get_matches_from([&["seller"], words].concat()).unwrap();
    CommonFlags::from_arg_matches(&matches).unwrap()
}

/// Returns flags as if they had been given by variables, and the typed ones over them.
fn with_variables(words: &[&str], variables: &[&str]) -> CommonFlags {
    let (typed, variables) = (typed(words), typed(variables));
    let given = typed.given.clone().over(variables.given.clone().of(Origin::Variable));
    CommonFlags { given, ..typed.over(variables) }
}

fn selection(flags: &CommonFlags, folder: &ContextFolder) -> Selection {
    Selection::of(&flags.named(), Audience::Seller, Some(folder))
}

fn cert(selection: &Selection) -> &Path {
    &selection.credentials().unwrap().cert
}

#[test]
fn the_first_source_with_a_certificate_gives_all_four_files() {
    let (_home, folder) = contexts();
    let nothing = selection(&typed(&[]), &folder);
    assert!(cert(&nothing).ends_with("contexts/alice/live/party.pem"));
    assert_eq!(nothing.origin_of_credentials(), Some(Origin::Context));

    // Files of other sources stay out, also where the first source leaves them to their defaults.
    let others = ["--key", "v.key", "--ca", "v-ca.pem", "--crl", "v-crl.pem"];
    let of_context = selection(&with_variables(&[], &others), &folder);
    let files = of_context.credentials().unwrap();
    assert_eq!((&files.key, &files.ca, &files.crl), (&None, &None, &None));
    let all = [&["--cert", "v.pem"][..], &others].concat();
    let of_variables = selection(&with_variables(&[], &all), &folder);
    let files = of_variables.credentials().unwrap();
    assert_eq!((files.cert.to_str(), files.ca.as_deref()), (Some("v.pem"), Some(Path::new("v-ca.pem"))));
    let of_flags = selection(&with_variables(&["--cert", "f.pem"], &all), &folder);
    let files = of_flags.credentials().unwrap();
    assert_eq!(
        (files.cert.to_str(), &files.key, &files.ca, &files.crl),
        (Some("f.pem"), &None, &None, &None)
    );
}

#[test]
fn a_file_of_the_group_without_its_certificate_is_a_mistake() {
    let (_home, folder) = contexts();
    let selection = selection(&with_variables(&["--key", "f.key"], &["--cert", "v.pem"]), &folder);
    let failure = selection.problem();
    assert!(selection.credentials().is_none() && failure.exit_code() == exit::USAGE, "{failure}");
    assert!(failure.to_string().contains("--key"), "{failure}");
}

#[test]
fn a_named_context_comes_before_the_current_one_and_a_flag_before_variables() {
    let (_home, folder) = contexts();
    for (words, variables, expected) in [
        (&["--context", "carol"][..], &[][..], "contexts/carol/live/party.pem"),
        (&[], &["--context", "carol"], "contexts/carol/live/party.pem"),
        (&["--context", "alice"], &["--context", "carol"], "contexts/alice/live/party.pem"),
        (&["--context", "carol"], &["--cert", "v.pem"], "contexts/carol/live/party.pem"),
        (&[], &["--context", "carol", "--cert", "v.pem"], "v.pem"),
        (&["--context", "carol", "--cert", "f.pem"], &[], "f.pem"),
    ] {
        let selection = selection(&with_variables(words, variables), &folder);
        assert!(cert(&selection).ends_with(expected), "{words:?} {variables:?}");
    }
}

#[test]
fn market_and_trust_domain_come_with_the_context() {
    let (_home, folder) = contexts();
    for (words, variables, market, domain) in [
        (&[][..], &[][..], "alice.example:7443", "alice.example"),
        (&["--context", "carol"], &[], "carol.example:7443", "carol.example"),
        (&["--market", "f.example:1"], &[], "f.example:1", "alice.example"),
        (&[], &["--market", "v.example:1"], "v.example:1", "alice.example"),
        (&["--context", "carol"], &["--market", "v.example:1"], "carol.example:7443", "carol.example"),
        // The certificate is not the context's, so it is in the default domain.
        (&["--cert", "f.pem"], &[], "alice.example:7443", "souk.internal"),
        (&["--cert", "f.pem", "--context", "carol"], &[], "carol.example:7443", "carol.example"),
    ] {
        let flags = with_variables(words, variables);
        let selection = selection(&flags, &folder);
        assert_eq!(selection.market(&flags.named()).unwrap().to_string(), market, "{words:?} {variables:?}");
        assert_eq!(selection.trust_domain().as_str(), domain, "{words:?} {variables:?}");
    }
    let none = Selection::of(&typed(&[]).named(), Audience::Seller, None);
    assert_eq!(none.market(&typed(&[]).named()).unwrap().to_string(), "localhost:7443");
}

#[test]
fn a_program_uses_only_contexts_of_its_role() {
    let (_home, folder) = contexts();
    let failure = selection(&typed(&["--context", "bob"]), &folder).problem();
    assert_eq!(failure.exit_code(), exit::NOT_FOUND);
    assert!(failure.remedy(Audience::Seller).unwrap().contains("`seller context list`"));
    // No buyer's context is current.
    assert!(Selection::of(&typed(&[]).named(), Audience::Buyer, Some(&folder)).credentials().is_none());
}

#[test]
fn a_context_that_can_not_be_used_stops_only_who_needs_it() {
    let (_home, folder) = contexts();
    std::fs::write(folder.path().join("contexts/alice/context.toml"), "role = ").unwrap();
    let broken = selection(&typed(&[]), &folder);
    assert!(broken.credentials().is_none() && broken.problem().to_string().contains("context.toml"));
    assert!(cert(&selection(&typed(&["--cert", "f.pem"]), &folder)).ends_with("f.pem"));
    assert!(cert(&selection(&with_variables(&[], &["--cert", "v.pem"]), &folder)).ends_with("v.pem"));
}
