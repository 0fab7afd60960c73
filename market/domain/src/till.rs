//! Tills: a seller's own point-of-sale programs, and the stock lines that they send.

use std::{collections::VecDeque, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Invalid, ItemId, PartyId, Sku, StockChange, TillId, Timestamp};

/// A till's name: 1 to 64 characters from `a-z 0-9 - _ .`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TillName(String);

impl TillName {
    /// The maximum length in characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// Fails if the name is empty, too long, or has a character that is not allowed.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(format!("is not 1 to {} characters of a-z, 0-9, -, _ and .", Self::MAX_CHARS)))
        }
    }

    /// Returns the name as a string slice.
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
    /// Derives the id from the seller and the name (a version 5 UUID, RFC 9562), so that a stream knows it
    /// without a query.
    pub fn of(seller: PartyId, name: &TillName) -> Self {
        Self(Uuid::new_v5(&seller.0, name.as_str().as_bytes()))
    }

    /// Returns the mailbox for the till's sales and cancellations, which is separate from its seller's.
    pub fn mailbox(self) -> PartyId {
        PartyId(self.0)
    }
}

/// A till, with the position in its stream of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Till {
    /// The id, derived from seller and name.
    pub id: TillId,
    /// The seller that owns the till.
    pub seller: PartyId,
    /// The name, unique among the seller's tills.
    pub name: TillName,
    /// When the till was first opened.
    pub opened_at: Timestamp,
    /// The number of the last line that was applied or refused; 0 before the first. Lines are numbered from 1
    /// without gaps.
    pub last_line: i64,
    /// The outcomes of the last lines, up to [`Self::RECENT`] of them, for answering repetitions.
    pub recent: VecDeque<LineRecord>,
}

/// The outcome of a line, kept to answer a repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    print: LinePrint,
    outcome: LineOutcome,
}

/// The first 8 bytes of the SHA-256 of a line. It distinguishes a repetition from another line that reuses
/// the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinePrint(pub u64);

/// A line from a till, as parsed from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TillLine {
    /// The till's number for the line. It is not validated: any `i64` can arrive.
    pub number: i64,
    /// The hash of everything in the line except its number.
    pub print: LinePrint,
    /// The requested change, or why the line is invalid. An invalid line still uses up its number.
    pub asks: Result<LineChange, Invalid>,
}

/// The stock change that a line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineChange {
    /// The item whose stock changes.
    pub item: ItemRef,
    /// The new stock, or the difference.
    pub stock: StockChange,
}

/// How a line names an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemRef {
    /// By the market's item number.
    Id(ItemId),
    /// By the seller's own number for it.
    Sku(Sku),
}

/// The market's answer to a line of a till. It is stored, so that a repeated line gets the same outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineAnswer {
    /// The number of the line that is answered.
    pub number: i64,
    /// Whether the line had been received before, so that it took no effect this time.
    pub repeated: bool,
    /// The outcome, from the first time if it is a repetition.
    pub outcome: LineOutcome,
}

/// Whether a line was applied, with the resulting stock, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineOutcome {
    /// The line was applied.
    Stock {
        /// The item whose stock was set.
        item: ItemId,
        /// The units for sale after the line.
        quantity: i64,
        /// The item's version after the line.
        version: i64,
    },
    /// The seller has no such item listed.
    ItemNotFound,
    /// The stock would be negative or above its limit.
    OutOfRange {
        /// The units in stock when the line was processed.
        available: i64,
        /// The requested difference in units, negative for a removal.
        delta: i64,
    },
    /// The line is invalid, with the reason.
    Invalid(String),
    /// The line is neither the next one nor an earlier one. Its number is not used up.
    OutOfOrder {
        /// The number that the next line must have.
        expected: i64,
    },
    /// The number was used for a line with other content. The line is not applied.
    Reused,
    /// The line was received before, and its outcome is no longer stored.
    Forgotten,
}

impl LineOutcome {
    /// Returns whether the line's number is used up, so that the till can move on to the next.
    pub fn is_taken(&self) -> bool {
        !matches!(self, Self::OutOfOrder { .. } | Self::Reused)
    }
}

/// The position of a line relative to the till's last line.
pub(super) enum LineStanding {
    Next,
    /// Not the next line; the outcome is known without applying it.
    Answered(LineOutcome),
}

impl Till {
    /// The maximum number of tills of one seller. Every purchase from the seller writes an event for each.
    pub const MAX_OF_SELLER: usize = 16;
    /// The number of lines whose outcomes are kept: as many as a till may have in flight, so that all of them
    /// can be answered again after a lost connection.
    pub const RECENT: usize = 64;
    /// The maximum number of lines in one command.
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
        // The number is unvalidated input, so the arithmetic must not overflow.
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
        // `recent` ends with `last_line`, so the record of the line is `back` entries before its end. Older
        // ones have been dropped, and such a line must still not be applied again.
        LineStanding::Answered(match record {
            Some(record) if record.print == line.print => record.outcome.clone(),
            Some(_) => LineOutcome::Reused,
            None => LineOutcome::Forgotten,
        })
    }

    /// Records the next line. Its number is used up even if it was refused, so that later lines are not
    /// blocked.
    pub(super) fn take(&mut self, line: &TillLine, outcome: LineOutcome) {
        self.last_line = line.number;
        if self.recent.len() == Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(LineRecord { print: line.print, outcome });
    }
}
