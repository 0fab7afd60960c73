//! Adding items to a wishlist and removing them.

use super::{Decision, Effect, Rules};
use crate::{ItemId, Party, Refusal, Unwished, Wish, Wished};

impl Rules<'_, '_> {
    /// Puts an item on the caller's wishlist. An item that is on it keeps the time when it was added.
    pub(super) fn wish(&mut self, caller: &Party, id: ItemId) -> Result<Decision<Wished>, Refusal> {
        let item = self.listed(id)?;
        if let Some(wish) = self.rows.wishes.row((caller.id, id)) {
            // No effect, so a repeated wish neither moves the item in the list nor writes a row.
            return Ok(Decision { outcome: Wished(*wish, item), effects: Vec::new() });
        }
        let wish = Wish { buyer: caller.id, item: id, added_at: self.context.now };
        Ok(Decision { outcome: Wished(wish, item), effects: vec![Effect::PutWish(wish)] })
    }

    /// Takes an item off the caller's wishlist.
    pub(super) fn unwish(&mut self, caller: &Party, id: ItemId) -> Result<Decision<Unwished>, Refusal> {
        // Without looking at the item: a wish for one that has been deleted can still be removed.
        let wish = self.rows.wishes.row((caller.id, id)).copied().ok_or(Refusal::WishNotFound(id))?;
        Ok(Decision { outcome: Unwished, effects: vec![Effect::RemoveWish(wish)] })
    }
}
