//! A [`Souk`] of a context: its certificate is renewed, and what it trusts is kept up to date, while the program runs.

use souk_certs::{clock::Clock, credentials::Credentials, identity::TrustDomain, random::Random};
use souk_enrolment::{
    context::{Context, ContextError, Description},
    renewal,
};

use super::{Options, Souk};
use crate::{Error, Identity, MarketAddresses, Renewal, Upkeep, config::AddressesError};

/// What a [`Souk`] of a context has besides its connection. It ends with the last clone.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) context: Context,
    _renewal: Renewal,
    _upkeep: Upkeep,
}

impl Souk {
    /// Opens a context at the market that was named, or else at its own.
    pub(super) async fn of_context(
        context: Context,
        market: Option<MarketAddresses>,
        options: Options,
    ) -> Result<Self, Error> {
        let incomplete = || ContextError::Incomplete { path: context.folder().to_owned() };
        let description = context.description()?.ok_or_else(incomplete)?;
        context.check_complete()?;
        let market = market.map_or_else(|| addresses(&description), Ok)?;
        let (clock, random) = (options.clock, options.random);
        ensure_valid(&context, &description.trust_domain, clock, random).await?;
        let identity =
            Identity::at(clock.now(), context.credential_files(), description.trust_domain.clone())?;
        let mut souk = Self::connect_with(market, identity, options).await?;
        souk.connection.follow_context(context.clone());
        let renewal = souk.follow_certificate_files()?;
        let report = |problem: String| tracing::warn!("{problem}");
        let upkeep = Upkeep::start(context.clone(), &souk.connection, clock, random, report);
        souk.kept = Some(std::sync::Arc::new(Kept { context, _renewal: renewal, _upkeep: upkeep }));
        Ok(souk)
    }
}

fn addresses(description: &Description) -> Result<MarketAddresses, AddressesError> {
    MarketAddresses::parse(description.market.iter().map(ToString::to_string))
}

/// Renews a certificate that can't be used any more because the program was not run for a while. If that fails, loading the
/// files says what is wrong with them.
async fn ensure_valid(
    context: &Context,
    domain: &TrustDomain,
    clock: Clock,
    random: Random,
) -> Result<(), Error> {
    let loaded = Credentials::load(&context.credential_files(), domain, clock.now());
    let Err(problem) = loaded else { return Ok(()) };
    match renewal::restore(context, &problem, clock, random).await {
        None => return Err(problem.into()),
        Some(Ok(_)) => {}
        Some(Err(error)) => tracing::warn!(%error, "{problem}; it was not renewed"),
    }
    Ok(())
}
