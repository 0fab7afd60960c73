//! Audit entries: how a change is described in the audit log.

use std::net::IpAddr;

use super::{
    Action, Command, ImportRow, Imported, LineAnswer, LineOutcome, Order, Origin, Outcome, RequestId, Stars,
    Timestamp, action,
};

/// One entry: who did what, when, from where. It never contains a token or key; names and prices are in the
/// rows that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When the command was decided.
    pub at: Timestamp,
    /// The party according to its certificate, as `role/UUID`; `unknown` if there was no valid certificate, `market` for
    /// what the market does by itself.
    pub who: String,
    /// The peer address of the connection; `None` if it is not known.
    pub from: Option<IpAddr>,
    /// The RPC of a change, or `RankItems`; `Refused` for an identity that was rejected.
    pub did: &'static str,
    /// What was changed, or why the identity was rejected.
    pub what: String,
    /// How many times it happened. Equal refusals are counted in one entry, so that a flood can't fill the
    /// log.
    pub count: u32,
    /// The request id of a change; `None` for a refusal.
    pub request: Option<RequestId>,
}

impl AuditEntry {
    /// Creates the entry for a command that was carried out. `withdrawn_rating` is the rating that it withdrew, if any.
    pub(super) fn of(
        command: &Command,
        outcome: &Outcome,
        withdrawn_rating: Option<Stars>,
        at: Timestamp,
    ) -> Self {
        let Origin { role, address } = command.origin;
        let mut what = subject(command, outcome);
        if let Some(stars) = withdrawn_rating {
            // Its row is gone, so the entry says what it was.
            what.push_str(&format!("; rating withdrawn: {} of 5 stars", stars.get()));
        }
        // The market itself has no party id.
        let who =
            if command.caller.0.is_nil() { role.to_owned() } else { format!("{role}/{}", command.caller) };
        Self {
            at,
            who,
            from: address,
            did: command.action.name(),
            what,
            count: 1,
            request: Some(command.request.id),
        }
    }
}

fn of_order(order: &Order) -> String {
    format!("order {}: {} of item {}", order.id, order.quantity, order.item)
}

fn subject(command: &Command, outcome: &Outcome) -> String {
    match (outcome, &command.action) {
        (Outcome::Registered(party), _) => match &party.callback {
            Some(callback) => format!("callback {}:{}", callback.host, callback.port),
            None => "no callback".to_owned(),
        },
        (Outcome::Party(party), Action::Suspend(action::Suspend { reason, .. })) => {
            format!("{}/{}: {}", party.role.as_str(), party.id, reason.as_str())
        }
        (Outcome::Party(party), _) => format!("{}/{}", party.role.as_str(), party.id),
        (Outcome::Item(item), _) => format!("item {} version {}", item.id, item.version),
        (Outcome::Imported(Imported { created, updated, .. }), Action::Import(action::Import(rows))) => {
            let lines = (rows.first(), rows.last());
            let line = |row: Option<&ImportRow>| row.map_or(0, |row| row.line);
            format!("lines {} to {}: {created} listed, {updated} changed", line(lines.0), line(lines.1))
        }
        (Outcome::Ride(ride), _) => {
            let orders: Vec<_> = ride.plan.stops.iter().map(|stop| stop.order.to_string()).collect();
            format!("ride {} of orders {}", ride.id, orders.join(", "))
        }
        (Outcome::Synced(answers), Action::Sync(action::Sync { till, .. })) => {
            let number = |answer: Option<&LineAnswer>| answer.map_or(0, |answer| answer.number);
            let took_effect = |answer: &&LineAnswer| {
                !answer.repeated && matches!(answer.outcome, LineOutcome::Stock { .. })
            };
            let effects = answers.iter().filter(took_effect).count();
            let (first, last) = (number(answers.first()), number(answers.last()));
            format!("till {till} lines {first} to {last}: {effects} carried out")
        }
        (
            _,
            Action::OpenTill(action::OpenTill { till }) | Action::RemoveTill(action::RemoveTill { till }),
        ) => format!("till {till}"),
        (Outcome::Order(order), _) => of_order(order),
        (Outcome::Orders(orders), _) => orders.iter().map(of_order).collect::<Vec<_>>().join(", "),
        (
            _,
            Action::Wish(action::Wish { item })
            | Action::Unwish(action::Unwish { item })
            | Action::Rate(action::Rate { item, .. }),
        ) => {
            format!("item {item}")
        }
        (Outcome::Redelivered(_), Action::Redeliver(action::Redeliver { letters })) => {
            let letters: Vec<_> =
                letters.iter().map(|letter| format!("{} to {}", letter.event.id, letter.recipient)).collect();
            letters.join(", ")
        }
        (Outcome::Ranked(count), _) => format!("{count} items"),
        (Outcome::Tested(event), _) => format!("event {}", event.0),
        (Outcome::Till(_) | Outcome::TillRemoved | Outcome::Synced(_) | Outcome::Redelivered(_), _) => {
            String::new()
        }
        (Outcome::Imported(_) | Outcome::Wished(..) | Outcome::Unwished | Outcome::Rated(_), _) => {
            String::new()
        }
    }
}
