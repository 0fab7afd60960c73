//! Accounts and tokens, and identities that are rejected.

use anyhow::{bail, ensure};
use souk_certs::identity::Role;
use souk_client::error::required;
use souk_proto::{
    Reason,
    v1::{self, session_service_client::SessionServiceClient},
};
use souk_testkit::actor::{Actor, draft, refused};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step("a party that has not registered gets no token", &["AccountService/IssueToken"], async {
        let request = v1::IssueTokenRequest {};
        refused(cast.bob.connection.call(request).await, Reason::NotRegistered)
    })
    .await;
    log.step(
        "two sellers register; the market tries Alice's callback server",
        &["AccountService/RegisterSeller", "NotificationService/NotifyClient"],
        register_sellers(cast),
    )
    .await;
    log.step("two buyers register", &["AccountService/RegisterBuyer"], register_buyers(cast)).await;
    log.step("registering again keeps the identity", &[], registers_again(cast)).await;
    log.step("the market sees certificate, token and account", &["SessionService/WhoAmI"], who_am_i(cast))
        .await;
    log.step("a buyer can't sell", &[], async {
        refused(cast.bob.sell(draft("Lamp", "home", 1, 1)).await, Reason::RoleDenied)
    })
    .await;
    log.step("a call without a token is refused", &[], without_token(cast)).await;
    log.step("a connection without a certificate is refused", &[], without_certificate(cast)).await;
}

async fn register_sellers(cast: &Cast) -> anyhow::Result<()> {
    let alice = cast.alice.register(cast.alice_events.port()).await?;
    ensure!(alice.callback.is_some(), "the callback was not registered");
    let carol = cast.carol.register(None).await?;
    ensure!(carol.party_id == cast.carol.id(), "another identity: {}", carol.party_id);
    Ok(())
}

async fn register_buyers(cast: &Cast) -> anyhow::Result<()> {
    for buyer in [&cast.bob, &cast.dave] {
        let account = buyer.register(None).await?;
        ensure!(account.role() == v1::Role::Buyer, "another role");
    }
    Ok(())
}

async fn registers_again(cast: &Cast) -> anyhow::Result<()> {
    let first = cast.carol.register(None).await?;
    let again = cast.carol.register(None).await?;
    ensure!(first.party_id == again.party_id && first.register_time == again.register_time, "{again:?}");
    Ok(())
}

async fn who_am_i(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::WhoAmIRequest {};
    let who = cast.alice.connection.call(request).await?;
    let certificate = required(who.certificate, "certificate")?;
    let expected = format!("spiffe://souk.internal/seller/{}", cast.alice.id());
    ensure!(certificate.spiffe_id == expected, "{} instead of {expected}", certificate.spiffe_id);
    ensure!(who.token.is_some() && who.account.is_some(), "token or account is missing");
    Ok(())
}

async fn without_token(cast: &Cast) -> anyhow::Result<()> {
    let channel = cast.market.channel(Role::Buyer, "Bob").await?;
    let mut request = tonic::Request::new(v1::WhoAmIRequest {});
    request.metadata_mut().insert(souk_proto::metadata::PARTY_ID, cast.bob.id().parse()?);
    match SessionServiceClient::new(channel).who_am_i(request).await {
        Err(status) if Reason::of(&status) == Some(Reason::TokenRequired) => Ok(()),
        other => bail!("{other:?}"),
    }
}

/// Tries a certificate that another authority has signed, which must be rejected like none at all.
async fn without_certificate(cast: &Cast) -> anyhow::Result<()> {
    let plain = format!("http://{}", cast.market.address());
    let channel = tonic::transport::Endpoint::from_shared(plain)?.connect_lazy();
    let refused = SessionServiceClient::new(channel).who_am_i(v1::WhoAmIRequest {}).await;
    ensure!(refused.is_err(), "the market spoke without TLS");
    let elsewhere = souk_testkit::local::LocalMarket::open(Default::default()).await?;
    let stranger = Actor::enter(&elsewhere, Role::Buyer, "Mallory").await?;
    let mut config = stranger.config.clone();
    config.market = cast.market.address().into();
    let mallory = souk_client::Connection::open(&config).await?;
    let refused = mallory.call(v1::IssueTokenRequest {}).await;
    elsewhere.close().await?;
    match refused {
        Err(souk_client::Error::Untrusted { .. }) => Ok(()),
        other => bail!("{other:?}"),
    }
}
