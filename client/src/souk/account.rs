//! AccountService and the mailbox: registration, pending events, test events.

use souk_proto::v1::{
    self, MailboxStatusRequest, MailboxStatusResponse, RegisterBuyerRequest, RegisterSellerRequest,
    TestEventRequest,
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
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Opens the account of a buyer, or changes its name and callback address. With an address, the market
    /// delivers events to the server there (see [`Inbox`](crate::Inbox)), and probes it at once. Without one,
    /// read them with [`Souk::events`](crate::Souk::events).
    ///
    /// # Errors
    /// Refused with [`RoleDenied`](crate::Reason::RoleDenied) if the certificate is a seller's, with
    /// [`CallbackUnreachable`](crate::Reason::CallbackUnreachable), or the call failed.
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
    pub async fn mailbox(&self) -> Result<MailboxStatusResponse, Error> {
        self.connection.call(MailboxStatusRequest::default()).await
    }

    /// Puts a test event into the caller's own mailbox. Returns its id.
    ///
    /// # Errors
    /// The call failed.
    pub async fn send_test_event(&self, text: impl Into<String>) -> Result<String, Error> {
        let request = TestEventRequest { text: text.into(), ..Default::default() };
        Ok(self.connection.call(request).await?.event_id)
    }
}
