//! Bounds what clients leave unread: the bytes of answers that are not sent yet and the open streams, of each party and
//! of all together.
//!
//! HTTP/2 lets a client decide how much of an answer it takes. Without a bound, a party could have the market hold
//! answers until its memory is used up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use souk_certs::identity::Identity;
use souk_proto::Reason;
use tonic::Status;

use crate::{
    by_party::{ByParty, OfParty},
    wire,
};

/// Maximum number of bytes of answers that a party leaves unread, before its calls are refused.
pub(super) const BYTES_OF_PARTY: usize = 32 * 1024 * 1024;
/// Maximum number of bytes of answers that are unread in all, before calls of the parties that leave more than
/// [`SPARED_BYTES`] unread are refused.
pub(super) const BYTES_OF_ALL: usize = 256 * 1024 * 1024;
/// What a party may leave unread even if all together have used up their limit. Those who read their answers must not
/// suffer from those who don't.
const SPARED_BYTES: usize = 256 * 1024;
/// Maximum number of open streams of a party, before its calls are refused. More than `limits.calls_of_party` by
/// default, because streams may last.
pub(super) const STREAMS_OF_PARTY: usize = 2_048;
/// Maximum number of open streams in all, before calls of the parties with more than [`SPARED_STREAMS`] are refused.
pub(super) const STREAMS_OF_ALL: usize = 65_536;
/// How many streams a party may have open even if all together have reached their limit.
const SPARED_STREAMS: usize = 16;
/// Pieces of answers below this size are not counted. The number of streams bounds them, and counting costs an
/// allocation.
const COUNTED_FROM: usize = 4 * 1024;
/// Retry delay suggested to a party that has to read its answers first.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The answers of all connections. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    all: Counts,
    by_party: ByParty<Party>,
    stalled: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    streams: AtomicUsize,
    bytes: AtomicUsize,
}

impl Counts {
    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The answers of one party. Its connections share it, so that a call finds it without a lock.
#[derive(Debug)]
struct Party {
    counts: Counts,
    shared: Arc<Shared>,
}

/// The share of a connection in the limits: those of its party. Clones are the same share.
#[derive(Clone, Debug)]
pub(super) struct AnswerShare(Arc<OfParty<Party>>);

impl Answers {
    /// Returns the share of a new connection of a party.
    pub(super) fn share(&self, identity: Identity) -> AnswerShare {
        let begin = || Party { counts: Counts::default(), shared: Arc::clone(&self.0) };
        AnswerShare(self.0.by_party.of(identity, begin))
    }

    /// Returns the number of open streams.
    pub(super) fn streams(&self) -> usize {
        self.0.all.streams()
    }

    /// Returns the number of bytes that clients have not taken yet.
    pub(super) fn unread_bytes(&self) -> usize {
        self.0.all.bytes()
    }

    /// Returns the number of streams that were reset because their client did not read.
    pub(super) fn stalled(&self) -> u64 {
        self.0.stalled.load(Ordering::Relaxed)
    }

    /// Returns the number of calls that were refused because their party leaves too much unread.
    pub(super) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl AnswerShare {
    /// Counts a stream until the returned value is dropped.
    pub(super) fn open(&self) -> OpenAnswer {
        for counts in [&self.0.shared.all, &self.0.counts] {
            counts.streams.fetch_add(1, Ordering::Relaxed);
        }
        OpenAnswer(self.clone())
    }

    /// Fails with OVERLOADED if the party has to read its answers before it gets more.
    pub(super) fn check(&self) -> Result<(), Status> {
        let (all, own) = (&self.0.shared.all, &self.0.counts);
        let message = if own.bytes() > own_limit(all.bytes(), BYTES_OF_ALL, SPARED_BYTES, BYTES_OF_PARTY) {
            "you leave too many answers unread; read them, or cancel their calls, and try again"
        } else if own.streams() > own_limit(all.streams(), STREAMS_OF_ALL, SPARED_STREAMS, STREAMS_OF_PARTY) {
            "you have too many streams open; end some and try again"
        } else {
            return Ok(());
        };
        self.0.shared.refused.fetch_add(1, Ordering::Relaxed);
        Err(wire::try_again(Reason::Overloaded, message, RETRY_DELAY))
    }
}

/// Returns the limit of a party, which depends on whether all together have reached theirs.
fn own_limit(all: usize, of_all: usize, spared: usize, of_party: usize) -> usize {
    if all > of_all { spared } else { of_party }
}

/// A stream that is open. It counts until it is dropped.
#[derive(Debug)]
pub(super) struct OpenAnswer(AnswerShare);

impl OpenAnswer {
    /// Counts a piece of the answer as unread, until every part of it has been written to the connection or dropped.
    pub(super) fn hold(&self, piece: Bytes) -> Bytes {
        if piece.len() < COUNTED_FROM {
            return piece;
        }
        let party = Arc::clone(&self.0.0);
        for counts in [&party.shared.all, &party.counts] {
            counts.bytes.fetch_add(piece.len(), Ordering::Relaxed);
        }
        Bytes::from_owner(Held { piece, party })
    }

    /// Counts a stream that is reset because its client does not read.
    pub(super) fn stalled(&self) {
        self.0.0.shared.stalled.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        let party = &self.0.0;
        for counts in [&party.shared.all, &party.counts] {
            counts.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A piece of an answer, which h2 drops when it has written it.
struct Held {
    piece: Bytes,
    party: Arc<OfParty<Party>>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for counts in [&self.party.shared.all, &self.party.counts] {
            counts.bytes.fetch_sub(self.piece.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn party(number: u128) -> Identity {
        Identity::Buyer(Uuid::from_u128(number))
    }

    #[test]
    fn unread_bytes_count_until_the_last_part_is_gone() {
        let answers = Answers::default();
        let share = answers.share(party(1));
        let open = share.open();
        let mut piece = open.hold(Bytes::from(vec![0; BYTES_OF_PARTY]));
        assert!(share.check().is_ok(), "at the limit");
        let small = open.hold(Bytes::from(vec![0; COUNTED_FROM]));
        let status = share.check().unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::Overloaded));
        assert!(answers.share(party(1)).check().is_err(), "on another connection");
        assert!(answers.share(party(2)).check().is_ok(), "others are served");
        let part = piece.split_to(1);
        drop((small, piece));
        assert_eq!(answers.unread_bytes(), BYTES_OF_PARTY, "one part of it is left");
        drop((part, open));
        assert_eq!((answers.unread_bytes(), answers.streams(), answers.refused()), (0, 0, 2));
    }

    #[test]
    fn those_who_read_are_served_when_others_have_used_up_the_limit_of_all() {
        let answers = Answers::default();
        let held: Vec<_> = (0..9)
            .map(|number| {
                let open = answers.share(party(number)).open();
                let piece = open.hold(Bytes::from(vec![0; BYTES_OF_PARTY]));
                (open, piece)
            })
            .collect();
        assert!(answers.unread_bytes() > BYTES_OF_ALL);
        assert!((0..9).all(|number| answers.share(party(number)).check().is_err()));
        assert!(answers.share(party(9)).check().is_ok());
        drop(held);
        assert!(answers.share(party(0)).check().is_ok());
    }

    #[test]
    fn a_party_has_its_number_of_streams() {
        let answers = Answers::default();
        let share = answers.share(party(1));
        let mut open: Vec<_> = (0..STREAMS_OF_PARTY).map(|_| share.open()).collect();
        assert!(share.check().is_ok());
        open.push(share.open());
        assert!(share.check().is_err());
        open.pop();
        assert!(share.check().is_ok());
        drop((open, share));
        assert!(answers.0.by_party.is_empty(), "nothing is left behind");
    }
}
