//! Registration, and test events.

use super::{Decision, Effect, Rules};
use crate::{
    Audience, Callback, DisplayName, EventId, EventKind, NameKey, Party, PartyId, Refusal, Registered, Role,
    TestText,
};

impl Rules<'_, '_> {
    /// Registers the caller. Registering again updates name and callback; identity, role, epoch and the time
    /// of the first registration stay. A new or changed name must not contain invisible characters or look like another
    /// party's; a party keeps a name from before these rules.
    pub(super) fn register(
        &mut self,
        caller: PartyId,
        role: Role,
        display_name: &DisplayName,
        callback: Option<&Callback>,
    ) -> Result<Decision<Registered>, Refusal> {
        let before = self.rows.parties.row(caller);
        let name = NameKey::of(display_name);
        let holder = self.rows.names.get(&name).copied();
        let is_new = before.is_none_or(|party| party.display_name != *display_name);
        if is_new {
            let named = |problem| Refusal::InvalidField { field: "display_name", problem };
            display_name.check().map_err(named)?;
        }
        if is_new && holder.is_some_and(|holder| holder != caller) {
            return Err(Refusal::DisplayNameTaken);
        }
        let party = Party {
            id: caller,
            // Everything that the caller can't choose is kept from the first registration, above all the
            // epoch: resetting it would make revoked tokens valid again.
            role: before.map_or(role, |party| party.role),
            display_name: display_name.clone(),
            callback: callback.cloned(),
            registered_at: before.map_or(self.context.now, |party| party.registered_at),
            epoch: before.map_or(0, |party| party.epoch),
            suspension: before.and_then(|party| party.suspension.clone()),
            tills: before.map(|party| party.tills.clone()).unwrap_or_default(),
        };
        let mut effects = vec![Effect::PutParty(party.clone())];
        // Also a name from before these rules, once no other party has it.
        if is_new || holder.is_none() {
            effects.push(Effect::ClaimName(caller, name));
        }
        Ok(Decision { outcome: Registered(party), effects })
    }

    /// Puts a test event into the caller's own mailbox.
    pub(super) fn test(&mut self, caller: &Party, text: &TestText) -> Decision<EventId> {
        let kind = EventKind::Test { text: text.as_str().to_owned() };
        let event = self.event(Audience::Party(caller.id), kind);
        Decision { outcome: event.event.id, effects: vec![Effect::Emit(event)] }
    }
}
