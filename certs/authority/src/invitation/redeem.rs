//! The check of an invitation's secret.
//!
//! - An unknown invitation and a wrong secret get the same answer, after the same work: one hash, one comparison in
//!   constant time, one count for the address. Nothing is written before the answer.
//! - [`MAX_WRONG`] wrong secrets lock an invitation, wherever they come from.
//! - An address that sends more than [`MAX_WRONG_OF_ADDRESS`] wrong secrets a minute has to wait. The right secret is
//!   never refused because of others: guessing 128 bits is hopeless at any rate, so the rate only bounds what a flood
//!   writes to the log, and must not shut out others at the same address.
//!
//! Pure, apart from its own counts: the clock and the addresses are passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use souk_certs::acceptor::source_of;
use souk_enrolment::code::{InvitationId, Secret};
use time::{Duration, OffsetDateTime};

use super::book::{Book, sha256_hex};

/// How many wrong secrets lock an invitation.
pub const MAX_WRONG: u32 = 5;
/// How many wrong secrets an address (IPv6: a /64) may send in a [`WINDOW`] before it has to wait.
pub const MAX_WRONG_OF_ADDRESS: u32 = 10;
/// The time in which wrong secrets of an address are counted, from the first.
pub const WINDOW: Duration = Duration::minutes(1);

/// Maximum number of addresses that are counted apart. Beyond it, all others share one count.
const MAX_ADDRESSES: usize = 16_384;
/// The address that those beyond [`MAX_ADDRESSES`] share.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The invitations that can be guessed at, and the wrong secrets so far.
#[derive(Debug)]
pub struct Redeemer {
    by_id: HashMap<InvitationId, Known>,
    by_address: HashMap<IpAddr, Count>,
    /// When the addresses whose window is over are looked for again: each guess of a flood must not look at all of them.
    swept_until: Option<OffsetDateTime>,
    /// The hash that a secret is compared with if the invitation is unknown.
    decoy: String,
}

#[derive(Debug)]
struct Known {
    secret_sha256: String,
    wrong: u32,
    is_locked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: OffsetDateTime,
    wrong: u32,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The secret is right. Whether the invitation can be used is for [`Book::claim`] to say.
    Right,
    /// The secret is right, but too many wrong ones were sent before.
    Locked,
    /// The invitation is unknown, or the secret is wrong.
    Wrong {
        /// Whether this one has locked the invitation, which is to be recorded. The caller must not learn of it.
        has_locked: bool,
    },
    /// The same, and its address has sent too many.
    TooMany {
        /// How long it should wait.
        wait: Duration,
        /// As in [`Verdict::Wrong`].
        has_locked: bool,
    },
}

impl Redeemer {
    /// Creates a redeemer for the invitations of a book. `random` are bytes that nobody knows.
    #[must_use]
    pub fn new(book: &Book, random: &[u8; 32]) -> Self {
        let mut redeemer = Redeemer {
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            swept_until: None,
            decoy: sha256_hex(random),
        };
        redeemer.reload(book);
        redeemer
    }

    /// Takes over the invitations of a book that has changed. Wrong secrets of those that are still there keep counting.
    pub fn reload(&mut self, book: &Book) {
        let mut before = std::mem::take(&mut self.by_id);
        self.by_id = book
            .invitations()
            .iter()
            .map(|invitation| {
                let counted = before.remove(&invitation.id);
                let known = Known {
                    secret_sha256: invitation.secret_sha256().to_owned(),
                    wrong: counted.as_ref().map_or(0, |counted| counted.wrong),
                    is_locked: invitation.is_locked() || counted.is_some_and(|counted| counted.is_locked),
                };
                (invitation.id, known)
            })
            .collect();
    }

    /// Checks a secret that came from an address.
    pub fn check(
        &mut self,
        id: InvitationId,
        secret: &Secret,
        address: IpAddr,
        now: OffsetDateTime,
    ) -> Verdict {
        let hash = sha256_hex(secret.reveal());
        let known = self.by_id.get_mut(&id);
        let expected = known.as_ref().map_or(&self.decoy, |known| &known.secret_sha256);
        let is_equal = verify_slices_are_equal(hash.as_bytes(), expected.as_bytes()).is_ok();
        match known {
            Some(known) if is_equal && known.is_locked => Verdict::Locked,
            Some(_) if is_equal => Verdict::Right,
            known => {
                let has_locked = known.is_some_and(Known::count);
                match self.count(address, now) {
                    Some(wait) => Verdict::TooMany { wait, has_locked },
                    None => Verdict::Wrong { has_locked },
                }
            }
        }
    }

    /// Counts a wrong secret of an address. Returns how long it should wait if there are too many.
    fn count(&mut self, address: IpAddr, now: OffsetDateTime) -> Option<Duration> {
        // A clock that was set back must not keep a window open for ever.
        let is_over = |count: &Count| now >= count.since + WINDOW || now < count.since;
        let mut source = source_of(address);
        if !self.by_address.contains_key(&source) && self.by_address.len() >= MAX_ADDRESSES {
            if self.swept_until.is_none_or(|until| now >= until || now + WINDOW < until) {
                self.by_address.retain(|_, count| !is_over(count));
                self.swept_until = Some(now + WINDOW);
            }
            if self.by_address.len() >= MAX_ADDRESSES {
                source = OTHERS;
            }
        }
        let count = self.by_address.entry(source).or_insert(Count { since: now, wrong: 0 });
        if is_over(count) {
            *count = Count { since: now, wrong: 0 };
        }
        count.wrong = count.wrong.saturating_add(1);
        (count.wrong > MAX_WRONG_OF_ADDRESS).then(|| count.since + WINDOW - now)
    }
}

impl Known {
    /// Counts a wrong secret. Returns whether it is the one that locks the invitation.
    fn count(&mut self) -> bool {
        self.wrong = self.wrong.saturating_add(1);
        let has_locked = !self.is_locked && self.wrong >= MAX_WRONG;
        self.is_locked |= has_locked;
        has_locked
    }
}

#[cfg(test)]
mod tests;
