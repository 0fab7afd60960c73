//! Callback addresses as a way into the market's network, misbehaving callback servers, and callers that
//! pretend to be the market.

use std::net::{Ipv4Addr, SocketAddr};

use souk_certs::{
    connector::{self, ConnectOptions},
    credentials::CredentialFiles,
    identity::{Identity, Role, TrustDomain},
};
use souk_client::Error;
use souk_proto::{Reason, v1, v1::notification_service_client::NotificationServiceClient};
use souk_testkit::{
    actor::{Actor, draft, refused},
    local::LocalMarketOptions,
};
use tokio::{net::TcpListener, time::timeout};
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use crate::{
    fixture::{Fixture, PATIENCE, attacks},
    rogue::{Manner, Rogue},
};

attacks!(
    honest_callback_registers_or_the_cases_would_prove_nothing,
    callback_with_another_partys_certificate,
    callback_taken_over_by_another_party,
    callback_with_a_revoked_certificate,
    refusals_sound_the_same_whatever_is_there,
    name_is_stored_as_the_address_that_was_checked,
    callback_that_hangs,
    callback_that_replies_hugely,
    callback_that_acknowledges_what_it_was_not_sent,
    callback_that_acknowledges_backwards,
    buyer_calls_a_sellers_callback,
    seller_calls_its_own_callback,
    market_impostor_of_another_authority_calls_a_callback,
    events_replayed_to_a_callback,
    events_reordered_to_a_callback,
    events_for_somebody_else_to_a_callback,
);

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn register_at(actor: &Actor, host: &str, port: u32) -> Result<v1::Account, Error> {
    let request = v1::RegisterSellerRequest {
        display_name: actor.name.clone(),
        callback: Some(v1::CallbackAddress { host: host.into(), port }),
        ..Default::default()
    };
    Ok(actor.connection.call(request).await?.account.unwrap())
}

async fn mallory(fixture: &Fixture) -> Actor {
    Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap()
}

async fn honest_callback_registers_or_the_cases_would_prove_nothing(fixture: &Fixture) {
    let mallory = mallory(fixture).await;
    let mut events = mallory.listen(HERE).await.unwrap();
    mallory.register(events.port()).await.unwrap();
    sell_one(fixture, &mallory).await;
    events.next().await.unwrap();
    events.close().await;
}

/// Lets another party buy one of this seller's items.
async fn sell_one(fixture: &Fixture, seller: &Actor) {
    let item = seller.sell(draft("Vase", "home", 900, 5)).await.unwrap();
    let carol = Actor::enter(&fixture.market, Role::Buyer, "Carol").await.unwrap();
    carol.register(None).await.unwrap();
    carol.buy(item.item_id, 1).await.unwrap();
}

async fn callback_with_another_partys_certificate(fixture: &Fixture) {
    let mallory = mallory(fixture).await;
    // Alice's own server, which mallory wants the market to call.
    let events = fixture.alice.listen(HERE).await.unwrap();
    let registered = mallory.register(events.port()).await;
    refused(registered, Reason::CallbackUnreachable).unwrap();
    events.close().await;
}

async fn callback_taken_over_by_another_party(fixture: &Fixture) {
    let mallory = mallory(fixture).await;
    let events = mallory.listen(HERE).await.unwrap();
    let at = SocketAddr::new(HERE.ip(), events.port().unwrap());
    mallory.register(events.port()).await.unwrap();
    events.close().await;
    let mut others = fixture.alice.listen(at).await.unwrap();
    sell_one(fixture, &mallory).await;
    failed_delivery(&mallory).await;
    assert!(others.is_silent(), "nothing of mallory's reaches alice");
    others.close().await;
}

async fn callback_with_a_revoked_certificate(fixture: &Fixture) {
    let before = mallory(fixture).await;
    // The server keeps presenting the certificate that it started with.
    let events = before.listen(HERE).await.unwrap();
    before.register(events.port()).await.unwrap();
    fixture.market.change_pki(|pki| {
        pki.revoke("mallory", souk_certs::clock::now()).unwrap();
        pki.renew("mallory", true, souk_certs::clock::now()).unwrap();
    });
    let after = mallory(fixture).await;
    let refused = timeout(PATIENCE, async {
        loop {
            if let Err(failure) = after.register(events.port()).await {
                return failure;
            }
        }
    });
    let failure = refused.await.expect("the market's outgoing side has the new list too");
    assert_eq!(failure.refusal().and_then(|refusal| refusal.reason()), Some(Reason::CallbackUnreachable));
    events.close().await;
}

/// Waits until a delivery to this party has failed.
async fn failed_delivery(actor: &Actor) -> v1::MailboxStatusResponse {
    let failed = timeout(PATIENCE, async {
        loop {
            let mailbox = actor.mailbox().await.unwrap();
            if mailbox.failure_count > 0 {
                return mailbox;
            }
        }
    });
    failed.await.expect("a delivery fails")
}

async fn refusals_sound_the_same_whatever_is_there(fixture: &Fixture) {
    let mallory = mallory(fixture).await;
    // Nothing listens; a server without TLS listens; another party's server listens.
    let free = TcpListener::bind(HERE).await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind(HERE).await.unwrap();
    let events = fixture.alice.listen(HERE).await.unwrap();
    let ports = [free.port(), silent.local_addr().unwrap().port(), events.port().unwrap()];
    let mut answers = Vec::new();
    for port in ports {
        let failure = mallory.register(Some(port)).await.unwrap_err();
        answers.push(failure.to_string().replace(&port.to_string(), "PORT"));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    events.close().await;
}

async fn name_is_stored_as_the_address_that_was_checked(fixture: &Fixture) {
    let mallory = mallory(fixture).await;
    let events = mallory.listen(HERE).await.unwrap();
    let port = u32::from(events.port().unwrap());
    register_at(&mallory, "localhost", port).await.unwrap();
    let stored = mallory.mailbox().await.unwrap().callback.unwrap();
    assert!(stored.host.parse::<std::net::IpAddr>().is_ok(), "no name is left to resolve: {}", stored.host);
    events.close().await;
}

/// Registers a seller whose callback server misbehaves.
async fn with_rogue(fixture: &Fixture, manner: Manner) -> (Actor, Rogue) {
    let mallory = mallory(fixture).await;
    let rogue = Rogue::open(&mallory.config.credentials, manner).await;
    mallory.register(Some(rogue.address.port())).await.unwrap();
    (mallory, rogue)
}

async fn callback_that_hangs(fixture: &Fixture) {
    let (mallory, rogue) = with_rogue(fixture, Manner::Hang).await;
    sell_one(fixture, &mallory).await;
    assert_eq!(mallory.mailbox().await.unwrap().failure_count, 0, "the purchase did not wait for it");
    let mailbox = failed_delivery(&mallory).await;
    assert_eq!((mailbox.pending_count, rogue.events()), (1, 1));
}

async fn callback_that_replies_hugely(fixture: &Fixture) {
    let (mallory, _rogue) = with_rogue(fixture, Manner::Huge).await;
    sell_one(fixture, &mallory).await;
    let mailbox = failed_delivery(&mallory).await;
    assert_eq!(mailbox.pending_count, 1);
    assert!(mailbox.last_failure.len() < 200, "nothing of the reply is kept: {}", mailbox.last_failure);
}

/// An acknowledgement settles only what was sent in its batch.
async fn callback_that_acknowledges_what_it_was_not_sent(fixture: &Fixture) {
    let (mallory, rogue) = with_rogue(fixture, Manner::Acknowledge(i64::MAX)).await;
    for sales in 1..=2 {
        sell_one(fixture, &mallory).await;
        let settled = timeout(PATIENCE, async {
            while mallory.mailbox().await.unwrap().acknowledged_sequence < sales {}
        });
        settled.await.expect("the event is delivered");
        let mailbox = mallory.mailbox().await.unwrap();
        assert_eq!((mailbox.acknowledged_sequence, mailbox.pending_count), (sales, 0));
    }
    assert_eq!(rogue.events(), 2);
}

async fn callback_that_acknowledges_backwards(fixture: &Fixture) {
    let (mallory, _rogue) = with_rogue(fixture, Manner::Acknowledge(i64::MIN)).await;
    sell_one(fixture, &mallory).await;
    let mailbox = failed_delivery(&mallory).await;
    assert_eq!((mailbox.acknowledged_sequence, mailbox.pending_count), (0, 1));
}

/// Calls a party's callback server with the given certificate.
async fn notify(
    files: &CredentialFiles,
    recipient: &Actor,
    port: u16,
    events: Vec<v1::Event>,
) -> Result<i64, Status> {
    let request = v1::NotifyClientRequest { recipient_id: recipient.id(), events };
    let mut client = NotificationServiceClient::new(to_callback(files, recipient, port));
    Ok(client.notify_client(request).await?.into_inner().acknowledged_sequence)
}

fn to_callback(files: &CredentialFiles, recipient: &Actor, port: u16) -> Channel {
    let domain = TrustDomain::default();
    let now = souk_certs::clock::now();
    let credentials = souk_certs::credentials::Credentials::load(files, &domain, now).unwrap();
    let tls = souk_certs::client::ClientTls::new(&credentials).unwrap();
    let target = SocketAddr::new(HERE.ip(), port).into();
    let identity = Identity::Seller(recipient.connection.party());
    connector::channel(target, identity, tls, &domain, ConnectOptions::default())
}

fn market(fixture: &Fixture) -> CredentialFiles {
    CredentialFiles::beside(fixture.market.path().join("pki/market.pem"))
}

fn notice(recipient: &Actor, sequence: i64, id: Uuid) -> v1::Event {
    v1::Event {
        event_id: id.to_string(),
        sequence,
        recipient_id: recipient.id(),
        kind: Some(v1::event::Kind::TestNotice(v1::TestNotice { text: "hello".into() })),
        ..Default::default()
    }
}

async fn turned_away(fixture: &Fixture, files: &CredentialFiles) {
    let mut events = fixture.alice.listen(HERE).await.unwrap();
    let lie = notice(&fixture.alice, 1, souk_certs::random::uuid_v4());
    let status = notify(files, &fixture.alice, events.port().unwrap(), vec![lie])
        .await
        .expect_err("only the market gets in");
    assert_eq!(status.code(), tonic::Code::Unavailable, "there is no connection: {status:?}");
    assert!(events.is_silent());
    events.close().await;
}

async fn buyer_calls_a_sellers_callback(fixture: &Fixture) {
    turned_away(fixture, &fixture.bob.config.credentials).await;
}

async fn seller_calls_its_own_callback(fixture: &Fixture) {
    turned_away(fixture, &fixture.alice.config.credentials).await;
}

async fn market_impostor_of_another_authority_calls_a_callback(fixture: &Fixture) {
    let elsewhere = Fixture::open().await;
    // It trusts alice's authority, but its own certificate is from another one.
    let files = CredentialFiles {
        ca: Some(fixture.market.path().join("pki/ca.pem")),
        crl: Some(fixture.market.path().join("pki/crl.pem")),
        ..market(&elsewhere)
    };
    let loaded =
        souk_certs::credentials::Credentials::load(&files, &TrustDomain::default(), souk_certs::clock::now());
    assert!(loaded.is_err(), "the library does not even load such files");
    let events = fixture.alice.listen(HERE).await.unwrap();
    let tls = crate::forge::client(fixture, Some(crate::forge::from_files(&files)));
    let target = SocketAddr::new(HERE.ip(), events.port().unwrap()).into();
    let identity = Identity::Seller(fixture.alice.connection.party());
    let tls = std::sync::Arc::new(tls).into();
    let channel =
        connector::channel(target, identity, tls, &TrustDomain::default(), ConnectOptions::default());
    let request = v1::NotifyClientRequest { recipient_id: fixture.alice.id(), events: Vec::new() };
    let status = NotificationServiceClient::new(channel).notify_client(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    events.close().await;
}

async fn events_replayed_to_a_callback(fixture: &Fixture) {
    let mut events = fixture.alice.listen(HERE).await.unwrap();
    let event = notice(&fixture.alice, 1, souk_certs::random::uuid_v4());
    let (port, files) = (events.port().unwrap(), market(fixture));
    let first = notify(&files, &fixture.alice, port, vec![event.clone()]);
    let (acknowledged, seen) = tokio::join!(first, events.next());
    assert_eq!((acknowledged.unwrap(), seen.unwrap()), (1, event.clone()));
    for replay in [vec![event.clone()], vec![event.clone(); 3]] {
        assert_eq!(notify(&files, &fixture.alice, port, replay).await.unwrap(), 1, "it is had already");
        assert!(events.is_silent(), "the user is not notified again");
    }
    events.close().await;
}

async fn events_reordered_to_a_callback(fixture: &Fixture) {
    let mut inbox = fixture.alice.listen(HERE).await.unwrap();
    let (port, files) = (inbox.port().unwrap(), market(fixture));
    let events = [1, 2].map(|sequence| notice(&fixture.alice, sequence, souk_certs::random::uuid_v4()));
    for event in events.iter().rev() {
        let sending = notify(&files, &fixture.alice, port, vec![event.clone()]);
        let (acknowledged, seen) = tokio::join!(sending, inbox.next());
        assert_eq!((acknowledged.unwrap(), &seen.unwrap()), (event.sequence, event));
    }
    notify(&files, &fixture.alice, port, events.to_vec()).await.unwrap();
    assert!(inbox.is_silent(), "each came once, in whatever order");
    inbox.close().await;
}

async fn events_for_somebody_else_to_a_callback(fixture: &Fixture) {
    let mut events = fixture.alice.listen(HERE).await.unwrap();
    let (port, files) = (events.port().unwrap(), market(fixture));
    let for_bob = notice(&fixture.bob, 1, souk_certs::random::uuid_v4());
    let misled = v1::NotifyClientRequest { recipient_id: fixture.bob.id(), events: vec![for_bob.clone()] };
    let channel = to_callback(&files, &fixture.alice, port);
    let refused = NotificationServiceClient::new(channel).notify_client(misled).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::WrongRecipient));
    // It is dropped, and does not block alice's own events around it.
    notify(&files, &fixture.alice, port, vec![for_bob]).await.unwrap();
    assert!(events.is_silent());
    events.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_are_never_called() {
    let strict = |config: &mut souk_server::config::Config| {
        config.callbacks.allow_loopback = false;
        config.callbacks.allow = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    };
    let fixture = Fixture::with(LocalMarketOptions { adjust: strict, ..LocalMarketOptions::default() }).await;
    let mallory = mallory(&fixture).await;
    for host in [
        "",
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "::ffff:127.0.0.1",
        "localhost",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "127.0.0.1:22",
        "user@127.0.0.1",
        "http://127.0.0.1/",
        "no such host",
    ] {
        refused(register_at(&mallory, host, 7444).await, Reason::CallbackRefused)
            .unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    for port in [0, 65_536, u32::MAX] {
        refused(register_at(&mallory, "192.0.2.7", port).await, Reason::InvalidField).unwrap();
    }
    fixture.hold().await;
}
