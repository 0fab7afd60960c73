//! Names by which a party or an item would pass for another.

use souk_certs::identity::Role;
use souk_client::Error;
use souk_proto::{Reason, v1};
use souk_testkit::actor::{Actor, draft, refused};

use crate::fixture::{Fixture, attacks};

attacks!(
    names_that_nobody_sees,
    names_that_cover_the_lines_around,
    display_name_of_another_party,
    display_name_that_looks_like_anothers,
    buyer_called_like_a_seller,
);

async fn register(fixture: &Fixture, role: Role, name: &str) -> Result<v1::Account, Error> {
    let mallory = Actor::enter(&fixture.market, role, "Mallory").await.unwrap();
    let (request_id, display_name) = (souk_certs::random::uuid_v4().to_string(), name.to_owned());
    let account = match role {
        Role::Seller => {
            let request = v1::RegisterSellerRequest { request_id, display_name, ..Default::default() };
            mallory.connection.call(request).await?.account
        }
        _ => {
            let request = v1::RegisterBuyerRequest { request_id, display_name, ..Default::default() };
            mallory.connection.call(request).await?.account
        }
    };
    Ok(account.unwrap())
}

/// Checks that neither a party nor an item can have a name.
async fn nobody_can_have(fixture: &Fixture, name: &str) {
    refused(register(fixture, Role::Seller, name).await, Reason::InvalidField).unwrap();
    register(fixture, Role::Seller, "Mallory").await.unwrap();
    let mallory = Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
    refused(mallory.sell(draft(name, "home", 1, 1)).await, Reason::InvalidField).unwrap();
}

async fn names_that_nobody_sees(fixture: &Fixture) {
    let hidden = [
        "\u{200b}",
        "\u{3164}",
        "\u{2800}",
        "Alice\u{200b}",
        "Alice\u{e0041}",
        "Al\u{ad}ice",
        "\u{2066}Alice",
    ];
    for name in hidden {
        nobody_can_have(fixture, name).await;
    }
}

async fn names_that_cover_the_lines_around(fixture: &Fixture) {
    for name in [&format!("A{}", "\u{334}".repeat(99)), "\u{301}Alice"] {
        nobody_can_have(fixture, name).await;
    }
    register(fixture, Role::Seller, "Ph\u{1edf} Mallory \u{5e9}\u{5c1}\u{5bc}\u{5b8}").await.unwrap();
}

async fn display_name_of_another_party(fixture: &Fixture) {
    for name in ["Alice", " Alice ", "Bob"] {
        refused(register(fixture, Role::Seller, name).await, Reason::DisplayNameTaken).unwrap();
    }
    // A refused registration leaves nothing behind.
    refused(
        Actor::enter(&fixture.market, Role::Seller, "Mallory")
            .await
            .unwrap()
            .sell(draft("X", "home", 1, 1))
            .await,
        Reason::NotRegistered,
    )
    .unwrap();
    // Nor does an earlier name help.
    register(fixture, Role::Seller, "Mallory").await.unwrap();
    refused(register(fixture, Role::Seller, "Alice").await, Reason::DisplayNameTaken).unwrap();
}

async fn display_name_that_looks_like_anothers(fixture: &Fixture) {
    for name in ["ALICE", "AIice", "\u{410}lice", "\u{ff21}lice", "A1ice", "\u{1d538}lice"] {
        refused(register(fixture, Role::Seller, name).await, Reason::DisplayNameTaken).unwrap();
    }
}

async fn buyer_called_like_a_seller(fixture: &Fixture) {
    refused(register(fixture, Role::Buyer, "\u{410}lice").await, Reason::DisplayNameTaken).unwrap();
}
