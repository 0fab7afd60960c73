//! Who gets through the handshake, in both directions.

use souk_certs::acceptor::AcceptorLimits;
use souk_certs::identity::{Identity, Role};
use souk_certs::server::ClientPolicy;

use crate::echo::{Server, ask};
use crate::world::{World, until};

#[tokio::test]
async fn a_party_calls_the_market_and_each_knows_the_other() {
    let mut world = World::new();
    let alice = world.party("alice", Role::Seller);
    let market = Server::start(&world.market(), ClientPolicy::AnyParty, AcceptorLimits::default()).await;
    let seen = ask(market.address.into(), Identity::Market, world.client(&alice)).await.unwrap();
    assert_eq!(seen, alice.identity.spiffe_id(world.pki.trust_domain()));
    until("the connection is closed with its channel", || market.acceptor.connections() == 0).await;
    market.stop().await;
}
