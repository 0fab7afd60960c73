//! The transport to a market of one address, or of several.

use std::task::{Context, Poll};

use futures::{
    FutureExt as _, TryFutureExt as _,
    future::{BoxFuture, Either, MapErr},
};
use http::{Request, Response};
use tonic::{body::Body, transport::Channel};
use tower::Service;

use crate::{balance::Balancer, error::BoxError};

/// The transport of calls.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// The market has one address.
    One(Channel),
    /// The market has several addresses.
    Many(Balancer),
}

type ChannelFuture = <Channel as Service<Request<Body>>>::Future;
type ChannelError = <Channel as Service<Request<Body>>>::Error;

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    /// A call to the only address is not wrapped.
    type Future = Either<
        MapErr<ChannelFuture, fn(ChannelError) -> BoxError>,
        BoxFuture<'static, Result<Response<Body>, BoxError>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::One(channel) => channel.poll_ready(context).map_err(Into::into),
            // The call itself chooses an address.
            Self::Many(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::One(channel) => {
                let boxed: fn(ChannelError) -> BoxError = Into::into;
                Either::Left(channel.call(request).map_err(boxed))
            }
            Self::Many(balancer) => {
                let balancer = balancer.clone();
                Either::Right(async move { balancer.send(request).await }.boxed())
            }
        }
    }
}
