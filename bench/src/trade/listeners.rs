//! The callback servers of the sellers, which note every event that arrives.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use souk_certs::{clock, credentials::Credentials};
use souk_client::{ClientConfig, Inbox, Notice, Seen};
use souk_proto::v1::event::Kind;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

/// An order event: the order, and whether it was cancelled.
pub(crate) type OrderEvent = (i64, bool);

/// What has arrived at all listeners.
#[derive(Clone, Default)]
pub(crate) struct Arrivals {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The events, each with the stock after it and the time of its first arrival.
    events: HashMap<OrderEvent, (i64, Instant)>,
    /// Notified at the next event, which is then kept back until the answer.
    hold: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl Arrivals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of different events.
    pub(crate) fn len(&self) -> usize {
        self.state().events.len()
    }

    /// Returns how many of these events have not arrived.
    pub(crate) fn missing(&self, expected: &HashSet<OrderEvent>) -> usize {
        let state = self.state();
        expected.iter().filter(|event| !state.events.contains_key(event)).count()
    }

    /// Returns the stock after an order, as its event reported it; `None` if the event has not arrived.
    pub(crate) fn stock_after(&self, event: OrderEvent) -> Option<i64> {
        self.state().events.get(&event).map(|(stock, _)| *stock)
    }

    /// Returns when an event first arrived.
    pub(crate) fn arrival(&self, event: OrderEvent) -> Option<Instant> {
        self.state().events.get(&event).map(|(_, at)| *at)
    }

    /// Keeps back the next event: it has been sent and is not acknowledged. Returns what is notified of it, and what
    /// to drop to go on.
    pub(crate) fn hold_next(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((told, tell), (resume, resumed)) = (oneshot::channel(), oneshot::channel());
        self.state().hold = Some((told, resumed));
        (tell, resume)
    }

    /// Keeps back nothing.
    pub(crate) fn hold_none(&self) {
        self.state().hold = None;
    }
}

/// One party's callback server.
pub(crate) struct Listener {
    inbox: Inbox,
    taking: JoinHandle<()>,
}

impl Listener {
    /// Opens a callback server on a free port.
    pub(crate) async fn open(config: &ClientConfig, arrivals: Arrivals) -> anyhow::Result<Self> {
        let credentials = Credentials::load(&config.credentials, &config.trust_domain, clock::now())?;
        let socket = Inbox::bind(([127, 0, 0, 1], 0).into()).await?;
        let (inbox, notices) = Inbox::open(socket, &credentials, Seen::in_memory())?;
        Ok(Self { inbox, taking: tokio::spawn(take(notices, arrivals)) })
    }

    /// Returns the port to register.
    pub(crate) fn port(&self) -> u16 {
        self.inbox.address().port()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

async fn take(mut notices: mpsc::Receiver<Notice>, arrivals: Arrivals) {
    while let Some(notice) = notices.recv().await {
        let Notice::Event(delivery) = notice else { continue };
        let hold = arrivals.state().hold.take();
        if let Some((tell, resumed)) = hold
            && tell.send(()).is_ok()
        {
            // Ends when the sender is dropped, too.
            let _ = resumed.await;
        }
        let event = match delivery.take().kind {
            Some(Kind::OrderPlaced(placed)) => {
                placed.order.map(|order| ((order.order_id, false), placed.remaining_quantity))
            }
            Some(Kind::OrderCancelled(cancelled)) => {
                cancelled.order.map(|order| ((order.order_id, true), cancelled.remaining_quantity))
            }
            _ => None,
        };
        if let Some((event, stock)) = event {
            arrivals.state().events.entry(event).or_insert((stock, Instant::now()));
        }
    }
}
