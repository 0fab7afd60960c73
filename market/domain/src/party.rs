//! The parties of the market.

use serde::{Deserialize, Serialize};

use super::{DisplayName, PartyId, SuspensionReason, TillId, Timestamp};

/// What a registered party does in the market. It is fixed by the party's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Lists and sells items.
    Seller,
    /// Searches and buys items.
    Buyer,
}

impl Role {
    /// The role in one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seller => "seller",
            Self::Buyer => "buyer",
        }
    }
}

/// Where a party's callback server is: an address that the market has checked and may dial.
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
    /// The UUID in the party's certificate.
    pub id: PartyId,
    /// The role in the party's certificate.
    pub role: Role,
    /// The name that others see.
    pub display_name: DisplayName,
    /// Where the market calls it; `None`: only through Subscribe.
    pub callback: Option<Callback>,
    /// When it registered first.
    pub registered_at: Timestamp,
    /// Tokens of an older epoch are refused. Raised to shut a party's tokens off at once.
    pub epoch: i64,
    /// Set while it is shut out.
    #[serde(default)]
    pub suspension: Option<Suspension>,
    /// A seller's tills, which are told what was sold.
    #[serde(default)]
    pub tills: Vec<TillId>,
}

impl Party {
    /// Where to call it: nowhere while it is shut out.
    pub fn open_callback(&self) -> Option<&Callback> {
        self.callback.as_ref().filter(|_| self.suspension.is_none())
    }
}

/// Since when and why a party is shut out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// When it began.
    pub since: Timestamp,
    /// The reason, for operators.
    pub reason: SuspensionReason,
}
