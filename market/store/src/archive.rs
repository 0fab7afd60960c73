//! The archive: old orders and audit entries, which an operator copies to files before they are removed.
//!
//! **Guarantee.** Nothing is removed that the caller does not name, and so nothing that it has not copied. What is
//! removed leaves behind what others rely on:
//!
//! - per item, the number of pruned orders and their units, so that sums and totals can still be verified,
//! - who has bought which listed item, so that buyers can still rate it,
//! - the last pruned entry of the audit log with its hash (the *base*), on which the rest of the chain follows.
//!
//! Each step is a transaction that takes about as long as a batch of purchases. It commits together with an entry in the
//! audit log and is durable before it returns.

use std::net::IpAddr;

use async_trait::async_trait;
use souk_domain::{AuditEntry, Order, OrderId, Timestamp};

use super::{
    StoreError,
    audit::{Head, PRUNED},
};

/// The maximum number of orders that are looked at or pruned in one step.
pub const ORDERS_STEP: usize = 256;
/// The maximum number of audit entries that are pruned in one step. At least as many as a block has.
pub const AUDIT_STEP: usize = 512;

/// Some orders that are due for the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueOrders {
    /// The orders, by number.
    pub orders: Vec<Order>,
    /// Where to continue; `None` if no orders are left to look at.
    pub next: Option<OrderId>,
}

/// Who prunes and when, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedBy {
    /// The time of the call.
    pub at: Timestamp,
    /// The operator, as `operator/UUID`.
    pub who: String,
    /// The address of the operator's connection.
    pub from: Option<IpAddr>,
}

/// The orders that one step has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrunedOrders {
    pub(crate) count: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl PrunedBy {
    pub(crate) fn orders(&self, PrunedOrders { count, first, last }: PrunedOrders) -> AuditEntry {
        self.entry(format!("{count} orders, {first} to {last}"))
    }

    /// Creates the entry that attests a new base of the log, which [`Verifier`](crate::audit::Verifier) looks for.
    pub(crate) fn audit(&self, first: i64, base: Head) -> AuditEntry {
        self.entry(format!("audit entries {first} to {base}"))
    }

    fn entry(&self, what: String) -> AuditEntry {
        let Self { at, who, from } = self.clone();
        AuditEntry { at, who, from, did: PRUNED, what, count: 1, request: None }
    }
}

/// Removal of what was archived.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Returns those of the next [`ORDERS_STEP`] orders after a number that are due: delivered or cancelled before a
    /// time, and no longer referred to. A ride under way, an undelivered order event, or the stored outcome of a
    /// request that is as old as the end of the order keeps it from being due.
    async fn due_orders(&self, before: Timestamp, after: OrderId) -> Result<DueOrders, StoreError>;

    /// Deletes those of up to [`ORDERS_STEP`] orders that are due, and returns how many.
    async fn prune_orders(
        &self,
        orders: &[OrderId],
        before: Timestamp,
        by: &PrunedBy,
    ) -> Result<usize, StoreError>;

    /// Deletes up to [`AUDIT_STEP`] of the oldest audit entries, but none after number `through`, and not the newest,
    /// which the next one is chained to. Returns how many, 0 once they are gone. The last of them becomes the log's
    /// base ([`Reads::audit_base`](crate::Reads::audit_base)).
    async fn prune_audit(&self, through: i64, by: &PrunedBy) -> Result<usize, StoreError>;
}
