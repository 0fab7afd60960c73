//! `authority.toml`: where the enrolment service is reached, and which markets newcomers are given. A folder without it
//! is not served: its certificates are carried by hand.

use std::path::Path;

use serde::{Deserialize, Serialize};
use souk_certs::connector::Dial;
use souk_enrolment::code::{InvitationCode, InvitationId, RootPin, SECRET_BYTES, Secret};

use super::folder::{self, Secrecy};
use super::{Pki, PkiError};

/// The name of the file.
pub(super) const FILE: &str = "authority.toml";

/// The port of an enrolment service, unless another is given.
pub const PORT: u16 = 7442;

/// Maximum number of markets.
pub const MAX_MARKETS: usize = 64;

/// The contents of `authority.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Where newcomers reach the enrolment service. It is part of each invitation code.
    #[serde(with = "as_text")]
    pub public: Dial,
    /// Where clients reach the markets, in the order in which they try them.
    #[serde(with = "as_texts", default)]
    pub markets: Vec<Dial>,
    /// Whether the authority ends with the demonstration that it belongs to.
    #[serde(default)]
    pub ephemeral: bool,
}

impl Setup {
    /// Reads the file in a folder. `None` if it does not exist.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, PkiError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let format = |reason: String| PkiError::Setup { path: path.clone(), reason };
        let setup: Self = toml::from_str(&folder::read(&path)?).map_err(|error| format(error.to_string()))?;
        setup.check().map_err(|reason| format(reason.to_owned()))?;
        Ok(Some(setup))
    }

    pub(super) fn write(&self, pki: &Pki) -> Result<(), PkiError> {
        let path = pki.path(FILE);
        let format = |reason: String| PkiError::Setup { path: path.clone(), reason };
        self.check().map_err(|reason| format(reason.to_owned()))?;
        let text = toml::to_string(self).map_err(|error| format(error.to_string()))?;
        pki.write(&path, text.as_bytes(), Secrecy::Public)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.markets.len() > MAX_MARKETS {
            return Err("it has more than 64 markets");
        }
        // An invitation code must have room for the address.
        let (id, secret) = (InvitationId(Default::default()), Secret::new([0; SECRET_BYTES]));
        let root = RootPin::of(&Vec::new().into());
        let code = InvitationCode::new(id, secret, root, self.public.clone(), Default::default());
        code.map(drop).map_err(|_| "its public address is too long")
    }
}

/// Serializes an address as `HOST:PORT`.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use souk_certs::connector::Dial;

    pub(super) fn serialize<S: Serializer>(value: &Dial, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dial, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Serializes addresses as a list of `HOST:PORT`.
mod as_texts {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use souk_certs::connector::Dial;

    pub(super) fn serialize<S: Serializer>(values: &[Dial], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dial>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
