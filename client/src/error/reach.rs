//! Errors of a market with several addresses, which travel through tonic as the source of a status.

use std::{error::Error, sync::Arc};

use souk_certs::connector::{Dial, DialError};

use super::causes::{BoxError, causes};

/// A call broke off at an address.
#[derive(Debug, thiserror::Error)]
#[error("the call to {market} broke off")]
pub(crate) struct AtAddress {
    pub(crate) market: Dial,
    pub(crate) source: BoxError,
}

impl AtAddress {
    /// Returns the address at which a transport error happened, if it names one.
    pub(crate) fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Dial> {
        causes(error).find_map(|cause| cause.downcast_ref::<Self>()).map(|at| &at.market)
    }
}

/// Every address was dialled without success.
#[derive(Debug, thiserror::Error)]
#[error("no address of the market can be reached")]
pub(crate) struct NoneReached(pub(crate) Vec<Arc<DialError>>);
