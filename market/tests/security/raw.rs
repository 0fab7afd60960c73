//! Raw calls with valid credentials, without the client library, which retries and rewrites errors.

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use souk_testkit::actor::Actor;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use crate::fixture::{Fixture, honest, token};

/// Returns the full paths of a service's methods, read from the contract.
pub(crate) fn methods(service: &str) -> Vec<String> {
    let mut methods = souk_proto::methods();
    methods.retain(|method| method.service.strip_prefix("shopping.v1.") == Some(service));
    assert!(!methods.is_empty(), "no service {service}");
    methods.iter().map(souk_proto::Method::path).collect()
}

/// A party's connection and token.
#[derive(Clone)]
pub(crate) struct Pass {
    channel: Channel,
    party: String,
    bearer: String,
}

impl Pass {
    pub(crate) async fn of(fixture: &Fixture, actor: &Actor) -> Self {
        Self::of_token(fixture, actor, &token(actor).await).await
    }

    /// Opens another connection with an existing token.
    pub(crate) async fn of_token(fixture: &Fixture, actor: &Actor, token: &str) -> Self {
        let channel = fixture.market.channel(actor.role, &actor.name).await.unwrap();
        Self { channel, party: actor.id(), bearer: format!("Bearer {token}") }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn token(&self) -> &str {
        self.bearer.trim_start_matches("Bearer ")
    }

    /// Builds a request with this party's metadata.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in honest(&self.party, &self.bearer) {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    /// Builds a call below tonic, with this party's metadata and any body.
    pub(crate) fn http<B>(&self, path: &str, body: B) -> http::Request<B> {
        let (metadata, _, body) = self.request(body).into_parts();
        let mut request = http::Request::post(format!("https://market.souk.internal{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        request.headers_mut().extend(metadata.into_headers());
        request
    }

    /// Makes a call and returns its first message, whether it is unary or a stream.
    pub(crate) async fn call(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
        call(self.channel.clone(), self.request(body), path).await
    }
}

/// Makes a call with the given metadata.
pub(crate) async fn call(channel: Channel, request: Request<Vec<u8>>, path: &str) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(channel);
    Ok(begin(&mut grpc, request, path).await?.message().await?.unwrap_or_default())
}

/// Makes a call and reads its messages to the end.
pub(crate) async fn calls(channel: Channel, request: Request<Vec<u8>>, path: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    let mut answers = begin(&mut grpc, request, path).await?;
    while answers.message().await?.is_some() {}
    Ok(())
}

async fn begin(
    grpc: &mut Grpc<Channel>,
    request: Request<Vec<u8>>,
    path: &str,
) -> Result<Streaming<Vec<u8>>, Status> {
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::try_from(path).unwrap();
    Ok(grpc.server_streaming(request, path, Raw).await?.into_inner())
}

/// A codec that passes messages as raw bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
