//! Redelivery of dead letters.

use super::{Decision, Effect};
use crate::{Audience, DeadLetter, NewEvent, Redelivered};

/// Puts dead letters back into their mailboxes. The events keep their ids, by which a recipient recognises one that
/// it has had after all.
pub(super) fn redeliver(letters: &[DeadLetter]) -> Decision<Redelivered> {
    let effects = letters.iter().flat_map(|letter| {
        let event = NewEvent { event: letter.event.clone(), audience: Audience::Party(letter.recipient) };
        [Effect::Exhume(letter.id), Effect::Emit(event)]
    });
    Decision {
        outcome: Redelivered(i64::try_from(letters.len()).unwrap_or(i64::MAX)),
        effects: effects.collect(),
    }
}
