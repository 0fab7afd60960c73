//! Which context a command uses, and what of it: a value that was given elsewhere may overrule it.

use std::path::{Path, PathBuf};

use souk_certs::{credentials::CredentialFiles, identity::TrustDomain};
use souk_client::config::{AddressesError, MarketAddresses};
use souk_enrolment::context::{Context, ContextFolder, ContextName, Description};
use souk_settings::expanded;

use crate::{
    Audience, Failure, exit,
    given::{Given, Origin},
};

const DEFAULT_MARKET: &str = "localhost:7443";

/// The flags that name the files of a party. They go together: a certificate with the authority or the key of another
/// source would fail later, and for no apparent reason.
const GROUP: [&str; 4] = ["cert", "key", "ca", "crl"];

/// A context that was selected.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) name: ContextName,
    pub(crate) context: Context,
    pub(crate) description: Description,
    /// Whether it was named by `--context` or `SOUK_CONTEXT`; otherwise it is the current one.
    named: Option<Origin>,
}

impl Selected {
    /// Selects a context that has just been made or read.
    pub(crate) fn new(name: ContextName, context: Context, description: Description) -> Self {
        Self { name, context, description, named: None }
    }

    /// Returns what selected it.
    pub(crate) fn named_by(&self) -> &'static str {
        match self.named {
            Some(Origin::Variable) => "SOUK_CONTEXT",
            Some(_) => "--context",
            None => "current.toml",
        }
    }
}

/// Why there is no certificate to use, in words. It is reported only by commands that need one.
#[derive(Clone, Debug)]
pub(crate) struct Unusable {
    message: String,
    hint: Option<String>,
    exit_code: u8,
}

impl Unusable {
    pub(crate) fn of(failure: &Failure, audience: Audience) -> Self {
        let (message, hint) = (failure.to_string(), failure.remedy(audience));
        Self { message, hint, exit_code: failure.exit_code() }
    }

    fn new(message: impl Into<String>, hint: impl Into<String>, exit_code: u8) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit_code }
    }

    pub(crate) fn failure(&self) -> Failure {
        Failure::undone(self.message.clone(), self.hint.as_deref(), self.exit_code)
    }
}

/// The files of the party, and the context, if one was selected.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    selected: Option<Selected>,
    credentials: Result<(CredentialFiles, Origin), Unusable>,
    market: Origin,
}

impl Selection {
    /// Selects the context from the folder of the user's contexts, and the source of the party's files.
    pub(crate) fn of(named: &Named<'_>, audience: Audience, folder: Option<&ContextFolder>) -> Self {
        let selected = selected(named, audience, folder);
        let order = order(selected.as_ref().ok().and_then(Option::as_ref), named);
        let credentials = credentials(named, &order, &selected, audience);
        let selected = selected.ok().flatten();
        let gives = |origin: &Origin| match origin {
            Origin::Context => selected.as_ref().is_some_and(|found| !found.description.market.is_empty()),
            Origin::Default => true,
            given => !named.market.is_empty() && named.origin("market") == *given,
        };
        let market = order.into_iter().find(gives).unwrap_or(Origin::Default);
        Self { selected, credentials, market }
    }

    /// Selects a context, whatever other sources have given.
    pub(crate) fn only(selected: Selected) -> Self {
        let credentials = Ok((selected.context.credential_files(), Origin::Context));
        Self { selected: Some(selected), credentials, market: Origin::Context }
    }

    /// Returns the files of the party; `None` if no certificate was named, or the context can't be used.
    pub(crate) fn credentials(&self) -> Option<&CredentialFiles> {
        self.credentials.as_ref().ok().map(|(files, _)| files)
    }

    /// Returns why there are no files.
    pub(crate) fn problem(&self) -> Failure {
        match &self.credentials {
            Err(unusable) => unusable.failure(),
            Ok((files, _)) => {
                Failure::usage(format!("{} is not used", files.cert.display()), "pass --cert FILE")
            }
        }
    }

    /// Returns the source of the party's files.
    pub(crate) fn origin_of_credentials(&self) -> Option<Origin> {
        self.credentials.as_ref().ok().map(|(_, origin)| *origin)
    }

    /// Returns the source of the market's address.
    pub(crate) fn origin_of_market(&self) -> Origin {
        self.market
    }

    /// Returns the selected context, also if another source has precedence.
    pub(crate) fn selected(&self) -> Option<&Selected> {
        self.selected.as_ref()
    }

    /// Returns the context whose certificate is used.
    pub(crate) fn in_use(&self) -> Option<&Selected> {
        self.selected.as_ref().filter(|_| self.origin_of_credentials() == Some(Origin::Context))
    }

    /// Returns the market's addresses.
    ///
    /// # Errors
    /// One is malformed, or there are too many.
    pub(crate) fn market(&self, named: &Named<'_>) -> Result<MarketAddresses, AddressesError> {
        match (self.market, &self.selected) {
            (Origin::Context, Some(selected)) => {
                MarketAddresses::parse(selected.description.market.iter().map(ToString::to_string))
            }
            (Origin::Default, _) => MarketAddresses::parse([DEFAULT_MARKET]),
            _ => MarketAddresses::parse(named.market),
        }
    }

    /// Returns the trust domain, which is that of the certificate's source. It is the context's also if that was named
    /// together with another certificate.
    pub(crate) fn trust_domain(&self) -> TrustDomain {
        let named = self.selected.as_ref().filter(|selected| selected.named.is_some());
        let selected = self.in_use().or(named);
        selected.map(|selected| selected.description.trust_domain.clone()).unwrap_or_default()
    }
}

/// The values that the selection depends on, as they were given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// Where each was given.
    pub(crate) given: &'a Given,
    /// The name of a context.
    pub(crate) context: Option<&'a str>,
    /// The paths of certificate, key, authority and revocation list.
    pub(crate) files: [Option<&'a Path>; 4],
    /// The market's addresses.
    pub(crate) market: &'a [String],
}

impl Named<'_> {
    /// Returns where a flag's value was given. A value that was set in the program counts as a flag's.
    fn origin(&self, flag: &str) -> Origin {
        self.given.origin(flag).unwrap_or(Origin::Flag)
    }

    /// Returns the files that a source names, in the order of [`GROUP`].
    fn group(&self, origin: Origin) -> [Option<PathBuf>; 4] {
        let [cert, key, ca, crl] = self.files;
        [("cert", cert), ("key", key), ("ca", ca), ("crl", crl)]
            .map(|(flag, path)| path.filter(|_| self.origin(flag) == origin).map(expanded))
    }
}

/// Returns the sources in the order in which they are consulted. A context that was named by a flag comes before the
/// variables, which are usually set for all commands.
fn order(selected: Option<&Selected>, named: &Named<'_>) -> [Origin; 5] {
    let by = selected.map_or(named.given.origin("context"), |selected| selected.named);
    let is_flag = by == Some(Origin::Flag) || (named.context.is_some() && by.is_none());
    let (second, third) =
        if is_flag { (Origin::Context, Origin::Variable) } else { (Origin::Variable, Origin::Context) };
    [Origin::Flag, second, third, Origin::File, Origin::Default]
}

/// Returns the context to use: the one that was named, or the current one of the role.
fn selected(
    named: &Named<'_>,
    audience: Audience,
    folder: Option<&ContextFolder>,
) -> Result<Option<Selected>, Unusable> {
    let (Some(role), Some(folder)) = (audience.role(), folder) else { return Ok(None) };
    let by = named.context.map(|_| named.origin("context"));
    let found = match named.context {
        Some(text) => text.parse::<ContextName>().map(Some).map_err(Into::into),
        None => folder.current(role),
    };
    let found = found.and_then(|name| {
        name.map(|name| {
            let (context, description) = folder.find(role, &name)?;
            context.check_complete()?;
            Ok(Selected { name, context, description, named: by })
        })
        .transpose()
    });
    found.map_err(|error| Unusable::of(&Failure::Context(error), audience))
}

/// Returns the files of the first source that names a certificate.
fn credentials(
    named: &Named<'_>,
    order: &[Origin; 5],
    selected: &Result<Option<Selected>, Unusable>,
    audience: Audience,
) -> Result<(CredentialFiles, Origin), Unusable> {
    for &origin in order {
        if origin == Origin::Context {
            match selected {
                Ok(Some(selected)) => return Ok((selected.context.credential_files(), origin)),
                Ok(None) => continue,
                Err(unusable) => return Err(unusable.clone()),
            }
        }
        let [cert, key, ca, crl] = named.group(origin);
        if let Some(cert) = cert {
            return Ok((CredentialFiles { cert, key, ca, crl }, origin));
        }
        let alone = GROUP[1..].iter().zip([key, ca, crl]).find_map(|(flag, path)| path.map(|_| flag));
        if let (Origin::Flag, Some(flag)) = (origin, alone) {
            return Err(Unusable::new(
                format!("--{flag} belongs to a certificate, and none was named with it"),
                "pass --cert as well: certificate, key, authority and revocation list come from one source",
                exit::USAGE,
            ));
        }
    }
    let hint = match audience.command() {
        Some(command) => {
            format!("join a market with an invitation code: `{command} join`; or pass --cert FILE")
        }
        None => "pass --cert FILE or set SOUK_CERT".to_owned(),
    };
    Err(Unusable::new("no certificate was named, and the certificate is your account", hint, exit::USAGE))
}

#[cfg(test)]
mod tests;
