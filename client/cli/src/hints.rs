//! What to do about an error, in terms of the commands and flags that the person at the terminal has. The hints of the
//! client library and of the contract name calls and fields instead.

use souk_client::{
    Error,
    error::{Distrust, Objection, Step},
};
use souk_enrolment::context::ContextError;
use souk_proto::Reason;
use tonic::Code;

use crate::Audience;

/// What to do if it is not known whether a change took effect.
const LOOK_FIRST: &str = "a change may have taken effect all the same, so look before repeating it";

/// What to do about a ride that is over.
const AT_THE_ORDER: &str = "look at the order's status";

/// Returns what to do about an error of the client library; `None` if the message says so itself.
pub(crate) fn remedy(error: &Error, audience: Audience) -> Option<String> {
    let text = match error {
        Error::Unreachable { step: Step::Resolve, .. } => "check the host name in --market",
        Error::Unreachable { step: Step::Tcp, .. } => {
            "check --market HOST:PORT, that a market is open there, and that no firewall is in between"
        }
        Error::Unreachable { step: Step::Tls, .. } => {
            "check that the port in --market is a Souk market's: it does not speak TLS 1.3 as one does"
        }
        Error::NoneReached(_) => return error.decisive().and_then(|decisive| remedy(decisive, audience)),
        Error::TimedOut { .. } => return Some(format!("try again or raise --timeout; {LOOK_FIRST}")),
        Error::Untrusted { distrust: Distrust::Theirs(objection), .. } => match objection {
            Objection::UnknownAuthority => {
                "check --market, and that --ca is the ca.pem of that market: connect only if you trust who gave it to you"
            }
            Objection::OutOfDate | Objection::StaleRevocationList | Objection::Revoked => error.hint()?,
            _ => "check that --market HOST:PORT is the market and not another server",
        },
        // Another server, or an older market, answers without a reason.
        Error::Refused(refusal) if refusal.reason().is_none() && refusal.code() == Code::Unimplemented => {
            return Some(of_reason(Reason::MethodUnknown, audience));
        }
        Error::Refused(refusal) => match refusal.reason() {
            Some(reason) => return Some(of_reason(reason, audience)),
            None => error.hint()?,
        },
        _ => error.hint()?,
    };
    Some(text.to_owned())
}

/// Returns what to do about a refusal for this reason.
pub(crate) fn of_reason(reason: Reason, audience: Audience) -> String {
    let own = of_trade(reason, audience).or_else(|| of_identity(reason, audience));
    own.or_else(|| of_connection(reason, audience)).unwrap_or_else(|| reason.hint().to_owned())
}

/// Returns what to do about it, with the commands of the audience; `None` if the message says so itself.
pub(crate) fn of_context(error: &ContextError, audience: Audience) -> Option<String> {
    let command = audience.command()?;
    Some(match error {
        ContextError::NoSuch { .. } => {
            format!("`{command} context list` lists yours, `{command} context use NAME` chooses one")
        }
        ContextError::Incomplete { .. } => {
            format!(
                "run `{command} join` again with the same code; or `{command} context rm NAME`, and ask for a new one"
            )
        }
        ContextError::Exists { name, .. } => format!(
            "choose another name within 15 minutes: `{command} join --as NAME` with the same code; or \
             `{command} context rm {name}` first"
        ),
        ContextError::Foreign { .. } => {
            "run this as that user, or set XDG_CONFIG_HOME to a folder of your own".to_owned()
        }
        ContextError::Busy { .. } => "try again in a moment".to_owned(),
        ContextError::Malformed { .. } => {
            format!("restore the file, or `{command} context rm NAME` and join again")
        }
        _ => return None,
    })
}

/// Returns the hints about items, orders and what goes with them.
fn of_trade(reason: Reason, audience: Audience) -> Option<String> {
    let with = |what: &str, seller: &str, buyer: &str, operator: &str| {
        let command = audience.choose(seller, buyer, operator).unwrap_or_default();
        if command.is_empty() { format!("check the {what}") } else { format!("check the {what}: {command}") }
    };
    Some(match reason {
        Reason::InvalidField => "correct it and try again".to_owned(),
        Reason::RequestIdReused => {
            "leave --request-id out, or give a UUID that was not used before".to_owned()
        }
        Reason::PageTokenInvalid => "start again from the first page, without --page-token".to_owned(),
        Reason::ItemNotFound => {
            with("item id", "`seller items` lists yours", "`buyer search` lists what is for sale", "")
        }
        Reason::PartyNotFound => with("UUID", "", "", "`market admin parties` lists them"),
        Reason::DeadLetterNotFound => with("number", "", "", "`market admin dead-letters` lists them"),
        Reason::OrderNotFound => with(
            "order id",
            "`seller sales` lists the orders of your items",
            "`buyer orders` lists yours",
            "",
        ),
        Reason::OrderStatusConflict => audience
            .choose(
                "look at it with `seller order ID`: a placed order can be shipped, a shipped one delivered",
                "look at it with `buyer order ID`",
                "look at the order's status",
            )?
            .to_owned(),
        Reason::WishNotFound => with("item id", "", "`buyer wish list` shows your wishlist", ""),
        Reason::AlreadyRated => "pass --update to replace your earlier rating".to_owned(),
        Reason::RideNotFound => with("ride's id", "`seller ride list` shows yours", "", ""),
        Reason::RideEnded => audience.choose("start another ride", AT_THE_ORDER, AT_THE_ORDER)?.to_owned(),
        Reason::ImportInterrupted => {
            "run the import again: the rows that are in already change nothing".to_owned()
        }
        Reason::TillNotFound => with("till's name", "`seller till list` lists yours", "", ""),
        Reason::TooManyTills => "remove one that is no longer used: `seller till rm NAME`".to_owned(),
        _ => return None,
    })
}

/// Returns the hints about certificates, tokens and accounts.
fn of_identity(reason: Reason, audience: Audience) -> Option<String> {
    let text = match reason {
        Reason::NotRegistered => audience.choose(
            "register first: `seller register NAME`",
            "register first: `buyer register NAME`",
            "use an operator's certificate: `gen-certs.sh operator NAME` makes one",
        )?,
        Reason::CertificateRequired => {
            "connect with a certificate that the market's authority signed (gen-certs.sh)"
        }
        Reason::CertificateExpired => {
            "renew it with `gen-certs.sh renew NAME` where the authority is, and copy the new files here"
        }
        Reason::InvitationInvalid | Reason::InvitationExpired | Reason::InvitationLocked => audience.choose(
            "ask the market's operator for a new code: `gen-certs invite seller NAME`",
            "ask the market's operator for a new code: `gen-certs invite buyer NAME`",
            "make a new code where the authority is: `gen-certs invite operator NAME`",
        )?,
        Reason::InvitationUsed => {
            "ask for a new code; if it was not you who used this one, have the operator revoke its name at once"
        }
        Reason::InvitationRole => "join with the program of the role that the code is for",
        Reason::RenewalSuperseded => {
            "somebody has renewed a copy of your certificate: tell the market's operator, who revokes it"
        }
        Reason::TrustNotChained => audience.choose(
            "join again: ask for a code (`gen-certs invite seller NAME --again`), then `seller join`",
            "join again: ask for a code (`gen-certs invite buyer NAME --again`), then `buyer join`",
            "join again: make a code (`gen-certs invite operator NAME --again`), then `market admin join`",
        )?,
        Reason::PartyIdInvalid => {
            "look whether a proxy in between changes the metadata of calls; without one, report this as a defect"
        }
        Reason::TokenRequired | Reason::TokenInvalid | Reason::TokenExpired => {
            "try again, which fetches a new token; if this happens often, check the clocks of both machines"
        }
        Reason::RoleDenied => audience.choose(
            "`seller` needs a seller's certificate: `seller join` gets one for a code of `gen-certs.sh invite seller NAME`",
            "`buyer` needs a buyer's certificate: `buyer join` gets one for a code of `gen-certs.sh invite buyer NAME`",
            "this needs an operator's certificate: `market admin join` gets one for a code of `gen-certs.sh invite operator NAME`",
        )?,
        _ => return None,
    };
    Some(text.to_owned())
}

/// Returns the hints about calls, streams and callbacks.
fn of_connection(reason: Reason, audience: Audience) -> Option<String> {
    let program = audience.choose("seller ", "buyer ", "").unwrap_or_default();
    Some(match reason {
        Reason::CallbackUnreachable => {
            "check that the port of --listen is open to the market, or register without \
             --listen to get events by a stream"
                .to_owned()
        }
        Reason::TooManyConsumers => format!(
            "pass --consumer NAME with one of the names in use, or remove one with `{program}mailbox rm NAME`; \
             `{program}mailbox` lists them"
        ),
        Reason::ConsumerNotFound => {
            format!("check the name: `{program}mailbox` lists your consumers")
        }
        Reason::ConsumerFree => "try again: the name is free now".to_owned(),
        Reason::StreamTooSlow => "try again: it continues with what was not delivered yet".to_owned(),
        Reason::OutcomeUnknown | Reason::Cancelled => format!("try again; {LOOK_FIRST}"),
        Reason::DeadlineExceeded => format!("try again or raise --timeout; {LOOK_FIRST}"),
        Reason::MetadataTooLarge => "look at what a proxy in between adds to calls".to_owned(),
        Reason::RequestMalformed | Reason::CompressionUnnamed | Reason::CompressionUnsupported => {
            "use a program of the market's version, and look whether a proxy in between changes calls"
                .to_owned()
        }
        Reason::MethodUnknown | Reason::ServiceUnknown => {
            "check that --market is a Souk market, and of a version that knows this command".to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the words of a text that programs have for something: with `_`, or with capitals inside.
    fn technical_words(text: &str) -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
        let known = souk_proto::methods();
        words.filter(|word| word.contains('_') || known.iter().any(|method| method.name == *word)).collect()
    }

    #[test]
    fn hints_name_commands_instead_of_calls_and_fields() {
        for audience in [Audience::Seller, Audience::Buyer, Audience::Operator] {
            for &reason in Reason::ALL {
                let hint = of_reason(reason, audience);
                assert!(!hint.is_empty(), "{reason}");
                assert_eq!(technical_words(&hint), Vec::<String>::new(), "{reason}: {hint}");
            }
        }
    }

    #[test]
    fn hints_name_no_commands_of_another_role() {
        let commands = ["`seller ", "`buyer ", "`market admin "];
        for (audience, own) in [
            (Audience::Seller, Some("`seller ")),
            (Audience::Buyer, Some("`buyer ")),
            (Audience::Operator, Some("`market admin ")),
            (Audience::Anyone, None),
        ] {
            for &reason in Reason::ALL {
                // Refusals that only sellers or buyers get may name their commands to anyone.
                let only = match reason {
                    Reason::TooManyTills => Some("`seller "),
                    _ => None,
                };
                let hint = of_reason(reason, audience);
                for command in commands {
                    let is_own = own == Some(command) || only == Some(command);
                    assert!(is_own || !hint.contains(command), "{audience:?}, {reason}: {hint}");
                }
            }
        }
    }

    #[test]
    fn the_same_refusal_leads_each_role_to_its_own_command() {
        assert!(of_reason(Reason::ItemNotFound, Audience::Seller).contains("`seller items`"));
        assert!(of_reason(Reason::ItemNotFound, Audience::Buyer).contains("`buyer search`"));
        assert!(of_reason(Reason::OrderNotFound, Audience::Seller).contains("`seller sales`"));
        assert!(of_reason(Reason::NotRegistered, Audience::Buyer).contains("`buyer register NAME`"));
        assert!(of_reason(Reason::RoleDenied, Audience::Seller).contains("gen-certs.sh invite seller"));
        assert_eq!(of_reason(Reason::ItemNotFound, Audience::Anyone), "check the item id");
    }
}
