//! The cases, by family.

mod admin;
mod calls;
mod frames;
mod handshakes;
mod parties;
mod reads;
mod streams;

use super::{
    attacker::{Attacker, Who},
    case::Case,
};

/// Calls of a flood under way on each connection.
const AT_ONCE: usize = 64;
/// Streams on a connection that are held open, nearly as many as the market allows.
const STREAMS: usize = 250;

/// Returns all cases, in the order in which they run.
pub(super) fn all() -> Vec<Case> {
    [
        handshakes::CASES,
        frames::CASES,
        calls::CASES,
        reads::CASES,
        streams::CASES,
        parties::CASES,
        admin::CASES,
    ]
    .concat()
}

/// Calls a method of the contract as fast as it answers.
async fn flood(
    attacker: Attacker,
    who: Who,
    method: &str,
    request: impl FnMut(u32) -> Vec<u8>,
) -> anyhow::Result<()> {
    let headers = attacker.headers(who, method);
    Ok(attacker.link(who).await?.calls(AT_ONCE, &headers, request).await?)
}

/// Opens a connection and sends nothing, until the peer hangs up.
async fn silent(attacker: Attacker) -> anyhow::Result<()> {
    let stream = attacker.tcp().await?;
    attacker.hit().await;
    attacker.hung_up(stream).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
