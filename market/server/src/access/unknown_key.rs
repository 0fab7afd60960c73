//! Waiting for the key of a token that another market has issued.
//!
//! A market publishes a new key in the store before it signs with it, but the others read it there later. So a call whose
//! token names an unknown key waits for one read of the store before the guard judges it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, Either, FutureExt as _};
use http::{Request, header::AUTHORIZATION};
use tonic::server::NamedService;
use tower::Service;

use super::{Access, Admission, KnownPeer, guard};

/// A guarded service behind that wait.
#[derive(Clone)]
pub struct AwaitKeys<S> {
    service: S,
    access: Arc<Access>,
    admission: Admission,
}

impl<S> AwaitKeys<S> {
    /// Puts the wait before `service`, whose guard admits these callers.
    pub fn new(service: S, access: Arc<Access>, admission: Admission) -> Self {
        Self { service, access, admission }
    }

    /// Returns whether the token of a request names an unknown key. A token that was verified on this connection before is
    /// not looked at again.
    fn has_unknown_key<B>(&self, request: &Request<B>) -> bool {
        if !matches!(self.admission, Admission::Token(_)) {
            return false;
        }
        let Some(authorization) = request.headers().get(AUTHORIZATION) else { return false };
        let peer = request.extensions().get::<KnownPeer>();
        let generation = self.access.tokens.generation();
        let is_known = peer.is_some_and(|peer| peer.recall(authorization.as_bytes(), generation).is_some());
        !is_known
            && guard::bearer(authorization).is_ok_and(|token| self.access.tokens.names_unknown_key(token))
    }
}

impl<S: NamedService> NamedService for AwaitKeys<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for AwaitKeys<S>
where
    S: Service<Request<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.has_unknown_key(&request) {
            return Either::Left(self.service.call(request));
        }
        // The service that is ready is the one to call.
        let ready = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, ready);
        let published = Arc::clone(&self.access.published);
        let waited = async move {
            published.look_up().await;
            service.call(request).await
        };
        Either::Right(waited.boxed())
    }
}
