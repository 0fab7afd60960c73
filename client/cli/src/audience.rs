//! The people that a message is for, so that it names only commands that they have.

use souk_certs::identity::Role;

/// Who runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody with a seller's certificate, at `seller`.
    Seller,
    /// Somebody with a buyer's certificate, at `buyer`.
    Buyer,
    /// Somebody with an operator's certificate, at `market`.
    Operator,
    /// Somebody at a program that is not known. Hints name no commands then.
    Anyone,
}

impl Audience {
    /// Every audience.
    pub const ALL: [Self; 4] = [Self::Seller, Self::Buyer, Self::Operator, Self::Anyone];

    /// Returns the audience of a program: `seller`, `buyer`, or `admin` for the operators' commands of `market`.
    pub fn of(program: &str) -> Self {
        match program {
            "seller" => Self::Seller,
            "buyer" => Self::Buyer,
            "admin" | "market" => Self::Operator,
            _ => Self::Anyone,
        }
    }

    /// Returns how these people call their program; `None` for anyone.
    pub(crate) fn command(self) -> Option<&'static str> {
        self.choose("seller", "buyer", "market admin")
    }

    /// Returns the role in the certificates of these people; `None` for anyone.
    pub(crate) fn role(self) -> Option<Role> {
        self.choose(Role::Seller, Role::Buyer, Role::Operator)
    }

    /// Chooses the text for a seller, a buyer or an operator; `None` for anyone else.
    pub(crate) fn choose<T>(self, seller: T, buyer: T, operator: T) -> Option<T> {
        match self {
            Self::Seller => Some(seller),
            Self::Buyer => Some(buyer),
            Self::Operator => Some(operator),
            Self::Anyone => None,
        }
    }
}
