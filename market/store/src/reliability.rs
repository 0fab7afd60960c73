//! How the callbacks of mailboxes have behaved, by which they are called.

/// How a mailbox's callback has behaved. Callbacks of each kind are called in slots of their own, so that those
/// that never answer can't delay the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reliability {
    /// The last attempt was received.
    Proven = 0,
    /// Nothing has been received there since the callback was registered or, after a failure, since the
    /// recipient registered it again or was active otherwise.
    Unproven = 1,
    /// The last attempt failed.
    Failing = 2,
}

impl Reliability {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Proven, Self::Unproven, Self::Failing];

    /// Returns the kind that is stored under a number. An unknown one is treated like a failing callback.
    pub(crate) fn of(number: i64) -> Self {
        Self::ALL.into_iter().find(|kind| *kind as i64 == number).unwrap_or(Self::Failing)
    }
}

/// How deliveries were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenBy {
    /// By the callback.
    Callback,
    /// In another way, which shows nothing about the callback.
    Acknowledgement,
}

impl TakenBy {
    /// Returns how the callback counts from now on. The SQL back ends do the same in SQL.
    pub(crate) fn reliability(self, before: Reliability) -> Reliability {
        match (self, before) {
            (Self::Callback, _) => Reliability::Proven,
            (Self::Acknowledgement, Reliability::Failing) => Reliability::Unproven,
            (Self::Acknowledgement, before) => before,
        }
    }
}

/// A number for each kind of callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByReliability {
    /// For those whose last attempt was received.
    pub proven: usize,
    /// For those at which nothing has been received yet.
    pub unproven: usize,
    /// For those whose last attempt failed.
    pub failing: usize,
}

impl ByReliability {
    /// Returns the same number for each kind.
    pub fn each(number: usize) -> Self {
        Self { proven: number, unproven: number, failing: number }
    }

    /// Returns the number for a kind.
    pub fn of(&self, kind: Reliability) -> usize {
        match kind {
            Reliability::Proven => self.proven,
            Reliability::Unproven => self.unproven,
            Reliability::Failing => self.failing,
        }
    }

    /// Sets the number for a kind.
    pub(crate) fn set(&mut self, kind: Reliability, number: usize) {
        match kind {
            Reliability::Proven => self.proven = number,
            Reliability::Unproven => self.unproven = number,
            Reliability::Failing => self.failing = number,
        }
    }

    /// Returns the kinds whose number is not 0.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Reliability> {
        let numbers = *self;
        Reliability::ALL.into_iter().filter(move |kind| numbers.of(*kind) > 0)
    }
}
