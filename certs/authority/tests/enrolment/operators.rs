//! `ListCertificates`, and the commands of `gen-certs` beside the service.

use std::fs;

use assert_cmd::Command;
use souk_certs::clock;
use souk_certs::identity::Role;
use souk_enrolment::code::InvitationCode;
use souk_proto::Reason;
use souk_proto::v1::{self, enrolment_service_client::EnrolmentServiceClient};

use super::world::{Member, World, reason};

fn gen_certs(dir: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("gen-certs").unwrap();
    let output = command.arg("--dir").arg(dir).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn operators_list_certificates_page_by_page() {
    let world = World::new().await;
    let olga = Member::join(&world.invite(Role::Operator, "olga"), Role::Operator).await.unwrap();
    let alice = Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    world.pki().revoke("alice", clock::now()).unwrap();
    let mut client = EnrolmentServiceClient::new(world.connect(&olga.credentials()).await.unwrap());
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListCertificatesRequest { page_size: 1, page_token };
        let page = client.list_certificates(request).await.unwrap().into_inner();
        for certificate in page.certificates {
            let is_alices = certificate.serial_number == alice.serial();
            assert_eq!(certificate.revoke_time.is_some(), is_alices);
            names.push((certificate.name.clone(), certificate.role()));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected =
        [("authority", v1::Role::Unspecified), ("olga", v1::Role::Operator), ("alice", v1::Role::Seller)];
    assert_eq!(names, expected.map(|(name, role)| (name.to_owned(), role)));
    let request = v1::ListCertificatesRequest { page_token: "x".into(), ..Default::default() };
    let refused = client.list_certificates(request).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::PageTokenInvalid));
    let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
    let mut client = EnrolmentServiceClient::new(world.connect(&bob.credentials()).await.unwrap());
    let refused = client.list_certificates(v1::ListCertificatesRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::RoleDenied));
}

#[tokio::test]
async fn invite_prints_the_code_alone() {
    let world = World::new().await;
    let (exit, code, remark) = gen_certs(world.dir(), &["invite", "seller", "alice", "--expires", "90m"]);
    assert_eq!(exit, 0, "{remark}");
    assert!(remark.contains("alice") && !remark.contains(code.trim()), "{remark}");
    let member = Member::join(&code.parse::<InvitationCode>().unwrap(), Role::Seller).await.unwrap();
    assert_eq!(member.joined.name, "alice");
    let (exit, list, _) = gen_certs(world.dir(), &["invitations"]);
    assert!(exit == 0 && list.contains("used") && !list.contains(code.trim()), "{list}");
    for (arguments, expected) in [
        (&["invite", "seller", "alice"][..], 5),
        (&["invite", "buyer", "alice", "--again"][..], 5),
        (&["invite", "seller", "nobody", "--again"][..], 3),
        (&["invite", "seller", "Alice"][..], 2),
        (&["invite", "seller", "trust"][..], 2),
        (&["invite", "seller", "carol", "--expires", "8d"][..], 2),
        (&["invitations", "cancel", "0011223344556677"][..], 3),
        (&["invitations", "cancel", "x"][..], 2),
    ] {
        let (exit, out, error) = gen_certs(world.dir(), arguments);
        assert_eq!((exit, out.as_str()), (expected, ""), "{arguments:?}: {error}");
    }
    let (_, again, _) = gen_certs(world.dir(), &["invite", "seller", "alice", "--again"]);
    let again = Member::join(&again.parse().unwrap(), Role::Seller).await.unwrap();
    assert_eq!(again.joined.peer.identity(), member.joined.peer.identity());
}

#[tokio::test]
async fn audit_is_listed_and_verified() {
    let world = World::new().await;
    Member::join(&world.invite(Role::Seller, "alice"), Role::Seller).await.unwrap();
    let (exit, list, _) = gen_certs(world.dir(), &["audit"]);
    assert!(exit == 0 && list.lines().count() >= 3 && list.contains("\"did\":\"join\""), "{list}");
    let (exit, verified, _) = gen_certs(world.dir(), &["audit", "verify"]);
    assert_eq!(exit, 0);
    let head = verified.trim().rsplit(' ').next().unwrap();
    assert_eq!(gen_certs(world.dir(), &["audit", "verify", "--head", head]).0, 0);
    let path = world.dir().join(souk_authority::log::FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("alice", "carol", 1)).unwrap();
    let (exit, _, error) = gen_certs(world.dir(), &["audit", "verify"]);
    assert!(exit == 5 && error.contains("tampered"), "{exit}: {error}");
}

#[test]
fn folder_without_a_service_says_how_to_set_one_up() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pki");
    assert_eq!(gen_certs(&dir, &["init"]).0, 0);
    for arguments in [&["invite", "seller", "alice"][..], &["serve"][..]] {
        let (exit, _, error) = gen_certs(&dir, arguments);
        assert!(exit == 3 && error.contains("--public"), "{exit}: {error}");
    }
    // The folder of before is as it was: nothing of the service is there.
    for file in ["authority.toml", "invitations.json", "audit.ndjson", "trust", "authority.pem"] {
        assert!(!dir.join(file).exists(), "{file}");
    }
}

#[test]
fn init_with_an_address_sets_up_a_service_and_no_market() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pki");
    let arguments = ["init", "--public", "ca.example.org", "--market", "m1.example.org:7443"];
    let (exit, out, error) = gen_certs(&dir, &arguments);
    assert!(exit == 0 && out.contains("ca.example.org:7442"), "{error}");
    assert!(!dir.join("market.key").exists() && !dir.join("token.key").exists());
    let (exit, code, error) = gen_certs(&dir, &["invite", "market", "m1"]);
    assert_eq!(exit, 0, "{error}");
    let code: InvitationCode = code.parse().unwrap();
    assert_eq!(code.authority().to_string(), "ca.example.org:7442");
    assert_eq!(gen_certs(&dir, &["init", "--market", "m1.example.org:7443", "--force"]).0, 1);
}
