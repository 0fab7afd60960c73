//! Tills: a seller's own programs that keep count of stock, and the lines that they send.

use std::{collections::VecDeque, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Invalid, ItemId, PartyId, Sku, StockChange, TillId, Timestamp};

/// A till's name: 1 to 64 characters out of `a-z 0-9 - _ .`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TillName(String);

impl TillName {
    /// The most characters it may have.
    pub const MAX_CHARS: usize = 64;

    /// Takes the name over, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(format!("is not 1 to {} characters of a-z, 0-9, -, _ and .", Self::MAX_CHARS)))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TillId {
    /// The id follows from the seller and the name (a UUID of version 5, RFC 9562), so that a stream knows it
    /// without a query.
    pub fn of(seller: PartyId, name: &TillName) -> Self {
        Self(Uuid::new_v5(&seller.0, name.as_str().as_bytes()))
    }

    /// Where the till's sales and cancellations wait: a mailbox of its own, beside its seller's.
    pub fn mailbox(self) -> PartyId {
        PartyId(self.0)
    }
}

/// A till, and how far its lines have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Till {
    /// Its id.
    pub id: TillId,
    /// Whose it is.
    pub seller: PartyId,
    /// Its name among the seller's tills.
    pub name: TillName,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The last line that was carried out or refused; lines are numbered from 1 without a gap.
    pub last_line: i64,
    /// What became of the last lines, up to [`Self::RECENT`] of them.
    pub recent: VecDeque<LineRecord>,
}

/// What became of a line, for when it comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    print: LinePrint,
    outcome: LineOutcome,
}

/// The first 8 bytes of the SHA-256 of a line: tells whether a line that comes again is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinePrint(pub u64);

/// A line of a till's, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TillLine {
    /// Its number.
    pub number: i64,
    /// Of everything else in it.
    pub print: LinePrint,
    /// What it asks for, or why that makes no sense.
    pub asks: Result<LineChange, Invalid>,
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineChange {
    /// Which item.
    pub item: ItemRef,
    /// How its stock is or changes.
    pub stock: StockChange,
}

/// How a line names an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemRef {
    /// By its number.
    Id(ItemId),
    /// By the seller's own number.
    Sku(Sku),
}

/// The answer to a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineAnswer {
    /// Its number.
    pub number: i64,
    /// Whether it had come before.
    pub repeated: bool,
    /// What came of it.
    pub outcome: LineOutcome,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineOutcome {
    /// The item's stock after it.
    Stock {
        /// The item.
        item: ItemId,
        /// Units for sale.
        quantity: i64,
        /// The item's version.
        version: i64,
    },
    /// The seller lists no such item.
    ItemNotFound,
    /// The stock would leave its bounds.
    OutOfRange {
        /// Units there were.
        available: i64,
        /// Units that were to be added, or taken away when negative.
        delta: i64,
    },
    /// The line makes no sense.
    Invalid(String),
    /// It is not the next line, and none of those before. Not taken.
    OutOfOrder {
        /// The next line's number.
        expected: i64,
    },
    /// Its number stands for another line. Not taken.
    Reused,
    /// It came before, and what came of it is no longer known.
    Forgotten,
}

impl LineOutcome {
    /// Whether the till has the line behind it: its number is used up.
    pub fn is_taken(&self) -> bool {
        !matches!(self, Self::OutOfOrder { .. } | Self::Reused)
    }
}

/// Where a line stands in the order of its till's.
pub(super) enum LineStanding {
    Next,
    /// It has an answer already.
    Answered(LineOutcome),
}

impl Till {
    /// The most tills of one seller.
    pub const MAX_OF_SELLER: usize = 16;
    /// How many lines are remembered with their outcomes: as many as a till may have under way.
    pub const RECENT: usize = 64;
    /// The most lines that are carried out as one command.
    pub const MAX_LINES_AT_ONCE: usize = Self::RECENT;

    pub(super) fn open(seller: PartyId, name: &TillName, now: Timestamp) -> Self {
        Self {
            id: TillId::of(seller, name),
            seller,
            name: name.clone(),
            opened_at: now,
            last_line: 0,
            recent: VecDeque::new(),
        }
    }

    pub(super) fn standing(&self, line: &TillLine) -> LineStanding {
        // Numbers come from outside: no arithmetic that could overflow.
        let Some(back) = self.last_line.checked_sub(line.number).filter(|back| *back >= 0) else {
            let expected = self.last_line.saturating_add(1);
            return match line.number == expected {
                true => LineStanding::Next,
                false => LineStanding::Answered(LineOutcome::OutOfOrder { expected }),
            };
        };
        if line.number < 1 {
            return LineStanding::Answered(LineOutcome::OutOfOrder {
                expected: self.last_line.saturating_add(1),
            });
        }
        let record = usize::try_from(back).ok().and_then(|back| self.recent.iter().rev().nth(back));
        LineStanding::Answered(match record {
            Some(record) if record.print == line.print => record.outcome.clone(),
            Some(_) => LineOutcome::Reused,
            None => LineOutcome::Forgotten,
        })
    }

    /// Takes the next line: its number is used up, whatever came of it.
    pub(super) fn take(&mut self, line: &TillLine, outcome: LineOutcome) {
        self.last_line = line.number;
        if self.recent.len() == Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(LineRecord { print: line.print, outcome });
    }
}
