//! The first half of `join`: a key, a certificate for it, and the context that holds both.

use souk_certs::{clock::Clock, connector::Dial, identity::Role};
use souk_client::{Error, Reason};
use souk_enrolment::{
    code::InvitationCode,
    context::{ContextError, ContextFolder, ContextName, Description, Generation},
    join::{JoinError, Joined, join as redeem},
    key::{KeyError, PartyKey},
    renewal::Record,
    trust::{Accepted, SignedBundle, Trusted, accept},
};

use crate::{CliSession, Failure, exit, selection::Selected};

/// Redeems the code and makes the context, or gives the party's context the new certificate.
pub(super) async fn join(
    session: &CliSession,
    folder: &ContextFolder,
    role: Role,
    code: &InvitationCode,
    name: Option<ContextName>,
) -> Result<Selected, Failure> {
    if let Some(name) = &name {
        // Before the code is used up.
        folder.check_free(name, role, code.trust_domain(), code.id())?;
    }
    let now = session.clock().now();
    let joining = folder.joining(code.id())?;
    // By another process, for which this one has waited.
    if let Some(made) = made_with(folder, role, code, name.as_ref())? {
        joining.complete()?;
        return Ok(made);
    }
    let key = PartyKey::open_or_create(&joining.key_path(), session.unique()).map_err(of_key)?;
    let joined = redeem(code, role, &key, now).await;
    let command = session.audience().command().unwrap_or_default();
    let joined = joined.map_err(|error| refused(error, code, command))?;
    let accepted = accepted(&joined, code, session.clock())?;
    let description = described(session, &joined, &accepted, code);
    let name = match (name, folder.of_party(&description)?) {
        (Some(name), _) => name,
        (None, Some(of_party)) => of_party.name,
        (None, None) => joined.name.parse().map_err(ContextError::Name)?,
    };
    let locked = folder.begin(&name, &description, session.unique())?;
    let bundle = accepted.bundle();
    locked.install(&Generation {
        certificate: souk_enrolment::pem::certificate(&joined.certificate),
        key: key.to_pem(),
        roots: bundle.ca_pem(),
        lists: bundle.crl_pem(),
        trust: accepted.signed().to_bytes(),
    })?;
    let context = locked.context().clone();
    locked.describe(&description, session.unique())?;
    // Of the certificate before, if there was one.
    locked.forget_pending()?;
    if Record::read(&context) != Record::default() {
        Record::default().write(&context, session.unique())?;
    }
    drop(locked);
    joining.complete()?;
    Ok(Selected::new(name, context, description))
}

/// Returns the context that was made with this code, if it is complete.
///
/// # Errors
/// The code was used by another role, or for a context of another name.
pub(super) fn made_with(
    folder: &ContextFolder,
    role: Role,
    code: &InvitationCode,
    name: Option<&ContextName>,
) -> Result<Option<Selected>, Failure> {
    let Some(listed) = folder.of_invitation(code.id())? else { return Ok(None) };
    let description = listed.description?;
    if description.role() != role {
        return Err(Failure::usage(
            format!("the code was used by a {}, whose context is {}", description.role(), listed.name),
            "use the program of that role",
        ));
    }
    if let Some(name) = name.filter(|name| **name != listed.name) {
        return Err(Failure::undone(
            format!("the code has made the context {} already, and not {name}", listed.name),
            Some("leave --as out, or remove the context first"),
            exit::CONFLICT,
        ));
    }
    let is_complete = listed.context.is_complete();
    Ok(is_complete.then(|| Selected::new(listed.name, listed.context, description)))
}

/// Takes the trust bundle of the answer, which the root of the code must have signed.
fn accepted(joined: &Joined, code: &InvitationCode, clock: Clock) -> Result<Accepted, Failure> {
    let unusable = |problem: &dyn std::fmt::Display| {
        let hint = "tell the market's operator; then run the same command again";
        Failure::undone(
            format!("the authority's answer can't be used: {problem}"),
            Some(hint),
            exit::IDENTITY,
        )
    };
    let signed = SignedBundle::try_from(joined.trust.clone()).map_err(|error| unusable(&error))?;
    let roots = [joined.root.clone()];
    let trusted = Trusted::in_use(code.trust_domain().clone(), &roots, &[], None);
    accept(&trusted, &signed, clock.now()).map_err(|error| unusable(&error))
}

/// Describes the context. If the authority knows no market, it is the one that was named on the command line.
fn described(
    session: &CliSession,
    joined: &Joined,
    accepted: &Accepted,
    code: &InvitationCode,
) -> Description {
    let parsed = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<Dial>>();
    let mut market = parsed(&accepted.bundle().markets);
    if market.is_empty() && session.resolved().given.origin("market").is_some() {
        market = session.resolved().market.iter().cloned().collect();
    }
    let mut authority = parsed(&accepted.bundle().authorities);
    if authority.is_empty() {
        authority.push(code.authority().clone());
    }
    Description {
        identity: joined.peer.identity(),
        name: joined.name.clone(),
        market,
        authority,
        nearby: Vec::new(),
        trust_domain: code.trust_domain().clone(),
        invitation: code.id(),
        ephemeral: joined.ephemeral,
    }
}

fn of_key(error: KeyError) -> Failure {
    match error {
        KeyError::File { path, source } => {
            Failure::io(format!("use the key file {}", path.display()), source)
        }
        other => Failure::undone(other.to_string(), None, exit::IDENTITY),
    }
}

/// Words a join that failed, with what to do for the user of this program.
pub fn refused(error: JoinError, code: &InvitationCode, command: &str) -> Failure {
    let authority = code.authority();
    match error {
        JoinError::Key(error) => of_key(error),
        JoinError::Clock(_) | JoinError::Early(_) => Failure::undone(
            explained(&error, authority),
            Some(&format!(
                "check this machine's clock; if it is right, tell the market's operator. Then run `{command} join` again with \
                 the same code within 15 minutes"
            )),
            exit::IDENTITY,
        ),
        JoinError::NotTheAuthority(_) => Failure::undone(
            explained(&error, authority),
            Some(
                "check with the market's operator that the code is for this authority, or ask for a new one",
            ),
            exit::IDENTITY,
        ),
        JoinError::Unreached(source) => {
            let cause = Error::from_dial(&source);
            Failure::undone(
                format!("the authority at {authority} was not reached: {cause}"),
                Some(&format!(
                    "check that `gen-certs serve` runs there and no firewall is in between; then run `{command} join` again \
                     with the same code"
                )),
                exit::UNAVAILABLE,
            )
        }
        JoinError::Refused(status) => {
            let error =
                Error::from_status(status, &authority.clone().into(), souk_enrolment::join::CALL_TIMEOUT);
            let Some(refusal) = error.refusal().filter(|refusal| refusal.reason().is_some()) else {
                return Failure::undone(
                    format!("the authority at {authority} did not answer: {error}"),
                    Some(
                        "run the same command again within 15 minutes: the authority may have bound the code to this machine's \
                         key already",
                    ),
                    exit::UNAVAILABLE,
                );
            };
            match (refusal.reason(), refusal.metadata().get("role")) {
                (Some(Reason::InvitationRole), Some(role)) => {
                    let hint = match role.as_str() {
                        "operator" => "the code is for an operator: `market admin join`".to_owned(),
                        "market" => "the code is for a market: `market join`".to_owned(),
                        role => format!("the code is for a {role}: `{role} join`"),
                    };
                    Failure::Advised { failure: Box::new(error.into()), message: None, hint }
                }
                _ => error.into(),
            }
        }
        other => Failure::undone(
            explained(&other, authority),
            Some("tell the market's operator; then run the same command again"),
            exit::IDENTITY,
        ),
    }
}

/// Words an error with its cause and the server that it is about.
fn explained(error: &JoinError, authority: &Dial) -> String {
    let cause = error.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error} (connecting to {authority}){cause}")
}
