//! AdminService: listing, suspending and reinstating parties.

use souk_proto::v1::{ListPartiesRequest, PartyRecord, ReinstateRequest, SuspendRequest};
use uuid::Uuid;

use crate::{Connection, Error, Pages, error::required};

/// What operators do. Needs an operator's certificate.
///
/// # Examples
/// ```no_run
/// # async fn suspend(souk: souk_client::Souk, party: souk_client::Uuid) -> Result<(), souk_client::Error> {
/// souk.admin().suspend(party, "sells what it does not have").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    connection: Connection,
}

impl Admin {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Returns the registered parties, ordered by UUID.
    pub fn parties(&self) -> Pages<PartyRecord> {
        Pages::new(self.connection.clone(), ListPartiesRequest::default())
    }

    /// Suspends a party: its tokens become invalid, its calls are refused, and its items go off the market.
    ///
    /// # Errors
    /// Refused with [`PartyNotFound`](crate::Reason::PartyNotFound), or the call failed.
    pub async fn suspend(&self, party: Uuid, reason: impl Into<String>) -> Result<PartyRecord, Error> {
        let (party_id, reason) = (party.to_string(), reason.into());
        let request = SuspendRequest { party_id, reason, ..Default::default() };
        required(self.connection.call(request).await?.party, "party")
    }

    /// Reinstates a suspended party.
    ///
    /// # Errors
    /// Refused with [`PartyNotFound`](crate::Reason::PartyNotFound), or the call failed.
    pub async fn reinstate(&self, party: Uuid) -> Result<PartyRecord, Error> {
        let request = ReinstateRequest { party_id: party.to_string(), ..Default::default() };
        required(self.connection.call(request).await?.party, "party")
    }
}
