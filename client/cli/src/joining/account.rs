//! The second half of `join`: the account at the market.

use souk_certs::identity::Role;
use souk_client::{MarketAddresses, Reason, error::required};
use souk_proto::v1::{self, RegisterBuyerRequest, RegisterSellerRequest, WhoAmIRequest};

use crate::{CliSession, Failure, Origin, exit, registering, selection::Selected};

/// Registers the party, unless it is registered already. Returns the market's addresses.
///
/// # Errors
/// No market is known, it can't be reached, or it refuses. The context exists all the same, and the same command
/// continues from here.
pub(super) async fn register(
    session: &CliSession,
    selected: &Selected,
    display_name: Option<String>,
) -> Result<MarketAddresses, Failure> {
    let market = market(session, selected)?;
    let of_party = session.of_context(selected.clone(), market.clone());
    let name = display_name.clone().unwrap_or_else(|| selected.description.name.clone());
    let registered = match is_registered(&of_party).await {
        // A name that was chosen since then stays, unless another one is given now.
        Ok(true) if display_name.is_none() => Ok(()),
        Ok(_) => call(&of_party, selected.description.role(), name).await,
        Err(failure) => Err(failure),
    };
    registered.map_err(|failure| incomplete(failure, session, selected))?;
    Ok(market)
}

/// Returns the market of the context, or one that was named on the command line.
fn market(session: &CliSession, selected: &Selected) -> Result<MarketAddresses, Failure> {
    let resolved = session.resolved();
    let given = resolved.given.origin("market");
    let of_context = &selected.description.market;
    if given == Some(Origin::Flag) || (of_context.is_empty() && given.is_some()) {
        return Ok(resolved.market.clone());
    }
    if of_context.is_empty() {
        let command = session.audience().command().unwrap_or_default();
        return Err(Failure::usage(
            "the authority knows no market yet, so you are not registered at one",
            format!(
                "run `{command} join` again with the same code and --market HOST:PORT, or with --no-register"
            ),
        ));
    }
    Ok(MarketAddresses::parse(of_context.iter().map(ToString::to_string))?)
}

async fn is_registered(session: &CliSession) -> Result<bool, Failure> {
    match session.connection().await?.call(WhoAmIRequest {}).await {
        Ok(who) => Ok(who.account.is_some()),
        Err(error) if error.reason() == Some(Reason::NotRegistered) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn call(session: &CliSession, role: Role, display_name: String) -> Result<(), Failure> {
    let (callback, inbox) = registering::callback(session).await?;
    let account = match role {
        Role::Seller => {
            let request = RegisterSellerRequest { display_name, callback, ..Default::default() };
            session.call(request).await.map(|answer| answer.account)
        }
        _ => {
            let request = RegisterBuyerRequest { display_name, callback, ..Default::default() };
            session.call(request).await.map(|answer| answer.account)
        }
    };
    inbox.close().await;
    let _: v1::Account = required(account?, "account")?;
    Ok(())
}

/// Says that the first half is done, and how to do the second.
fn incomplete(failure: Failure, session: &CliSession, selected: &Selected) -> Failure {
    let command = session.audience().command().unwrap_or_default();
    let name = &selected.name;
    let hint = match failure.refusal().and_then(|refusal| refusal.reason()) {
        Some(Reason::DisplayNameTaken) => {
            format!("choose another name: `{command} --context {name} register NAME`")
        }
        _ => format!(
            "run `{command} join` again with the same code, or `{command} --context {name} register NAME`"
        ),
    };
    let exit_code = match failure.exit_code() {
        exit::OK => exit::ERROR,
        code => code,
    };
    Failure::undone(
        format!("you have joined, but are not registered at the market: {failure}"),
        Some(&hint),
        exit_code,
    )
}
