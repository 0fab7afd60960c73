//! Changing the root without an interruption.

use std::fs;

use souk_authority::pki::{Pki, PkiError};
use souk_certs::acceptor::AcceptorLimits;
use souk_certs::clock;
use souk_certs::identity::{Identity, Role};
use souk_certs::server::{ClientPolicy, server_config};

use crate::echo::{Server, ask};
use crate::world::World;

#[tokio::test]
async fn during_a_change_certificates_of_both_roots_are_good_and_afterwards_of_the_new_alone() {
    let mut world = World::new();
    let (alice, bob) = (world.party("alice", Role::Seller), world.party("bob", Role::Buyer));
    let market = Server::start(&world.market(), ClientPolicy::AnyParty, AcceptorLimits::default()).await;
    let at = market.address;
    let old_root = world.client(&bob);
    world.pki.new_root(clock::now()).unwrap();
    assert!(world.pki.is_root_retiring());

    // First every party gets the new ca.pem and crl.pem; nothing else changes.
    market.acceptor.swap(server_config(&world.market(), ClientPolicy::AnyParty).unwrap());
    ask(at.into(), Identity::Market, world.client(&alice)).await.unwrap();
    ask(at.into(), Identity::Market, old_root.clone()).await.unwrap();

    // Then every party is renewed, including the market.
    let before = fs::read(world.path("market.pem")).unwrap();
    for name in ["alice", "market"] {
        world.pki.renew(name, false, clock::now()).unwrap();
    }
    assert_ne!(fs::read(world.path("market.pem")).unwrap(), before);
    let carol = world.party("carol", Role::Buyer);
    market.acceptor.swap(server_config(&world.market(), ClientPolicy::AnyParty).unwrap());
    for party in [&alice, &bob, &carol] {
        ask(at.into(), Identity::Market, world.client(party)).await.unwrap();
    }

    // Revocation works for certificates of either root.
    for name in ["bob", "carol"] {
        world.pki.revoke(name, clock::now()).unwrap();
    }
    market.acceptor.swap(server_config(&world.market(), ClientPolicy::AnyParty).unwrap());
    for config in [old_root, world.rogue(Some(&carol), &["h2"]), world.rogue(Some(&bob), &["h2"])] {
        ask(at.into(), Identity::Market, config).await.unwrap_err();
    }

    // bob is revoked, so no party loses access.
    world.pki.retire_root(false, clock::now()).unwrap();
    assert!(!world.pki.is_root_retiring() && !world.path("ca.old.key").exists());
    market.acceptor.swap(server_config(&world.market(), ClientPolicy::AnyParty).unwrap());
    ask(at.into(), Identity::Market, world.client(&alice)).await.unwrap();
    market.stop().await;
}

#[test]
fn nobody_is_shut_out_without_a_word() {
    let mut world = World::new();
    world.party("alice", Role::Seller);
    let nothing = world.pki.retire_root(false, clock::now());
    assert!(matches!(nothing, Err(PkiError::NoRootRetiring)), "{nothing:?}");
    world.pki.new_root(clock::now()).unwrap();
    let twice = world.pki.new_root(clock::now());
    assert!(matches!(twice, Err(PkiError::RootRetiring)), "{twice:?}");
    world.pki.renew("market", false, clock::now()).unwrap();
    // A process that has just opened the folder sees the same.
    let mut pki = Pki::open(world.pki.dir()).unwrap();
    let left = pki.retire_root(false, clock::now());
    assert!(matches!(&left, Err(PkiError::SignedByRetiring { names, .. }) if names == "alice"), "{left:?}");
    pki.renew("alice", false, clock::now()).unwrap();
    pki.retire_root(false, clock::now()).unwrap();
    let alice = Pki::open(world.pki.dir()).unwrap().find("alice").unwrap();
    world.load(&alice);
}
