//! Decides about an answer while it can still be refused: before its headers are sent.
//!
//! A party whose clients leave too much unread gets OVERLOADED instead of a further call, and instead of a large answer
//! to a call that began before. The latter harms no change: a call that is repeated with the same `request_id` gets its
//! outcome. A large answer is compressed, if its client accepts that.

use std::{
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::Either;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tower::{Layer, Service};

use super::{
    answers::AnswerShare,
    compress::{self, Encoding},
};

/// Answers of at least this size are refused to a party that leaves too much unread.
const LARGE: usize = 16 * 1024;

/// A layer that applies [`FirstFrame`] to the calls of a connection.
#[derive(Clone, Debug)]
pub(super) struct FirstFrameLayer(AnswerShare);

impl FirstFrameLayer {
    /// Creates the layer of a connection with this share.
    pub(super) fn new(share: AnswerShare) -> Self {
        Self(share)
    }
}

impl<S> Layer<S> for FirstFrameLayer {
    type Service = FirstFrame<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FirstFrame { inner, share: self.0.clone() }
    }
}

/// A service that looks at the beginning of each answer before it is sent.
#[derive(Clone, Debug)]
pub(super) struct FirstFrame<S> {
    inner: S,
    share: AnswerShare,
}

impl<S, B, A> Service<Request<B>> for FirstFrame<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    A: Body<Data = Bytes> + Default + Unpin,
{
    type Response = Response<BegunBody<A>>;
    type Error = S::Error;
    type Future = Either<Beginning<S::Future>, Ready<Result<Self::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Err(refusal) = self.share.check() {
            return Either::Right(ready(Ok(refused(refusal))));
        }
        let encoding = Encoding::accepted(request.headers());
        Either::Left(Beginning { call: self.inner.call(request), share: self.share.clone(), encoding })
    }
}

fn refused<A>(refusal: Status) -> Response<BegunBody<A>>
where
    A: Body<Data = Bytes> + Default + Unpin,
{
    refusal.into_http().map(BegunBody::of)
}

pin_project! {
    /// A call whose answer is looked at when it begins.
    pub(super) struct Beginning<F> {
        #[pin]
        call: F,
        share: AnswerShare,
        encoding: Option<Encoding>,
    }
}

impl<F, A, E> Future for Beginning<F>
where
    F: Future<Output = Result<Response<A>, E>>,
    A: Body<Data = Bytes> + Default + Unpin,
{
    type Output = Result<Response<BegunBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(context))?.map(BegunBody::of);
        let size = response.body_mut().begin(context);
        if size >= LARGE
            && let Err(refusal) = this.share.check()
        {
            return Poll::Ready(Ok(refused(refusal)));
        }
        let Some(encoding) = this.encoding.filter(|_| size >= compress::SMALLEST) else {
            return Poll::Ready(Ok(response));
        };
        let (mut head, mut body) = response.into_parts();
        body.compress(encoding, &mut head.headers);
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

/// A response body whose first frame was taken out already, if there was one.
pub(super) struct BegunBody<A: Body> {
    first: Option<Result<Frame<Bytes>, A::Error>>,
    body: A,
}

impl<A: Body + Default> Default for BegunBody<A> {
    fn default() -> Self {
        Self { first: None, body: A::default() }
    }
}

impl<A: Body<Data = Bytes> + Unpin> BegunBody<A> {
    fn of(body: A) -> Self {
        Self { first: None, body }
    }

    /// Takes the first frame, if it is ready, and returns its size.
    fn begin(&mut self, context: &mut Context<'_>) -> usize {
        if self.body.is_end_stream() {
            return 0;
        }
        // An end without any frame is returned again by the body itself, which has ended.
        let Poll::Ready(Some(frame)) = Pin::new(&mut self.body).poll_frame(context) else { return 0 };
        let size = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
        self.first = Some(frame);
        size
    }

    /// Compresses the first frame, if that is worth it.
    fn compress(&mut self, encoding: Encoding, headers: &mut HeaderMap) {
        self.first = self.first.take().map(|frame| {
            Ok(match frame?.into_data() {
                Ok(data) => Frame::data(encoding.apply(data, headers)),
                Err(frame) => frame,
            })
        });
    }
}

impl<A> Body for BegunBody<A>
where
    A: Body<Data = Bytes> + Unpin,
    A::Error: Unpin,
{
    type Data = Bytes;
    type Error = A::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Of the rest; nobody asks before the first frame was taken.
        self.body.size_hint()
    }
}
