//! Operators: suspending and reinstating a party.

use anyhow::ensure;
use souk_certs::identity::Role;
use souk_client::error::required;
use souk_proto::{Reason, v1};
use souk_testkit::actor::{Actor, refused};

use super::{Log, Scene};

pub(super) async fn tour(log: &mut Log, scene: &mut Scene) {
    log.step("an operator lists the parties", &["AdminService/ListParties"], lists(scene)).await;
    log.step("a seller can't do what operators do", &[], async {
        refused(list(&scene.carol).await, Reason::RoleDenied)
    })
    .await;
    log.step(
        "a suspended seller is locked out at once: calls, stream and items",
        &["AdminService/Suspend"],
        suspends(scene),
    )
    .await;
    log.step("a reinstated seller can trade again", &["AdminService/Reinstate"], reinstates(scene)).await;
}

async fn list(actor: &Actor) -> Result<v1::ListPartiesResponse, souk_client::Error> {
    actor.connection.call(v1::ListPartiesRequest::default()).await
}

async fn operator(scene: &Scene) -> anyhow::Result<Actor> {
    Actor::enter(&scene.ground, Role::Operator, "Olga").await
}

async fn lists(scene: &Scene) -> anyhow::Result<()> {
    let page = list(&operator(scene).await?).await?;
    ensure!(page.parties.len() == 4, "{} parties", page.parties.len());
    ensure!(page.parties.iter().all(|party| party.suspension.is_none()), "a party is suspended");
    Ok(())
}

async fn suspends(scene: &Scene) -> anyhow::Result<()> {
    let olga = operator(scene).await?;
    let mut stream = scene.alice.follow();
    let request = v1::SuspendRequest {
        request_id: olga.connection.request_id(),
        party_id: scene.alice.id(),
        reason: "sells what is not hers".into(),
        ..Default::default()
    };
    let party = required(olga.connection.call(request).await?.party, "party")?;
    ensure!(party.suspension.is_some(), "she is not suspended");
    ensure!(stream.next().await.is_err(), "her stream is still open");
    stream.close().await;
    refused(scene.alice.item(scene.lamp).await, Reason::AccountSuspended)?;
    refused(scene.alice.register(None).await, Reason::AccountSuspended)?;
    refused(scene.bob.item(scene.lamp).await, Reason::ItemNotFound)?;
    refused(scene.bob.buy(scene.lamp, 1).await, Reason::ItemNotFound)?;
    let found = scene.bob.search(v1::SearchItemRequest { seller_id: scene.alice.id(), ..Default::default() });
    ensure!(found.await?.total_size == 0, "her items are found");
    Ok(())
}

async fn reinstates(scene: &Scene) -> anyhow::Result<()> {
    let olga = operator(scene).await?;
    let request = v1::ReinstateRequest {
        request_id: olga.connection.request_id(),
        party_id: scene.alice.id(),
        ..Default::default()
    };
    let party = required(olga.connection.call(request).await?.party, "party")?;
    ensure!(party.suspension.is_none(), "she is still suspended");
    ensure!(scene.alice.item(scene.lamp).await?.item_id == scene.lamp, "another item");
    scene.bob.buy(scene.lamp, 1).await?;
    Ok(())
}
