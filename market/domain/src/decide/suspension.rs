//! Suspending and reinstating parties.

use super::{Decision, Effect, Rules};
use crate::{Party, PartyId, Refusal, Suspension, SuspensionReason};

impl Rules<'_, '_> {
    /// Suspends a party. Raising its epoch invalidates all tokens it holds, even after a reinstatement.
    pub(super) fn suspend(
        &self,
        party: PartyId,
        reason: &SuspensionReason,
    ) -> Result<Decision<Party>, Refusal> {
        let mut party = self.registered(party)?;
        // Suspending again replaces the reason, but not the time since when the party has been shut out.
        let since = party.suspension.as_ref().map_or(self.context.now, |suspension| suspension.since);
        party.suspension = Some(Suspension { since, reason: reason.clone() });
        party.epoch += 1;
        Ok(put(party))
    }

    /// Reinstates a party. It keeps everything except its tokens.
    pub(super) fn reinstate(&self, party: PartyId) -> Result<Decision<Party>, Refusal> {
        let mut party = self.registered(party)?;
        // The epoch is not lowered: tokens from before the suspension must stay invalid.
        party.suspension = None;
        Ok(put(party))
    }

    fn registered(&self, party: PartyId) -> Result<Party, Refusal> {
        self.rows.parties.row(party).cloned().ok_or(Refusal::PartyNotFound(party))
    }
}

fn put(party: Party) -> Decision<Party> {
    Decision { outcome: party.clone(), effects: vec![Effect::PutParty(party)] }
}
