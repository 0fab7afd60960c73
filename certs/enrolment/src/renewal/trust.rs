//! Taking trust bundles: from a market whose certificate is verified, or from the authority after the roots changed.

use std::time::Duration;

use souk_certs::clock::Clock;
use souk_certs::random::Random;
use time::OffsetDateTime;

use super::record::Record;
use super::{RenewalError, described};
use crate::context::{Context, Locked};
use crate::trust::{self, Accepted, Refused, SignedBundle, Trusted, accept, install, trusted_by};

/// How long an answer waits for another process to release the context.
const TAKE_WAIT: Duration = Duration::from_secs(1);

/// How long the roots that were caught up with wait for it.
const CATCH_UP_WAIT: Duration = Duration::from_secs(10);

/// Returns the sequence of the bundle that a context has; 0 if it has none.
///
/// # Errors
/// The context can't be read.
pub fn known_sequence(context: &Context) -> Result<i64, RenewalError> {
    Ok(trusted_by(context, &described(context)?.trust_domain)?.sequence())
}

/// Takes a chain of bundles, the oldest first, as the authority pushes them. Returns the one that is in use now; `None` if
/// nothing has changed, or another process is changing the context.
///
/// # Errors
/// A bundle was refused; nothing has changed then. Or the context can't be changed.
pub fn take(
    context: &Context,
    chain: &[SignedBundle],
    clock: Clock,
    random: Random,
) -> Result<Option<Accepted>, RenewalError> {
    let Some(locked) = context.try_lock()? else { return Ok(None) };
    let known = known_sequence(context)?;
    take_locked(&locked, known, chain, clock, random)
}

/// Takes a chain of bundles as a market has sent them in answer to `known`, which was the [`known_sequence`]. Returns the
/// one that is in use now; `None` if nothing has changed, or another process does not release the context for a second.
///
/// Bundles that another process has overtaken since the question are left out. An answer that is older than the question
/// is refused.
///
/// # Errors
/// As [`take`].
pub async fn take_answer(
    context: &Context,
    known: i64,
    chain: &[SignedBundle],
    clock: Clock,
    random: Random,
) -> Result<Option<Accepted>, RenewalError> {
    let Some(locked) = context.lock_within(TAKE_WAIT).await? else { return Ok(None) };
    take_locked(&locked, known, chain, clock, random)
}

fn take_locked(
    locked: &Locked,
    known: i64,
    chain: &[SignedBundle],
    clock: Clock,
    random: Random,
) -> Result<Option<Accepted>, RenewalError> {
    let context = locked.context();
    let trusted = trusted_by(context, &described(context)?.trust_domain)?;
    let last = follow(&trusted, known, chain, clock.now())?;
    if let Some(accepted) = &last {
        install(locked, accepted, random.uuid_v4())?;
    }
    record(locked, clock, random)?;
    Ok(last)
}

/// Judges a chain of bundles that was asked for when `known` was in use; `trusted` may be newer.
fn follow(
    trusted: &Trusted,
    known: i64,
    chain: &[SignedBundle],
    now: OffsetDateTime,
) -> Result<Option<Accepted>, RenewalError> {
    let mut last: Option<Accepted> = None;
    for signed in chain {
        // Before its signature is looked at, which may be of a root that is not trusted any more.
        let sequence = signed.open()?.sequence;
        if known < sequence && sequence < trusted.sequence() {
            continue;
        }
        let before = last.as_ref().map_or(trusted, Accepted::trusted);
        match accept(before, signed, now) {
            Ok(accepted) => last = Some(accepted),
            Err(Refused::InUse) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(last)
}

/// Catches up with changes of roots that a context has missed, at the authority: see [`trust::catch_up`]. The context is
/// locked only once the authority has answered. Returns whether it was done; `false` if another process does not release the
/// context.
///
/// # Errors
/// The authority was not reached, or its answer does not lead on from what is trusted. Nothing has changed then.
pub async fn catch_up(context: &Context, clock: Clock, random: Random) -> Result<bool, RenewalError> {
    let description = described(context)?;
    let domain = &description.trust_domain;
    let trusted = trusted_by(context, domain)?;
    let own_end = context.certificate(domain)?.not_after();
    let mut last = Err(RenewalError::NoAuthority);
    for authority in description.authorities() {
        last = trust::catch_up(authority, &trusted, own_end, clock.now()).await.map_err(Into::into);
        if last.is_ok() {
            break;
        }
    }
    let last: Accepted = last?;
    let Some(locked) = context.lock_within(CATCH_UP_WAIT).await? else { return Ok(false) };
    let present = trusted_by(context, domain)?;
    if present == trusted {
        install(&locked, &last, random.uuid_v4())?;
    } else if let Some(accepted) =
        follow(&present, trusted.sequence(), &[last.signed().clone()], clock.now())?
    {
        // Another process has caught up, and this answer is newer still.
        install(&locked, &accepted, random.uuid_v4())?;
    }
    record(&locked, clock, random)?;
    Ok(true)
}

/// Records that the trust is up to date, or that somebody was asked.
fn record(locked: &Locked, clock: Clock, random: Random) -> Result<(), RenewalError> {
    let context = locked.context();
    let record = Record { trust_at: Some(clock.now()), ..Record::read(context) };
    Ok(record.write(context, random.uuid_v4())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::{NOW, Root, bundle, signed, trusting_sequence};

    #[test]
    fn bundles_that_another_process_has_overtaken_are_no_lie() {
        let root = Root::new("one");
        let chain: Vec<_> =
            [6, 7].map(|number| signed(&bundle(number, vec![root.with_list(8)]), &[&root])).into();
        // Asked with 5; meanwhile, another process has taken 8, or the same chain.
        for present in [8, 7] {
            let trusted = match present {
                8 => trusting_sequence(&root, 8),
                _ => follow(&trusting_sequence(&root, 5), 5, &chain, NOW).unwrap().unwrap().trusted().clone(),
            };
            assert!(follow(&trusted, 5, &chain, NOW).unwrap().is_none(), "{present}");
        }
        // Asked with 7 or 8, the market answers with something older.
        for known in [7, 8] {
            let refused = follow(&trusting_sequence(&root, 8), known, &chain[..1], NOW).unwrap_err();
            assert!(matches!(refused, RenewalError::Trust(Refused::Older { .. })), "{refused}");
        }
    }

    #[test]
    fn an_overtaken_chain_may_begin_with_roots_that_were_retired() {
        let [old, new] = ["one", "two"].map(Root::new);
        let chain = [
            signed(&bundle(6, vec![old.with_list(9)]), &[&old]),
            signed(&bundle(9, vec![new.with_list(8)]), &[&new]),
        ];
        let trusted = trusting_sequence(&new, 8);
        let taken = follow(&trusted, 5, &chain, NOW).unwrap().unwrap();
        assert_eq!(taken.trusted().sequence(), 9);
    }
}
