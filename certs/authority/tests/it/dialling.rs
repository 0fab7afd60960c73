//! The failed step of a dial, as found in the sources of a tonic status.

use std::io;
use std::time::{Duration, Instant};

use souk_certs::connector::{ConnectOptions, Dial, DialError, DialStep, channel, dial_error};
use souk_certs::identity::{Identity, Role, TrustDomain};
use tokio::net::TcpListener;

use crate::echo::ask_on;
use crate::world::World;

async fn fail(target: Dial, connect_timeout: Duration) -> tonic::Status {
    let mut world = World::new();
    let client = world.party("bob", Role::Buyer);
    let options = ConnectOptions { connect_timeout, ..ConnectOptions::default() };
    let channel =
        channel(target, Identity::Market, world.client(&client).into(), &TrustDomain::default(), options);
    ask_on(&channel).await.unwrap_err()
}

fn step(status: &tonic::Status) -> DialStep {
    assert_eq!(status.code(), tonic::Code::Unavailable);
    dial_error(status).unwrap().step
}

fn cause(error: &DialError) -> io::ErrorKind {
    error.source.downcast_ref::<io::Error>().unwrap().kind()
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let target = Dial { host: "no-such-host.invalid".to_owned(), port: 7443 };
    let status = fail(target, Duration::from_secs(2)).await;
    assert_eq!(step(&status), DialStep::Resolve);
    assert!(status.message().contains("cannot resolve no-such-host.invalid:7443"), "{}", status.message());
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let status = fail(address.into(), Duration::from_secs(2)).await;
    assert_eq!(step(&status), DialStep::Tcp);
    assert_eq!(cause(dial_error(&status).unwrap()), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = Instant::now();
    let status = fail(listener.local_addr().unwrap().into(), Duration::from_millis(100)).await;
    assert_eq!(step(&status), DialStep::Tls);
    assert_eq!(cause(dial_error(&status).unwrap()), io::ErrorKind::TimedOut);
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        tcp
    });
    let status = fail(address.into(), Duration::from_secs(5)).await;
    assert_eq!(step(&status), DialStep::Tls);
    plain.await.unwrap();
}
