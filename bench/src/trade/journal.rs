//! The journal of acknowledgements. It is outside of the market, and written before the client makes its next call:
//! what is in it, the market has promised to keep.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use souk_proto::v1;

/// An acknowledged change.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// An order was placed, by the buyer with this number.
    Bought { buyer: usize, request: v1::BuyItemRequest, order: v1::Order },
    /// An order was cancelled by its buyer.
    Cancelled { buyer: usize, request: v1::CancelOrderRequest, order: v1::Order },
    /// Units were added to an item.
    Restocked { seller: usize, request: v1::UpdateItemRequest },
}

impl Entry {
    fn line(&self) -> String {
        match self {
            Self::Bought { buyer, request, order } => format!(
                "bought request={} buyer={buyer} order={} item={} quantity={}\n",
                request.request_id, order.order_id, order.item_id, order.quantity
            ),
            Self::Cancelled { buyer, request, order } => {
                format!("cancelled request={} buyer={buyer} order={}\n", request.request_id, order.order_id)
            }
            Self::Restocked { seller, request } => format!(
                "restocked request={} seller={seller} item={} quantity={}\n",
                request.request_id,
                request.item_id,
                request.quantity_delta.unwrap_or(0)
            ),
        }
    }
}

/// The journal, in a file and in memory.
pub(crate) struct Journal {
    state: Mutex<(File, Vec<Entry>)>,
}

impl Journal {
    /// Opens a new journal in a file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { state: Mutex::new((file, Vec::new())) })
    }

    fn state(&self) -> MutexGuard<'_, (File, Vec<Entry>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an acknowledgement. The line is with the kernel when this returns, so that it survives this process.
    pub(crate) fn acknowledge(&self, entry: Entry) -> io::Result<()> {
        let mut state = self.state();
        state.0.write_all(entry.line().as_bytes())?;
        state.1.push(entry);
        Ok(())
    }

    /// Returns the number of acknowledgements.
    pub(crate) fn len(&self) -> usize {
        self.state().1.len()
    }

    /// Returns the acknowledgements after the first `skipped`.
    pub(crate) fn since(&self, skipped: usize) -> Vec<Entry> {
        self.state().1[skipped..].to_vec()
    }
}
