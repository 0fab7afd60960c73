//! The load of the server threads, for metrics.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc::WeakSender;

use super::{
    Dealt, admission::AdmissionLayer, ending::EndedConnections, request_streams::RequestStreams,
    sources::Sources,
};

/// What waits at the server threads and is in progress on them. Keeps none of them alive. Clones share the counts.
#[derive(Clone)]
pub struct ServerLoad {
    pub(super) sources: Sources,
    pub(super) admission: AdmissionLayer,
    pub(super) streams: RequestStreams,
    pub(super) ended: EndedConnections,
    pub(super) queues: Arc<[WeakSender<Dealt<TcpStream>>]>,
    pub(super) dropped: DroppedConnections,
}

/// Counts the connections that were closed before their handshake. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct DroppedConnections(Arc<AtomicU64>);

impl DroppedConnections {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl ServerLoad {
    /// Returns the number of connections that wait for their handshake because their address has reached its limit.
    pub fn handshakes_waiting(&self) -> usize {
        self.sources.waiting()
    }

    /// Returns the number of accepted connections that no thread has taken yet.
    pub fn connections_queued(&self) -> usize {
        let queues = self.queues.iter().filter_map(WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }

    /// Returns the number of connections that were closed before their handshake because too many were waiting, or
    /// they had waited too long.
    pub fn connections_dropped(&self) -> u64 {
        self.dropped.0.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that the market ended because of what their clients did.
    pub fn connections_ended(&self) -> u64 {
        self.ended.total()
    }

    /// Returns the number of calls with a request stream.
    pub fn request_streams(&self) -> usize {
        self.streams.count()
    }

    /// Returns the number of calls whose response has not begun.
    pub fn calls(&self) -> usize {
        self.admission.under_way()
    }
}
