//! Registered parties: sellers and buyers, their callbacks and suspensions.

use serde::{Deserialize, Serialize};

use super::{DisplayName, PartyId, SuspensionReason, TillId, Timestamp};

/// A registered party's role, fixed by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Lists and sells items.
    Seller,
    /// Searches and buys items.
    Buyer,
}

impl Role {
    /// Returns the role as one lower-case word, as in the certificate's SPIFFE ID.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seller => "seller",
            Self::Buyer => "buyer",
        }
    }
}

/// The address of a party's callback server, after the market has checked that it may dial it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// An IP address or a DNS name.
    pub host: String,
    /// A TCP port, never 0.
    pub port: u16,
}

/// A registered seller or buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The UUID from the party's certificate.
    pub id: PartyId,
    /// The role from the party's certificate. Registering again does not change it.
    pub role: Role,
    /// The name shown to other parties.
    pub display_name: DisplayName,
    /// The address to which the market delivers events. `None` if the party only reads them through
    /// Subscribe.
    pub callback: Option<Callback>,
    /// The time of the first registration.
    pub registered_at: Timestamp,
    /// The token epoch. Tokens issued under an older epoch are refused, so raising it revokes all of the
    /// party's tokens at once.
    pub epoch: i64,
    /// Set while the party is suspended.
    #[serde(default)]
    pub suspension: Option<Suspension>,
    /// A seller's tills, which are notified of its sales. Empty for a buyer.
    #[serde(default)]
    pub tills: Vec<TillId>,
}

impl Party {
    /// Returns the callback to deliver to; `None` if there is none or the party is suspended.
    pub fn open_callback(&self) -> Option<&Callback> {
        self.callback.as_ref().filter(|_| self.suspension.is_none())
    }
}

/// When and why a party was suspended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// When the suspension began. Suspending a party again keeps it.
    pub since: Timestamp,
    /// The reason, shown to operators only.
    pub reason: SuspensionReason,
}
