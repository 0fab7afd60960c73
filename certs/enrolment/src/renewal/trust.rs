//! Taking trust bundles: from a market whose certificate is verified, or from the authority after the roots changed.

use souk_certs::clock::Clock;
use souk_certs::random::Random;

use super::record::Record;
use super::{RenewalError, described};
use crate::context::{Context, Locked};
use crate::trust::{self, Accepted, Refused, SignedBundle, accept, install, trusted_by};

/// Returns the sequence of the bundle that a context has; 0 if it has none.
///
/// # Errors
/// The context can't be read.
pub fn known_sequence(context: &Context) -> Result<i64, RenewalError> {
    Ok(trusted_by(context, &described(context)?.trust_domain)?.sequence())
}

/// Takes a chain of bundles, the oldest first, as a market has sent them in answer to [`known_sequence`]. Returns the one
/// that is in use now; `None` if nothing has changed, or another process is changing the context.
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
    let trusted = trusted_by(context, &described(context)?.trust_domain)?;
    let now = clock.now();
    let mut last: Option<Accepted> = None;
    for signed in chain {
        let before = last.as_ref().map_or(&trusted, Accepted::trusted);
        match accept(before, signed, now) {
            Ok(accepted) => last = Some(accepted),
            // Another process has taken it in the meantime.
            Err(Refused::InUse) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    if let Some(accepted) = &last {
        install(&locked, accepted, random.uuid_v4())?;
    }
    record(&locked, clock, random)?;
    Ok(last)
}

/// Catches up with changes of roots that a context has missed, at the authority: see [`trust::catch_up`]. Returns whether
/// it was done; `false` if another process is changing the context.
///
/// # Errors
/// The authority was not reached, or its answer does not lead on from what is trusted. Nothing has changed then.
pub async fn catch_up(context: &Context, clock: Clock, random: Random) -> Result<bool, RenewalError> {
    let Some(locked) = context.try_lock()? else { return Ok(false) };
    catch_up_locked(&locked, clock, random).await.map(|()| true)
}

/// Like [`catch_up`], for the process that holds the lock.
pub(super) async fn catch_up_locked(
    locked: &Locked,
    clock: Clock,
    random: Random,
) -> Result<(), RenewalError> {
    let context = locked.context();
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
    install(locked, &last?, random.uuid_v4())?;
    record(locked, clock, random)
}

/// Records that the trust is up to date, or that somebody was asked.
fn record(locked: &Locked, clock: Clock, random: Random) -> Result<(), RenewalError> {
    let context = locked.context();
    let record = Record { trust_at: Some(clock.now()), ..Record::read(context) };
    Ok(record.write(context, random.uuid_v4())?)
}
