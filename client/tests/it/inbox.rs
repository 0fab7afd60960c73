//! The callback server: who may call it, and how it handles events.

use std::time::Duration;

use souk_client::{Inbox, Notice, Seen};
use souk_proto::{
    Reason,
    v1::{Event, MissedTotal, NotifyClientRequest, notification_service_client::NotificationServiceClient},
};
use tokio::sync::mpsc;
use tonic::{Code, Status, transport::Channel};

use crate::world::{Party, World, next, notice_of, test_notice};

type Caller = NotificationServiceClient<Channel>;

struct Opened {
    inbox: Inbox,
    notices: mpsc::Receiver<Notice>,
    market: Caller,
}

async fn open(world: &World, alice: &Party, seen: Seen) -> Opened {
    let listener = Inbox::bind("127.0.0.1:0".parse().expect("an address")).await.expect("bound");
    let (inbox, notices) = Inbox::open(listener, &alice.credentials, seen).expect("opened");
    let market = NotificationServiceClient::new(world.market_party.call(inbox.address(), alice));
    Opened { inbox, notices, market }
}

fn batch(alice: &Party, events: impl IntoIterator<Item = Event>) -> NotifyClientRequest {
    NotifyClientRequest { recipient_id: alice.id.to_string(), events: events.into_iter().collect() }
}

async fn notify(caller: &Caller, request: NotifyClientRequest) -> Result<i64, Status> {
    let answer = caller.clone().notify_client(request).await?;
    Ok(answer.into_inner().acknowledged_sequence)
}

#[tokio::test]
async fn events_are_acknowledged_once_the_consumer_took_them() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { inbox, mut notices, market } = open(&world, &alice, Seen::in_memory()).await;
    let request = batch(&alice, [test_notice(&alice, 4, "a"), test_notice(&alice, 7, "b")]);
    let call = tokio::spawn(async move { notify(&market, request).await });
    assert_eq!(notice_of(&mut notices).await.take().event_id, "a");
    let second = notice_of(&mut notices).await;
    assert!(!call.is_finished(), "the second event is not taken yet");
    assert_eq!(second.take().event_id, "b");
    assert_eq!(call.await.expect("no panic").expect("acknowledged"), 7);
    inbox.close().await;
}

#[tokio::test]
async fn an_event_that_was_dropped_untaken_holds_the_acknowledgement_back() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { inbox, mut notices, market } = open(&world, &alice, Seen::in_memory()).await;
    let events = [test_notice(&alice, 1, "a"), test_notice(&alice, 2, "b"), test_notice(&alice, 3, "c")];
    let request = batch(&alice, events);
    let again = request.clone();
    let caller = market.clone();
    let call = tokio::spawn(async move { notify(&caller, request).await });
    notice_of(&mut notices).await.take();
    drop(notice_of(&mut notices).await);
    notice_of(&mut notices).await.take();
    assert_eq!(call.await.expect("no panic").expect("acknowledged"), 1);

    let call = tokio::spawn(async move { notify(&market, again).await });
    assert_eq!(notice_of(&mut notices).await.take().event_id, "b", "only what was not taken comes again");
    assert_eq!(call.await.expect("no panic").expect("acknowledged"), 3);
    inbox.close().await;
}

#[tokio::test]
async fn duplicates_are_dropped_over_a_restart() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let folder = tempfile::tempdir().expect("a folder");
    let remembered = || Seen::open(folder.path(), &world.dial().into(), alice.id).expect("opened");
    let request = batch(&alice, [test_notice(&alice, 1, "a")]);

    let Opened { inbox, mut notices, market } = open(&world, &alice, remembered()).await;
    let first = request.clone();
    let call = tokio::spawn(async move { notify(&market, first).await });
    notice_of(&mut notices).await.take();
    call.await.expect("no panic").expect("acknowledged");
    inbox.close().await;

    let Opened { inbox, mut notices, market } = open(&world, &alice, remembered()).await;
    assert_eq!(notify(&market, request).await.expect("acknowledged"), 1, "so that the market lets it rest");
    let call = tokio::spawn({
        let request = batch(&alice, [test_notice(&alice, 2, "b")]);
        async move { notify(&market, request).await }
    });
    assert_eq!(notice_of(&mut notices).await.take().event_id, "b", "the first one did not come again");
    call.await.expect("no panic").expect("acknowledged");
    inbox.close().await;
}

#[tokio::test]
async fn another_partys_events_are_refused() {
    let world = World::open().await;
    let (alice, carol) = (world.party("seller/alice"), world.party("seller/carol"));
    let Opened { inbox, mut notices, market } = open(&world, &alice, Seen::in_memory()).await;
    let status = notify(&market, batch(&carol, [test_notice(&carol, 1, "a")])).await.expect_err("refused");
    assert_eq!(Reason::of(&status), Some(Reason::WrongRecipient));
    assert!(notices.try_recv().is_err());
    inbox.close().await;
}

#[tokio::test]
async fn nobody_but_the_market_gets_in() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { inbox, mut notices, market } = open(&world, &alice, Seen::in_memory()).await;
    for name in ["seller/mallory", "buyer/mallory", "operator/mallory"] {
        let mallory = NotificationServiceClient::new(world.party(name).call(inbox.address(), &alice));
        notify(&mallory, batch(&alice, [test_notice(&alice, 1, "a")])).await.expect_err("refused");
    }
    let foreign = World::open().await;
    let impostor = NotificationServiceClient::new(foreign.market_party.call(inbox.address(), &alice));
    notify(&impostor, batch(&alice, [test_notice(&alice, 1, "a")])).await.expect_err("refused");
    assert!(notices.try_recv().is_err());
    assert_eq!(notify(&market, batch(&alice, [])).await.expect("the market itself is let in"), 0);
    inbox.close().await;
}

#[tokio::test]
async fn too_much_at_once_is_refused() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { inbox, notices: _notices, market } = open(&world, &alice, Seen::in_memory()).await;
    let many = (0..65).map(|n| test_notice(&alice, n, &n.to_string()));
    let status = notify(&market, batch(&alice, many)).await.expect_err("refused");
    assert_eq!(Reason::of(&status), Some(Reason::InvalidField));
    let large = test_notice(&alice, 1, &"x".repeat(600 * 1024));
    let status = notify(&market, batch(&alice, [large])).await.expect_err("refused");
    assert_eq!(status.code(), Code::OutOfRange);
    inbox.close().await;
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_makes_the_market_wait() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { inbox, mut notices, market } = open(&world, &alice, Seen::in_memory()).await;
    let request = batch(&alice, [test_notice(&alice, 1, "a")]);
    let status = notify(&market, request.clone()).await.expect_err("not taken");
    assert_eq!(Reason::of(&status), Some(Reason::Overloaded));
    // The event still waits with the consumer, so the repeat does not queue it twice.
    let call = tokio::spawn(async move { notify(&market, request).await });
    notice_of(&mut notices).await.take();
    assert_eq!(call.await.expect("no panic").expect("acknowledged"), 1);
    assert!(notices.try_recv().is_err());
    inbox.close().await;
}

#[tokio::test]
async fn closing_lets_the_call_under_way_finish() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { inbox, mut notices, market } = open(&world, &alice, Seen::in_memory()).await;
    let address = inbox.address();
    let request = batch(&alice, [test_notice(&alice, 1, "a")]);
    let caller = market.clone();
    let call = tokio::spawn(async move { notify(&caller, request).await });
    let delivery = notice_of(&mut notices).await;
    let closing = tokio::spawn(inbox.close());
    delivery.take();
    assert_eq!(call.await.expect("no panic").expect("acknowledged"), 1);
    tokio::time::timeout(Duration::from_secs(10), closing).await.expect("in time").expect("no panic");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the socket is closed");
}

#[tokio::test]
async fn missed_events_that_an_announcement_reports_are_confirmed() {
    let world = World::open().await;
    let alice = world.party("seller/alice");
    let Opened { mut inbox, mut notices, .. } = open(&world, &alice, Seen::in_memory()).await;
    inbox.announce(world.connect(&alice));
    match next(&mut notices).await {
        Notice::Opened { missed, .. } => assert_eq!((missed.orders, missed.updates), (2, 0)),
        other => panic!("{other:?}"),
    }
    world.market.until("a confirmation", |script| !script.confirmed.is_empty()).await;
    assert_eq!(world.market.script().confirmed, [MissedTotal { order_count: 2, update_count: 0 }]);
    inbox.close().await;
}
