//! Sessions, which add the caller's metadata to every call.
//!
//! [`Session`] stands between the generated clients and the `Transport` to the market. It adds `x-party-id` and, for
//! all services but AccountService, the bearer token, which it fetches when there is none, renews at two
//! thirds of its life and forgets when the market answers UNAUTHENTICATED. Replaying the refused call is
//! left to [`Connection::call`](crate::Connection::call): only there is the request whole. The transport that
//! it stands on is timed ([`timing`](crate::timing)).

mod token;
mod transport;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, header::AUTHORIZATION};
use souk_proto::metadata::PARTY_ID;
use tonic::{Code, Status, body::Body};
use tower::{Service, ServiceExt as _};
use uuid::Uuid;

pub(crate) use token::TokenKeeper;
pub(crate) use transport::Transport;

use crate::{error::BoxError, timing::Timing};

const PARTY_ID_HEADER: HeaderName = HeaderName::from_static(PARTY_ID);

/// A transport that adds the caller's identity to every call. Clones share transport and token.
#[derive(Clone, Debug)]
pub struct Session {
    transport: Timing<Transport>,
    party_id: HeaderValue,
    /// `None` for AccountService, which requires no token.
    tokens: Option<Arc<TokenKeeper>>,
}

impl Session {
    /// Creates a session without a token, for AccountService.
    pub(crate) fn without_token(transport: Timing<Transport>, party: Uuid) -> Self {
        let mut text = Uuid::encode_buffer();
        let text = party.hyphenated().encode_lower(&mut text);
        #[expect(clippy::expect_used, reason = "a UUID is of hexadecimal digits and hyphens only")]
        let party_id = HeaderValue::from_str(text).expect("a UUID is a header value");
        Self { transport, party_id, tokens: None }
    }

    /// Returns the same session without reports of its calls.
    pub(crate) fn silent(&self) -> Self {
        let mut session = self.clone();
        session.transport.silence();
        session
    }

    /// Returns the same session with a token, for all other services.
    pub(crate) fn with_tokens(&self, tokens: Arc<TokenKeeper>) -> Self {
        Self { tokens: Some(tokens), ..self.clone() }
    }
}

impl Service<Request<Body>> for Session {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    /// Always ready: the call itself waits for the channel, after it has the token.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Self { mut transport, party_id, tokens } = self.clone();
        // Replaces rather than appends: the market rejects a call in which it occurs twice.
        request.headers_mut().insert(PARTY_ID_HEADER, party_id);
        Box::pin(async move {
            let Some(tokens) = tokens else { return send(&mut transport, request).await };
            let token = tokens.token().await?;
            request.headers_mut().insert(AUTHORIZATION, token.bearer().clone());
            let response = send(&mut transport, request).await?;
            // Dropped at once, not by the caller of the call: all calls in progress share the token, and one rejection is enough.
            if is_unauthenticated(&response) {
                tokens.forget(&token);
            }
            Ok(response)
        })
    }
}

async fn send(transport: &mut Timing<Transport>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    transport.ready().await?.call(request).await
}

/// Returns whether a call was rejected before reaching a handler. The status is then in the headers, without
/// a body.
fn is_unauthenticated(response: &Response<Body>) -> bool {
    let status = response.headers().get(Status::GRPC_STATUS);
    status.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unauthenticated)
}
