//! AdminService: parties, and the figures of the market.

use souk_proto::v1::{
    ListPartiesRequest, ListTopTalkersRequest, ListTopTalkersResponse, PartyRecord, ReinstateRequest,
    StatsRequest, StatsResponse, SuspendRequest,
};
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
    /// Returns the operations over a connection that is not a [`Souk`](crate::Souk)'s, such as one with another
    /// timeout.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let patient = souk.connection().with_timeout(std::time::Duration::from_secs(60));
    /// let admin = souk_client::Admin::new(patient);
    /// let parties = admin.parties().all().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Returns the registered parties, ordered by UUID.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let mut parties = souk.admin().parties();
    /// while let Some(party) = parties.next().await {
    ///     let party = party?;
    ///     println!("{:?}, suspended: {}", party.account, party.suspension.is_some());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn parties(&self) -> Pages<PartyRecord> {
        Pages::new(self.connection.clone(), ListPartiesRequest::default())
    }

    /// Suspends a party: its tokens become invalid, its calls are refused, and its items go off the market.
    ///
    /// # Errors
    /// Refused with [`PartyNotFound`](crate::Reason::PartyNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk, party: souk_client::Uuid) -> Result<(), souk_client::Error> {
    /// let record = souk.admin().suspend(party, "sells what it does not have").await?;
    /// println!("{:?}", record.suspension);
    /// # Ok(()) }
    /// ```
    pub async fn suspend(&self, party: Uuid, reason: impl Into<String>) -> Result<PartyRecord, Error> {
        let (party_id, reason) = (party.to_string(), reason.into());
        let request = SuspendRequest { party_id, reason, ..Default::default() };
        required(self.connection.call(request).await?.party, "party")
    }

    /// Reinstates a suspended party.
    ///
    /// # Errors
    /// Refused with [`PartyNotFound`](crate::Reason::PartyNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk, party: souk_client::Uuid) -> Result<(), souk_client::Error> {
    /// souk.admin().reinstate(party).await?;
    /// # Ok(()) }
    /// ```
    pub async fn reinstate(&self, party: Uuid) -> Result<PartyRecord, Error> {
        let request = ReinstateRequest { party_id: party.to_string(), ..Default::default() };
        required(self.connection.call(request).await?.party, "party")
    }

    /// Returns figures of the whole market: parties, items, orders, revenue by currency, backlog and recent activity.
    ///
    /// # Errors
    /// The call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let stats = souk.admin().stats().await?;
    /// println!("{} orders, {} in the last hour", stats.order_count, stats.orders_last_hour);
    /// # Ok(()) }
    /// ```
    pub async fn stats(&self) -> Result<StatsResponse, Error> {
        self.connection.call(StatsRequest {}).await
    }

    /// Returns the parties that used this market most in the last minute, and the addresses with the most failed
    /// handshakes: at most `limit` of each, and at most 200. 0 means 10.
    ///
    /// # Errors
    /// The call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for party in souk.admin().top_talkers(3).await?.parties {
    ///     println!("{} made {} calls", party.party_id, party.call_count);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn top_talkers(&self, limit: u8) -> Result<ListTopTalkersResponse, Error> {
        self.connection.call(ListTopTalkersRequest { limit: limit.into() }).await
    }
}
