//! The columns of tables and the fields of cards.

/// A column of a table, or a field of a card.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub(super) heading: &'static str,
    pub(super) kind: Kind,
    /// The columns with the highest rank are left out first; those with rank 0 never.
    pub(super) rank: u8,
    /// The program that leaves the column out, because it would name the program's own user.
    own: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words that are wrapped, and cut after two lines.
    Text,
    /// Words that are wrapped and never cut.
    Prose,
    /// One word, such as an identifier, a status or a time.
    Word,
    /// A number or an amount of money, aligned to the right.
    Number,
}

impl Column {
    /// A column of names or other words, which may be shortened after a whole word.
    pub const fn text(heading: &'static str) -> Self {
        Self::new(heading, Kind::Text)
    }

    /// A column of sentences, which are wrapped and never shortened.
    pub const fn prose(heading: &'static str) -> Self {
        Self::new(heading, Kind::Prose)
    }

    /// A column of identifiers, statuses or times, which stay on one line.
    pub const fn word(heading: &'static str) -> Self {
        Self::new(heading, Kind::Word)
    }

    /// A column of numbers or of money, aligned to the right.
    pub const fn number(heading: &'static str) -> Self {
        Self::new(heading, Kind::Number)
    }

    const fn new(heading: &'static str, kind: Kind) -> Self {
        Self { heading, kind, rank: 0, own: None }
    }

    /// Sets the rank: on a narrow terminal, the columns with the highest rank are left out first. Without a rank, a
    /// column is always shown.
    #[must_use]
    pub const fn rank(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// Leaves the column out of the tables of this program, whose user it would name in every row.
    #[must_use]
    pub const fn names_user_of(self, program: &'static str) -> Self {
        Self { own: Some(program), ..self }
    }

    /// Returns the heading.
    pub(crate) fn heading(&self) -> &'static str {
        self.heading
    }

    /// Returns whether this program shows the column.
    pub(crate) fn is_for(&self, program: &str) -> bool {
        self.own != Some(program)
    }
}

/// Where a column stands: which of the row's cells it shows, and how.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(super) at: usize,
    pub(super) heading: String,
    pub(super) kind: Kind,
    pub(super) rank: u8,
}

impl Place {
    /// A column of a type of results.
    pub(crate) fn of(at: usize, column: &Column) -> Self {
        Self { at, heading: column.heading.to_owned(), kind: column.kind, rank: column.rank }
    }

    /// A column that the user has selected: never shortened or left out.
    pub(crate) fn selected(at: usize, name: &str, is_number: bool) -> Self {
        let kind = if is_number { Kind::Number } else { Kind::Prose };
        Self { at, heading: name.to_uppercase(), kind, rank: 0 }
    }

    pub(super) fn is_flexible(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Prose)
    }
}
