//! AccountService and the mailbox: registration, pending events, test events.

use souk_proto::v1::{
    self, MailboxStatusRequest, MailboxStatusResponse, RegisterBuyerRequest, RegisterSellerRequest,
    RemoveConsumerRequest, TestEventRequest,
};

use crate::{CallbackAddress, Connection, Error, error::required};

/// The caller's account: registration, mailbox.
///
/// # Examples
/// ```no_run
/// # async fn register(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
/// let account = souk.account().register_buyer("Bob", None).await?;
/// println!("{} is {}", account.display_name, account.party_id);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Account {
    connection: Connection,
}

impl Account {
    /// Returns the operations over a connection that is not a [`Souk`](crate::Souk)'s, such as one with another
    /// timeout.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let patient = souk.connection().with_timeout(std::time::Duration::from_secs(60));
    /// let account = souk_client::Account::new(patient);
    /// let mailbox = account.mailbox().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Opens the account of a buyer, or changes its name and callback address. With an address, the market
    /// delivers events to the server there (see [`Inbox`](crate::Inbox)), and probes it at once. Without one,
    /// read them with [`Souk::events`](crate::Souk::events).
    ///
    /// # Errors
    /// Refused with [`RoleDenied`](crate::Reason::RoleDenied) if the certificate is a seller's, with
    /// [`CallbackUnreachable`](crate::Reason::CallbackUnreachable), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// // The market calls back to this address; without one, read the events with `Souk::events`.
    /// let callback = "bob.example.org:7444".parse()?;
    /// let account = souk.account().register_buyer("Bob", Some(&callback)).await?;
    /// println!("{}", account.party_id);
    /// # Ok(()) }
    /// ```
    pub async fn register_buyer(
        &self,
        display_name: impl Into<String>,
        callback: Option<&CallbackAddress>,
    ) -> Result<v1::Account, Error> {
        let (display_name, callback) = (display_name.into(), callback.map(CallbackAddress::to_proto));
        let request = RegisterBuyerRequest { display_name, callback, ..Default::default() };
        required(self.connection.call(request).await?.account, "account")
    }

    /// Opens the account of a seller, or changes its name and callback address.
    ///
    /// # Errors
    /// As [`register_buyer`](Self::register_buyer), with the roles exchanged.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let account = souk.account().register_seller("Alice's lamps", None).await?;
    /// println!("{}", account.party_id);
    /// # Ok(()) }
    /// ```
    pub async fn register_seller(
        &self,
        display_name: impl Into<String>,
        callback: Option<&CallbackAddress>,
    ) -> Result<v1::Account, Error> {
        let (display_name, callback) = (display_name.into(), callback.map(CallbackAddress::to_proto));
        let request = RegisterSellerRequest { display_name, callback, ..Default::default() };
        required(self.connection.call(request).await?.account, "account")
    }

    /// Returns how many events are pending in the mailbox, and the state of their delivery.
    ///
    /// # Errors
    /// The call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let mailbox = souk.account().mailbox().await?;
    /// println!("{} events pending, last failure: {}", mailbox.pending_count, mailbox.last_failure);
    /// # Ok(()) }
    /// ```
    pub async fn mailbox(&self) -> Result<MailboxStatusResponse, Error> {
        self.connection.call(MailboxStatusRequest::default()).await
    }

    /// Removes a consumer of the mailbox, such as that of a lost machine, so that no event waits for it. One that
    /// nobody removes is dropped after 7 days.
    ///
    /// # Errors
    /// Refused with [`ConsumerConnected`](crate::Reason::ConsumerConnected) while a program follows under the name, with
    /// [`ConsumerNotFound`](crate::Reason::ConsumerNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.account().remove_consumer("seller@old-laptop").await?;
    /// # Ok(()) }
    /// ```
    pub async fn remove_consumer(&self, consumer: impl Into<String>) -> Result<(), Error> {
        let request = RemoveConsumerRequest { consumer: consumer.into() };
        self.connection.call(request).await.map(drop)
    }

    /// Puts a test event into the caller's own mailbox. Returns its id.
    ///
    /// # Errors
    /// The call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let sent = souk.account().send_test_event("hello").await?;
    /// if let Some(delivery) = souk.events().next().await {
    ///     assert_eq!(delivery?.take().event_id, sent);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn send_test_event(&self, text: impl Into<String>) -> Result<String, Error> {
        let request = TestEventRequest { text: text.into(), ..Default::default() };
        Ok(self.connection.call(request).await?.event_id)
    }
}
