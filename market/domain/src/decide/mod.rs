//! Decides commands.
//!
//! A rule reads the working set and returns the effects to apply, or a refusal. Only [`decide`] applies
//! effects, and only after the rule has accepted the command; so a refused or validated command changes
//! nothing.

mod account;
mod import;
mod listing;
mod rating;
mod riding;
mod suspension;
mod tills;
mod trade;
mod wishlist;

use super::{
    Action, Audience, AuditEntry, Command, Event, EventId, EventKind, Item, ItemId, NewEvent, Order, OrderId,
    Outcome, Party, PartyId, Recorded, Refusal, Ride, Stars, Till, TillId, Timestamp, Wish, WorkingSet,
};

/// The inputs that would make the rules impure: the time and new ids.
pub struct Context<'a> {
    /// The time of the decision.
    pub now: Timestamp,
    /// Creates a unique id for an event or a ride.
    pub event_ids: &'a mut dyn FnMut() -> EventId,
}

/// A change that a rule requests.
enum Effect {
    PutParty(Party),
    PutItem(Item),
    PutOrder(Order),
    PutRide(Ride),
    PutTill(Till),
    RemoveTill(TillId),
    PutWish(Wish),
    RemoveWish(Wish),
    PutRating { buyer: PartyId, item: ItemId, stars: Stars },
    Emit(NewEvent),
}

/// A rule's result for a command that it accepts.
struct Decision {
    outcome: Outcome,
    effects: Vec<Effect>,
}

impl Decision {
    /// Returns whether the command does something new, rather than repeat what was done before. Only that
    /// goes into the audit log.
    fn is_news(&self) -> bool {
        match &self.outcome {
            Outcome::Synced(answers) => {
                answers.iter().any(|answer| !answer.repeated && answer.outcome.is_taken())
            }
            _ => !self.effects.is_empty(),
        }
    }
}

/// The context of a rule: rows to read, reserved numbers and the time.
struct Rules<'a, 'b> {
    rows: &'a mut WorkingSet,
    context: &'a mut Context<'b>,
    validate_only: bool,
}

/// Decides one command and, unless it is refused or only validated, applies it to the working set.
///
/// A request that was carried out before returns its stored outcome. Refusals are not stored: a replay of a
/// refused request is decided again.
///
/// # Errors
///
/// Returns the rule's refusal, or [`Refusal::RequestIdReused`] if the request id was used with other
/// parameters.
pub fn decide(
    rows: &mut WorkingSet,
    command: &Command,
    context: &mut Context<'_>,
) -> Result<Outcome, Refusal> {
    let request = command.key();
    // Before every rule: what the first call did may make the same call impossible now (the stock is gone,
    // the caller is suspended), and its replay must still return the first outcome.
    if let Some(recorded) = rows.requests.row(request) {
        return if recorded.fingerprint == command.request.fingerprint {
            Ok(recorded.outcome.clone())
        } else {
            Err(Refusal::RequestIdReused)
        };
    }
    let mut rules = Rules { rows: &mut *rows, context: &mut *context, validate_only: command.validate_only };
    let decision = rules.rule(command)?;
    if !command.validate_only {
        // Computed before the effects are moved out. A repetition of an import or of till lines is not audited
        // again; its first time was.
        let is_news = !command.action.knows_repetitions() || decision.is_news();
        for effect in decision.effects {
            apply(rows, effect);
        }
        if !command.action.knows_repetitions() {
            // The others need no record, and each message of a till's stream would store one.
            let recorded =
                Recorded { fingerprint: command.request.fingerprint, outcome: decision.outcome.clone() };
            rows.requests.put(request, recorded);
        }
        if is_news {
            rows.audit.push(AuditEntry::of(command, &decision.outcome, context.now));
        }
        rows.decided_at = context.now;
    }
    Ok(decision.outcome)
}

impl Rules<'_, '_> {
    fn rule(&mut self, command: &Command) -> Result<Decision, Refusal> {
        // A missing account is an error only for the actions below that use `caller?`: registering needs
        // none, and operators never have one.
        let caller = self.rows.parties.row(command.caller).cloned().ok_or(Refusal::NotRegistered);
        if caller.as_ref().is_ok_and(|caller| caller.suspension.is_some()) {
            return Err(Refusal::Suspended);
        }
        match &command.action {
            Action::Suspend { party, reason } => self.suspend(*party, reason),
            Action::Reinstate { party } => self.reinstate(*party),
            Action::Register { role, display_name, callback } => {
                Ok(self.register(command.caller, *role, display_name, callback.as_ref()))
            }
            Action::Test { text } => Ok(self.test(&caller?, text)),
            Action::Sell(listing) => self.sell(&caller?, listing),
            Action::Import(rows) => Ok(self.import(&caller?, rows)),
            Action::Update { item, patch, expected_version } => {
                self.update(&caller?, *item, patch, *expected_version)
            }
            Action::Delete { item, expected_version } => self.delete(&caller?, *item, *expected_version),
            Action::Buy(line) => self.buy(&caller?, line),
            Action::Place(lines) => self.place(&caller?, lines),
            Action::Cancel { order } => self.cancel(&caller?, *order),
            Action::CancelSale { order, reason } => self.cancel_sale(&caller?, *order, reason),
            Action::Ship { order } => self.ship(&caller?, *order),
            Action::Deliver { order } => self.deliver(&caller?, *order),
            Action::StartRide(plan) => self.start_ride(&caller?, plan),
            Action::EndRide { ride, .. } => self.end_ride(&caller?, *ride),
            Action::OpenTill { till } => self.open_till(&caller?, till),
            Action::RemoveTill { till } => self.remove_till(&caller?, till),
            Action::Sync { till, lines } => self.sync(&caller?, till, lines),
            Action::Wish { item } => self.wish(&caller?, *item),
            Action::Unwish { item } => self.unwish(&caller?, *item),
            Action::Rate { item, stars, update_existing } => {
                self.rate(&caller?, *item, *stars, *update_existing)
            }
        }
    }

    /// Returns an item that is on the market. A suspended seller's items are not.
    fn listed(&self, item: ItemId) -> Result<Item, Refusal> {
        let is_open = |seller| self.rows.parties.row(seller).is_none_or(|seller| seller.suspension.is_none());
        // Checked here rather than at every listing: a suspension takes all of a seller's items off the
        // market without touching their rows.
        let found = self.rows.items.row(item).filter(|item| item.is_listed() && is_open(item.seller));
        found.cloned().ok_or(Refusal::ItemNotFound(item))
    }

    /// Returns one of the caller's items. Another seller's item is refused like one that does not exist, so
    /// that nothing can be learned by trying numbers.
    fn own_item(&self, caller: &Party, item: ItemId) -> Result<Item, Refusal> {
        self.listed(item).and_then(|found| {
            if found.seller == caller.id { Ok(found) } else { Err(Refusal::ItemNotFound(item)) }
        })
    }

    fn next_item_id(&mut self) -> ItemId {
        // A validated command gets 0: it would waste a number, and its caller might take it for a real one.
        let taken = if self.validate_only { None } else { self.rows.item_ids.take() };
        ItemId(taken.unwrap_or(0))
    }

    fn next_order_id(&mut self) -> OrderId {
        let taken = if self.validate_only { None } else { self.rows.order_ids.take() };
        OrderId(taken.unwrap_or(0))
    }

    fn event(&mut self, audience: Audience, kind: EventKind) -> NewEvent {
        let event = Event { id: (self.context.event_ids)(), occurred_at: self.context.now, kind };
        NewEvent { event, audience }
    }
}

fn apply(rows: &mut WorkingSet, effect: Effect) {
    match effect {
        Effect::PutParty(party) => rows.parties.put(party.id, party),
        Effect::PutItem(item) => {
            debug_assert!(item.is_balanced(), "every unit is accounted for: {item:?}");
            rows.put_item(item);
        }
        Effect::PutOrder(order) => rows.put_order(order),
        Effect::PutRide(ride) => rows.rides.put(ride.id, ride),
        Effect::PutTill(till) => rows.tills.put(till.id, till),
        Effect::RemoveTill(till) => rows.tills.remove(till),
        Effect::PutWish(wish) => rows.wishes.put((wish.buyer, wish.item), wish),
        Effect::RemoveWish(wish) => rows.wishes.remove((wish.buyer, wish.item)),
        Effect::PutRating { buyer, item, stars } => rows.ratings.put((buyer, item), stars),
        Effect::Emit(event) => rows.events.push(event),
    }
}
