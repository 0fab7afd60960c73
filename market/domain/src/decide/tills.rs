//! A seller's tills: opening and removing them, and applying their lines.

use super::{
    Decision, Effect, Rules,
    listing::{OutOfRange, change_stock},
};
use crate::{
    Audience, EventKind, Item, ItemId, ItemRef, LineAnswer, LineChange, LineOutcome, LineStanding, NewEvent,
    Party, Refusal, Till, TillId, TillLine, TillName, TillRemoved,
};

impl Rules<'_, '_> {
    /// Opens a till. If it is open, returns it unchanged.
    pub(super) fn open_till(&mut self, caller: &Party, name: &TillName) -> Result<Decision<Till>, Refusal> {
        let id = TillId::of(caller.id, name);
        if let Some(till) = self.rows.tills.row(id) {
            return Ok(Decision { outcome: till.clone(), effects: Vec::new() });
        }
        // Each sale creates an event per till, so the number of tills bounds the cost of a purchase.
        if caller.tills.len() >= Till::MAX_OF_SELLER {
            return Err(Refusal::TooManyTills);
        }
        // The id derives from seller and name, so a till that is opened again gets its old mailbox back.
        let till = Till::open(caller.id, name, self.context.now);
        let mut party = caller.clone();
        // Listed in the party as well, which every purchase loads: finding the tills then costs no query.
        party.tills.push(id);
        Ok(Decision { outcome: till.clone(), effects: vec![Effect::PutTill(till), Effect::PutParty(party)] })
    }

    /// Removes a till. Events in its mailbox stay until their retention ends, in case it is opened again.
    pub(super) fn remove_till(
        &mut self,
        caller: &Party,
        name: &TillName,
    ) -> Result<Decision<TillRemoved>, Refusal> {
        let id = TillId::of(caller.id, name);
        let till = self.rows.tills.row(id).cloned().ok_or_else(|| Refusal::TillNotFound(name.clone()))?;
        let mut party = caller.clone();
        party.tills.retain(|of| *of != id);
        Ok(Decision {
            outcome: TillRemoved,
            effects: vec![Effect::RemoveTill(till.id), Effect::PutParty(party)],
        })
    }

    /// Applies a till's lines, each exactly once. A repeated line gets the first answer, and a line that
    /// arrives too early is not taken. A refused line uses up its number too, so that it does not block the
    /// lines after it.
    pub(super) fn sync(
        &mut self,
        caller: &Party,
        name: &TillName,
        lines: &[TillLine],
    ) -> Result<Decision<Vec<LineAnswer>>, Refusal> {
        let found = self.rows.tills.row(TillId::of(caller.id, name)).cloned();
        let mut till = found.ok_or_else(|| Refusal::TillNotFound(name.clone()))?;
        let mut answers = Vec::with_capacity(lines.len());
        // Effects are applied only after the rule returns, so later lines look up the items of earlier ones
        // here.
        let mut effects: Vec<Effect> = Vec::with_capacity(lines.len());
        for line in lines {
            let (repeated, outcome) = match till.standing(line) {
                LineStanding::Next => {
                    let outcome = match &line.asks {
                        // A line that fails leaves no effects: `count` adds them last.
                        Ok(change) => self.count(caller, change, &mut effects),
                        Err(problem) => LineOutcome::Invalid(problem.to_string()),
                    };
                    // `till` is a copy that is written once, after the loop, together with the effects of
                    // its lines.
                    till.take(line, outcome.clone());
                    (false, outcome)
                }
                // Only a taken line is a repetition: one that came too early was never applied.
                LineStanding::Answered(outcome) => (outcome.is_taken(), outcome),
            };
            answers.push(LineAnswer { number: line.number, repeated, outcome });
        }
        // A repetition writes the till as well. Otherwise it would have nothing to commit, and its answer
        // could overtake the commit of the first one, whose outcome may still be unknown (a standby that
        // lags, say).
        if answers.iter().any(|answer| answer.outcome.is_taken()) {
            effects.push(Effect::PutTill(till));
        }
        Ok(Decision { outcome: answers, effects })
    }

    fn count(&mut self, caller: &Party, change: &LineChange, effects: &mut Vec<Effect>) -> LineOutcome {
        let id = match &change.item {
            ItemRef::Id(id) => Some(*id),
            ItemRef::Sku(sku) => self.rows.skus.get(&(caller.id, sku.clone())).copied(),
        };
        let Some(before) = id.and_then(|id| self.latest(caller, id, effects)) else {
            return LineOutcome::ItemNotFound;
        };
        let mut item = before.clone();
        match change_stock(&mut item, change.stock) {
            Ok(()) => {}
            Err(OutOfRange { available, delta }) => return LineOutcome::OutOfRange { available, delta },
        }
        let item = match self.changed(&before, item) {
            None => before,
            Some((item, event)) => {
                effects.extend([Effect::PutItem(item.clone()), Effect::Emit(event)]);
                item
            }
        };
        LineOutcome::Stock { item: item.id, quantity: item.quantity, version: item.version }
    }

    /// Returns one of the caller's items, with the pending effects applied.
    fn latest(&self, caller: &Party, id: ItemId, effects: &[Effect]) -> Option<Item> {
        // In reverse: of several changes to one item in this message, the last is the current state.
        let written = effects.iter().rev().find_map(|effect| match effect {
            Effect::PutItem(item) if item.id == id => Some(item.clone()),
            _ => None,
        });
        written.or_else(|| self.own_item(caller, id).ok())
    }

    /// Creates one event for each till of the item's seller, about a sale or a cancellation.
    pub(super) fn notify_tills(&mut self, item: &Item, kind: &EventKind) -> Vec<NewEvent> {
        // The store loads the seller of every item, so its tills are known here.
        let tills = self.rows.parties.row(item.seller).map(|seller| seller.tills.clone()).unwrap_or_default();
        tills.into_iter().map(|till| self.event(Audience::Party(till.mailbox()), kind.clone())).collect()
    }
}
