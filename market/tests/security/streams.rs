//! A party's connection through h2, which leaves the windows and the frames of data to the test.

use bytes::Bytes;
use h2::{
    SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use souk_testkit::actor::Actor;

use crate::{
    fixture::Fixture,
    forge::{client, from_files},
    raw::Pass,
};

pub(crate) struct Streams {
    pass: Pass,
    sender: SendRequest<Bytes>,
}

impl Streams {
    /// Opens a connection with default settings and a token of its own.
    pub(crate) async fn open(fixture: &Fixture, party: &Actor) -> Self {
        Self::open_with(fixture, party, Pass::of(fixture, party).await, &Builder::new()).await
    }

    pub(crate) async fn open_with(fixture: &Fixture, party: &Actor, pass: Pass, settings: &Builder) -> Self {
        let tls = client(fixture, Some(from_files(&party.config.credentials)));
        let stream = fixture.shake_hands(tls).await.unwrap();
        let (sender, connection) = settings.handshake(stream).await.unwrap();
        // Answers pings, so that the connection stays.
        tokio::spawn(connection);
        Self { pass, sender }
    }

    /// Begins a call, and returns the answer's headers when they come, and where to send its messages.
    pub(crate) async fn begin(&self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender.send_request(self.pass.http(path, ()), false).unwrap()
    }
}
