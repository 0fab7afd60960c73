//! What a context is for: `context.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use souk_certs::{
    connector::Dial,
    identity::{Identity, Role, TrustDomain},
};
use uuid::Uuid;

use super::ContextError;
use crate::code::InvitationId;

/// A party at a market, and where the market and its authority are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The party: its role, and its UUID unless it is the market.
    pub identity: Identity,
    /// The name that the authority gave the party.
    pub name: String,
    /// The market's addresses, from the trust bundle. Empty if the authority knows no market.
    pub market: Vec<Dial>,
    /// The authority's addresses, at which certificates are renewed; from the trust bundle.
    pub authority: Vec<Dial>,
    /// Addresses at which the authority is reached from here, and perhaps from nowhere else. They are tried first, and no
    /// trust bundle changes them.
    pub nearby: Vec<Dial>,
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// The id of the invitation that was redeemed, so that the same one completes this context and no other does.
    pub invitation: InvitationId,
    /// Whether the market is a demo, which ends with its process.
    pub ephemeral: bool,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    role: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(default)]
    market: Vec<String>,
    authority: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nearby: Vec<String>,
    trust_domain: TrustDomain,
    invitation: String,
    #[serde(default)]
    ephemeral: bool,
}

impl Description {
    /// Returns the role of the party.
    #[must_use]
    pub fn role(&self) -> Role {
        self.identity.role()
    }

    /// Returns whether both are of the same party of the same trust domain. Hosts of a market have no id of their own.
    #[must_use]
    pub fn is_same_party(&self, other: &Self) -> bool {
        self.identity.uuid().is_some()
            && self.identity == other.identity
            && self.trust_domain == other.trust_domain
    }

    /// Returns the addresses of the authority in the order in which they are tried.
    pub fn authorities(&self) -> impl Iterator<Item = &Dial> {
        self.nearby.iter().chain(self.authority.iter().filter(|address| !self.nearby.contains(address)))
    }

    /// Formats the description as the text of the file.
    pub(super) fn to_toml(&self, path: &Path) -> Result<String, ContextError> {
        let texts = |addresses: &[Dial]| addresses.iter().map(ToString::to_string).collect();
        let written = Written {
            role: self.role().to_string(),
            name: self.name.clone(),
            party: self.identity.uuid().map(|uuid| uuid.hyphenated().to_string()),
            market: texts(&self.market),
            authority: texts(&self.authority),
            nearby: texts(&self.nearby),
            trust_domain: self.trust_domain.clone(),
            invitation: self.invitation.to_string(),
            ephemeral: self.ephemeral,
        };
        toml::to_string(&written).map_err(|error| ContextError::malformed(path, error))
    }

    /// Reads the text of the file.
    pub(super) fn from_toml(text: &str, path: &Path) -> Result<Self, ContextError> {
        let malformed = |problem: &dyn ToString| ContextError::malformed(path, problem.to_string());
        let written: Written = toml::from_str(text).map_err(|error| malformed(&error.message()))?;
        let addresses = |texts: &[String]| -> Result<Vec<Dial>, ContextError> {
            texts.iter().map(|text| text.parse().map_err(|error| malformed(&error))).collect()
        };
        let role: Role = written.role.parse().map_err(|error| malformed(&error))?;
        let identity = match (role, &written.party) {
            (Role::Market, None) => Identity::Market,
            (Role::Market, Some(_)) => return Err(malformed(&"a market has no `party`")),
            (Role::Authority, _) => return Err(malformed(&"an authority has no context")),
            (_, None) => return Err(malformed(&"`party` is missing")),
            (role, Some(party)) => {
                Identity::new(role, Uuid::try_parse(party).map_err(|_| malformed(&"`party` is not a UUID"))?)
            }
        };
        Ok(Self {
            identity,
            market: addresses(&written.market)?,
            authority: addresses(&written.authority)?,
            nearby: addresses(&written.nearby)?,
            trust_domain: written.trust_domain,
            invitation: written.invitation.parse().map_err(|error| malformed(&error))?,
            name: written.name,
            ephemeral: written.ephemeral,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Description {
        Description {
            identity: Identity::Seller(Uuid::from_u128(7)),
            name: "alice".into(),
            market: vec!["market.example.org:7443".parse().unwrap(), "[::1]:7443".parse().unwrap()],
            nearby: vec!["127.0.0.1:7442".parse().unwrap()],
            authority: vec!["market.example.org:7442".parse().unwrap()],
            trust_domain: TrustDomain::default(),
            invitation: InvitationId([0, 1, 2, 3, 4, 5, 6, 0xff]),
            ephemeral: true,
        }
    }

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let path = Path::new("context.toml");
        let market = Description { identity: Identity::Market, market: Vec::new(), ..alice() };
        for description in [alice(), market] {
            let text = description.to_toml(path).unwrap();
            assert_eq!(Description::from_toml(&text, path).unwrap(), description, "{text}");
        }
    }

    #[test]
    fn a_file_with_a_mistake_is_named_with_what_is_wrong() {
        let path = Path::new("/c/context.toml");
        let text = alice().to_toml(path).unwrap();
        for (from, to, expected) in [
            ("\"seller\"", "\"thief\"", "thief"),
            ("\"seller\"", "\"market\"", "no `party`"),
            ("party = \"00000000-0000-0000-0000-000000000007\"\n", "", "`party` is missing"),
            ("market.example.org:7443", "market.example.org", "HOST:PORT"),
            ("souk.internal", "Souk", "trust domain"),
            ("invitation = \"00", "invitation = \"+0", "invitation's id"),
            ("ephemeral", "ephemeral = true\ncolour", "colour"),
        ] {
            assert!(text.contains(from), "{from}: {text}");
            let error = Description::from_toml(&text.replacen(from, to, 1), path).unwrap_err().to_string();
            assert!(
                error.starts_with("/c/context.toml can't be used: ") && error.contains(expected),
                "{error}"
            );
        }
    }
}
