//! Operators: suspending and reinstating a party, the market's clock, mailboxes and dead letters, and the archive.

use anyhow::ensure;
use souk_certs::identity::Role;
use souk_client::error::required;
use souk_proto::{Reason, v1};
use souk_testkit::actor::{Actor, refused};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step("an operator lists the parties", &["AdminService/ListParties"], lists(cast)).await;
    log.step("and sees the figures of the market", &["AdminService/Stats"], sees_figures(cast)).await;
    log.step("and who uses it most", &["AdminService/ListTopTalkers"], sees_top_talkers(cast)).await;
    log.step("a seller can't do what operators do", &[], async {
        refused(list(&cast.carol).await, Reason::RoleDenied)
    })
    .await;
    log.step(
        "a suspended seller is locked out at once: calls, stream and items",
        &["AdminService/Suspend"],
        suspends(cast),
    )
    .await;
    log.step("a reinstated seller can trade again", &["AdminService/Reinstate"], reinstates(cast)).await;
    let calls = &["AdminService/GetClock", "AdminService/AcceptClock"];
    log.step("an operator looks at the clock and accepts it", calls, accepts_clock(cast)).await;
    let calls = &["AdminService/ListMailboxes", "AdminService/ListDeadLetters", "AdminService/Redeliver"];
    log.step("an operator looks at the mailboxes; nothing was dropped", calls, looks_at_mailboxes(cast))
        .await;
    log.step("a seller announces that it receives", &["EventService/AnnounceInbox"], announces(cast)).await;
    log.step(
        "nothing is archived or removed as long as the market keeps it for good",
        &["AdminService/Archive", "AdminService/PruneArchived"],
        archives_nothing(cast),
    )
    .await;
}

async fn list(actor: &Actor) -> Result<v1::ListPartiesResponse, souk_client::Error> {
    actor.connection.call(v1::ListPartiesRequest::default()).await
}

async fn operator(cast: &Cast) -> anyhow::Result<Actor> {
    Actor::enter(&cast.market, Role::Operator, "Olga").await
}

async fn sees_figures(cast: &Cast) -> anyhow::Result<()> {
    let stats = operator(cast).await?.connection.call(v1::StatsRequest {}).await?;
    ensure!(stats.party_count == 4, "{} parties", stats.party_count);
    // The market was started again during the tour, and counts its recent orders from then.
    ensure!(stats.order_count > 0 && stats.orders_last_hour <= stats.order_count, "{stats:?}");
    ensure!(!stats.sales.is_empty(), "no sales");
    Ok(())
}

async fn sees_top_talkers(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::ListTopTalkersRequest::default();
    let top = operator(cast).await?.connection.call(request).await?.parties;
    ensure!(top.iter().any(|party| party.call_count > 0 && party.cpu_time.is_some()), "{top:?}");
    Ok(())
}

async fn lists(cast: &Cast) -> anyhow::Result<()> {
    let page = list(&operator(cast).await?).await?;
    ensure!(page.parties.len() == 4, "{} parties", page.parties.len());
    ensure!(page.parties.iter().all(|party| party.suspension.is_none()), "a party is suspended");
    Ok(())
}

async fn suspends(cast: &Cast) -> anyhow::Result<()> {
    let olga = operator(cast).await?;
    let mut stream = cast.alice.follow();
    let request = v1::SuspendRequest {
        party_id: cast.alice.id(),
        reason: "sells what is not hers".into(),
        ..Default::default()
    };
    let party = required(olga.connection.call(request).await?.party, "party")?;
    ensure!(party.suspension.is_some(), "she is not suspended");
    ensure!(stream.next().await.is_err(), "her stream is still open");
    stream.close().await;
    refused(cast.alice.item(cast.lamp).await, Reason::AccountSuspended)?;
    refused(cast.alice.register(None).await, Reason::AccountSuspended)?;
    refused(cast.bob.item(cast.lamp).await, Reason::ItemNotFound)?;
    refused(cast.bob.buy(cast.lamp, 1).await, Reason::ItemNotFound)?;
    let found = cast.bob.search(v1::SearchItemRequest { seller_id: cast.alice.id(), ..Default::default() });
    ensure!(found.await?.total_size == 0, "her items are found");
    Ok(())
}

async fn reinstates(cast: &Cast) -> anyhow::Result<()> {
    let olga = operator(cast).await?;
    let request = v1::ReinstateRequest { party_id: cast.alice.id(), ..Default::default() };
    let party = required(olga.connection.call(request).await?.party, "party")?;
    ensure!(party.suspension.is_none(), "she is still suspended");
    ensure!(cast.alice.item(cast.lamp).await?.item_id == cast.lamp, "another item");
    cast.bob.buy(cast.lamp, 1).await?;
    Ok(())
}

async fn accepts_clock(cast: &Cast) -> anyhow::Result<()> {
    let olga = operator(cast).await?;
    let clock = required(olga.connection.call(v1::GetClockRequest {}).await?.clock, "clock")?;
    ensure!(!clock.paused, "the clock has jumped");
    let clock = required(olga.connection.call(v1::AcceptClockRequest {}).await?.clock, "clock")?;
    ensure!(!clock.paused, "it was not accepted");
    Ok(())
}

async fn looks_at_mailboxes(cast: &Cast) -> anyhow::Result<()> {
    let olga = operator(cast).await?;
    let page = olga.connection.call(v1::ListMailboxesRequest::default()).await?;
    ensure!(!page.mailboxes.is_empty(), "no mailboxes");
    let dead = olga.connection.call(v1::ListDeadLettersRequest::default()).await?.dead_letters;
    ensure!(dead.is_empty(), "{} dead letters", dead.len());
    let request = v1::RedeliverRequest { dead_letter_ids: vec![1], ..Default::default() };
    refused(olga.connection.call(request).await, Reason::DeadLetterNotFound)
}

async fn announces(cast: &Cast) -> anyhow::Result<()> {
    let announced = cast.alice.connection.call(v1::AnnounceInboxRequest::default()).await?;
    ensure!(announced.missed_order_count == 0, "{} orders were missed", announced.missed_order_count);
    Ok(())
}

async fn archives_nothing(cast: &Cast) -> anyhow::Result<()> {
    let olga = operator(cast).await?;
    let request = v1::ArchiveRequest { table: v1::ArchiveTable::Audit.into(), ..Default::default() };
    let mut due = olga.connection.admin().archive(request).await?.into_inner();
    let first = due.message().await?;
    ensure!(first.is_some_and(|first| first.retention.is_none()), "there is a retention");
    ensure!(due.message().await?.is_none(), "something is due");
    let request = v1::PruneArchivedRequest { order_ids: vec![1], ..Default::default() };
    let pruned = olga.connection.call(request).await?;
    ensure!(pruned.pruned_order_count == 0, "an order is gone");
    Ok(())
}
