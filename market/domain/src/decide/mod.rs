//! Decides commands.
//!
//! A rule reads the working set and returns the effects to apply, or a refusal. Only [`decide`] applies
//! effects, and only after the rule has accepted the command; so a refused or validated command changes
//! nothing.

mod account;
mod import;
mod listing;
mod ranking;
mod rating;
mod redelivery;
mod riding;
mod suspension;
mod tills;
mod trade;
mod wishlist;

use super::{
    Act, Action, Audience, AuditEntry, Command, DeadLetterId, Event, EventId, EventKind, Item, ItemId,
    NameKey, NewEvent, Order, OrderId, Outcome, Party, PartyId, Recorded, Refusal, Ride, Stars, Till, TillId,
    Timestamp, Wish, WorkingSet,
};

/// The inputs that would make the rules impure: the time and new ids.
pub struct Context<'a> {
    /// The time of the decision by the wall clock, for what people see: orders, items, events, the audit log.
    pub now: Timestamp,
    /// The time of the decision by the market's steady clock, from which the store counts ages and due times. It can
    /// lie far from `now`.
    pub steady_now: Timestamp,
    /// Creates a unique id for an event or a ride.
    pub event_ids: &'a mut dyn FnMut() -> EventId,
}

/// A change that a rule requests.
enum Effect {
    PutParty(Party),
    ClaimName(PartyId, NameKey),
    PutItem(Item),
    PutOrder(Order),
    PutRide(Ride),
    PutTill(Till),
    RemoveTill(TillId),
    PutWish(Wish),
    RemoveWish(Wish),
    PutRating { buyer: PartyId, item: ItemId, stars: Stars },
    WithdrawRating { buyer: PartyId, item: ItemId, stars: Stars },
    Emit(NewEvent),
    Exhume(DeadLetterId),
}

/// A rule's result for a command that it accepts.
struct Decision<O = Outcome> {
    outcome: O,
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

    /// Returns the rating that the command withdraws, if any.
    fn withdrawn_rating(&self) -> Option<Stars> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::WithdrawRating { stars, .. } => Some(*stars),
            _ => None,
        })
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
    // A refusal returns here, before any effect: a batch goes on with the rows as they were.
    let decision = rules.rule(command)?;
    if !command.validate_only {
        // Computed before the effects are moved out. A repetition of an import or of till lines is not audited
        // again; its first time was.
        let is_news = !command.action.knows_repetitions() || decision.is_news();
        let withdrawn = decision.withdrawn_rating();
        for effect in decision.effects {
            apply(rows, effect);
        }
        // The others need no record, and each message of a till's stream would store one.
        if command.action.is_recorded(is_news) {
            let recorded =
                Recorded { fingerprint: command.request.fingerprint, outcome: decision.outcome.clone() };
            rows.requests.put(request, recorded);
        }
        if is_news {
            rows.audit.push(AuditEntry::of(command, &decision.outcome, withdrawn, context.now));
        }
        // The time that the store writes with requests and deliveries, so that all rows of a batch agree. Not the wall
        // clock: what a wrong reading of that stamps would expire at once, or never.
        rows.decided_at = context.steady_now;
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
            Action::Suspend(of) => decided(of, self.suspend(of.party, &of.reason)),
            Action::Redeliver(of) => decided(of, Ok(redelivery::redeliver(&of.letters))),
            Action::Rank(of) => decided(of, Ok(self.rank(&of.0))),
            Action::Reinstate(of) => decided(of, self.reinstate(of.party)),
            Action::Register(of) => {
                let callback = of.callback.as_ref();
                decided(of, self.register(command.caller, of.role, &of.display_name, callback))
            }
            Action::Test(of) => decided(of, Ok(self.test(&caller?, &of.text))),
            Action::Sell(of) => decided(of, self.sell(&caller?, &of.0)),
            Action::Import(of) => decided(of, Ok(self.import(&caller?, &of.0))),
            Action::Update(of) => decided(of, self.update(&caller?, of.item, &of.patch, of.expected_version)),
            Action::Delete(of) => decided(of, self.delete(&caller?, of.item, of.expected_version)),
            Action::Undelete(of) => decided(of, self.undelete(&caller?, of)),
            Action::Buy(of) => decided(of, self.buy(&caller?, &of.0)),
            Action::Place(of) => decided(of, self.place(&caller?, &of.0)),
            Action::Cancel(of) => decided(of, self.cancel(&caller?, of.order)),
            Action::CancelSale(of) => decided(of, self.cancel_sale(&caller?, of.order, &of.reason)),
            Action::Ship(of) => decided(of, self.ship(&caller?, of.order)),
            Action::Deliver(of) => decided(of, self.deliver(&caller?, of.order)),
            Action::StartRide(of) => decided(of, self.start_ride(&caller?, &of.0)),
            Action::EndRide(of) => decided(of, self.end_ride(&caller?, of.ride)),
            Action::OpenTill(of) => decided(of, self.open_till(&caller?, &of.till)),
            Action::RemoveTill(of) => decided(of, self.remove_till(&caller?, &of.till)),
            Action::Sync(of) => decided(of, self.sync(&caller?, &of.till, &of.lines)),
            Action::Wish(of) => decided(of, self.wish(&caller?, of.item)),
            Action::Unwish(of) => decided(of, self.unwish(&caller?, of.item)),
            Action::Rate(of) => decided(of, self.rate(&caller?, of.item, of.stars, of.update_existing)),
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

/// Returns the decision on an action, which must be of the type that the action declares.
fn decided<A: Act>(_: &A, decision: Result<Decision<A::Outcome>, Refusal>) -> Result<Decision, Refusal> {
    decision.map(|Decision { outcome, effects }| Decision { outcome: outcome.into(), effects })
}

fn apply(rows: &mut WorkingSet, effect: Effect) {
    match effect {
        Effect::PutParty(party) => rows.put_party(party),
        Effect::ClaimName(party, name) => rows.claim_name(party, name),
        Effect::PutItem(item) => {
            // The invariant behind "no unit is sold twice": supplied = quantity + sold + withdrawn.
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
        Effect::WithdrawRating { buyer, item, .. } => rows.ratings.remove((buyer, item)),
        Effect::Emit(event) => rows.events.push(event),
        Effect::Exhume(letter) => rows.exhumed.push(letter),
    }
}
