//! Verification of the certificates by an independent implementation, OpenSSL. Skipped with a message if it is not
//! installed.

use std::process::{Command, Output};

use souk_certs::clock;
use souk_certs::identity::Role;

use crate::world::World;

/// Runs openssl in the folder of the certificates.
fn openssl(world: &World, args: &[&str]) -> Output {
    Command::new("openssl").args(args).current_dir(world.pki.dir()).output().unwrap()
}

fn installed() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: openssl is not installed");
    }
    found
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const VERIFY: [&str; 7] =
    ["verify", "-x509_strict", "-CAfile", "ca.pem", "-crl_check", "-CRLfile", "crl.pem"];

#[test]
fn openssl_verifies_certificate_and_revocation() {
    if !installed() {
        return;
    }
    let mut world = World::new();
    for (name, role) in [("alice", Role::Seller), ("bob", Role::Buyer), ("olga", Role::Operator)] {
        world.party(name, role);
    }
    for name in ["market.pem", "alice.pem", "bob.pem", "olga.pem"] {
        assert_eq!(text(openssl(&world, &[&VERIFY[..], &[name]].concat())), format!("{name}: OK\n"));
    }
    world.pki.revoke("bob", clock::now()).unwrap();
    let refused = openssl(&world, &[&VERIFY[..], &["bob.pem"]].concat());
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate revoked"));
    text(openssl(&world, &[&VERIFY[..], &["alice.pem"]].concat()));
}

#[test]
fn openssl_shows_the_profile() {
    if !installed() {
        return;
    }
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let shown = text(openssl(&world, &["x509", "-noout", "-text", "-in", "alice.pem"]));
    let uuid = alice.identity.uuid().unwrap();
    for expected in [
        "Subject: CN = alice",
        "NIST CURVE: P-256",
        "X509v3 Authority Key Identifier",
        "X509v3 Subject Key Identifier",
        &format!("URI:spiffe://souk.internal/seller/{uuid}, DNS:{uuid}.seller.souk.internal\n"),
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication\n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in {shown}");
    }
    let root = text(openssl(&world, &["x509", "-noout", "-text", "-in", "ca.pem"]));
    for expected in ["CA:TRUE, pathlen:0\n", "Certificate Sign, CRL Sign\n", "X509v3 Subject Key Identifier"]
    {
        assert!(root.contains(expected), "no {expected:?} in {root}");
    }
    let key = text(openssl(&world, &["pkey", "-in", "token.key", "-noout", "-text_pub"]));
    assert!(key.contains("ED25519"), "{key}");
}
