//! The load of the server threads, for metrics.

use std::sync::Arc;

use souk_certs::acceptor::Sources;
use tokio::sync::mpsc::WeakSender;

use super::{
    admission::Calls,
    answers::{self, Answers},
    ending::EndedConnections,
    refused::SlowedConnections,
    request_streams::RequestStreams,
    thread::Dealt,
};

/// What waits at the server threads and is in progress on them. Keeps none of them alive. Clones share the counts.
#[derive(Clone)]
pub struct ServerLoad {
    pub(super) sources: Sources,
    pub(super) calls: Calls,
    pub(super) answers: Answers,
    pub(super) request_streams: RequestStreams,
    pub(super) ended: EndedConnections,
    pub(super) slowed: SlowedConnections,
    pub(super) queues: Arc<[WeakSender<Dealt>]>,
}

impl ServerLoad {
    /// Returns the number of connections that wait for their handshake because their address has reached its limit.
    pub fn handshakes_waiting(&self) -> usize {
        self.sources.waiting()
    }

    /// Returns the number of places that addresses keep occupied because their handshakes have used up their budget.
    pub fn handshakes_resting(&self) -> usize {
        self.sources.resting()
    }

    /// Returns the number of accepted connections that no thread has taken yet.
    pub fn connections_queued(&self) -> usize {
        let queues = self.queues.iter().filter_map(WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }

    /// Returns the number of connections that were closed before their handshake because too many were waiting, or
    /// they had waited too long.
    pub fn connections_dropped(&self) -> u64 {
        self.sources.dropped()
    }

    /// Returns the number of connections that the market ended because of what their clients did.
    pub fn connections_ended(&self) -> u64 {
        self.ended.total()
    }

    /// Returns the number of connections that were read more slowly because of their refused requests.
    pub fn connections_slowed(&self) -> u64 {
        self.slowed.total()
    }

    /// Returns the number of calls with a request stream.
    pub fn request_streams(&self) -> usize {
        self.request_streams.count()
    }

    /// Returns the number of calls whose response has not begun.
    pub fn calls(&self) -> usize {
        self.calls.under_way()
    }

    /// Returns the number of open streams, lasting ones included, and the most that all parties together may have.
    pub fn streams(&self) -> (usize, usize) {
        (self.answers.streams(), answers::STREAMS_OF_ALL)
    }

    /// Returns the number of bytes of answers that clients have not taken yet, and the most that all parties together may
    /// leave.
    pub fn unread_bytes(&self) -> (usize, usize) {
        (self.answers.unread_bytes(), answers::BYTES_OF_ALL)
    }

    /// Returns the number of streams that were reset because their client did not read.
    pub fn stalled_answers(&self) -> u64 {
        self.answers.stalled()
    }

    /// Returns the number of calls that were refused because their party leaves too much unread or open.
    pub fn refused_answers(&self) -> u64 {
        self.answers.refused()
    }
}
