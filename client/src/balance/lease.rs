//! Leases: each counts a call at an address until its answer has been read to the end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use souk_certs::connector::Dial;
use tokio::time::Instant;
use tonic::{Code, Status, TimeoutExpired, body::Body};

use super::Shared;
use crate::error::{AtAddress, BoxError, causes};

/// Counts as a call of its address until it is dropped.
pub(super) struct Lease {
    pub(super) shared: Arc<Shared>,
    pub(super) place: usize,
    pub(super) connection: u64,
    pub(super) begun: Instant,
    /// Whether the caller may just have changed something at another address.
    pub(super) was_elsewhere: bool,
}

impl Lease {
    pub(super) fn address(&self) -> Dial {
        self.shared.members().list[self.place].address.clone()
    }

    /// Records that the address answered. UNAVAILABLE means that the market is draining or its store is down.
    pub(super) fn answered(&self, status: &HeaderMap) {
        let now = Instant::now();
        let mut members = self.shared.members();
        match status.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes())) {
            Some(Code::Unavailable) => members.list[self.place].failed(self.begun, now),
            _ => members.worked(self.place, self.begun, now),
        }
    }

    /// Records that the call broke off. The connection is no longer used, because it may be gone.
    pub(super) fn broke(&self, error: BoxError) -> AtAddress {
        // A call whose deadline has passed says nothing about the market.
        if !causes(error.as_ref()).any(|cause| cause.is::<TimeoutExpired>()) {
            let mut members = self.shared.members();
            let member = &mut members.list[self.place];
            let now = Instant::now();
            member.failed(self.begun, now);
            // The change may have been made before the call broke off, so searches elsewhere must wait for it.
            member.answered_at = Some(now);
            member.ended(self.connection);
        }
        AtAddress { market: self.address(), source: error }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Cannot underflow: every lease comes from one `Plan::Use`, which has counted it.
        self.shared.members().list[self.place].in_flight -= 1;
    }
}

/// The body of a response, which reports how it ends.
pub(super) struct Watched {
    pub(super) body: Body,
    pub(super) lease: Lease,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = AtAddress;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AtAddress>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    // The real status of a call with a body. The headers have only shown that the market is
                    // there.
                    self.lease.answered(trailers);
                }
                Some(Ok(frame))
            }
            Some(Err(status)) => Some(Err(self.lease.broke(status.into()))),
            // A stream that just ends was judged by its trailers. Dropping the body drops the lease.
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
