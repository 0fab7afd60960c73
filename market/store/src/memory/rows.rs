//! Counts and deletions of rows, shared by all operations.

/// Converts a number of rows to the type of the store's answers.
pub(super) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Deletes rows up to a limit, as one step of the clean-up does.
pub(super) struct Deletion {
    limit: usize,
    left: usize,
}

impl Deletion {
    pub(super) fn of_at_most(limit: usize) -> Self {
        Self { limit, left: limit }
    }

    /// Returns whether a row stays: because it is not due, or because the limit is reached. Otherwise it counts as
    /// deleted.
    pub(super) fn keeps(&mut self, is_due: bool) -> bool {
        let deletes = is_due && self.left > 0;
        self.left -= usize::from(deletes);
        !deletes
    }

    /// Returns the number of rows deleted.
    pub(super) fn deleted(&self) -> usize {
        self.limit - self.left
    }
}
