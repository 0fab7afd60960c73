//! Other search engines on the same items, asked in the same run: a page, the number of matches, and the matches by
//! category, each by a query of its own.

mod fts5;
mod postgres;
mod statements;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{asked::Asked, times::micros};
use crate::made_up::Catalogue;
use fts5::Fts5;
use postgres::Postgres;

/// How often each search is repeated at most. A slow one is repeated less often.
const REPEATS: usize = 20;

/// What can be measured beside the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PeerKind {
    /// SQLite's full-text search, in this process.
    Fts5,
    /// A private PostgreSQL server, with tsvector and pg_trgm.
    Postgres,
}

impl PeerKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fts5 => "fts5",
            Self::Postgres => "postgres",
        }
    }
}

/// A search engine with all items.
pub(super) enum Peer {
    Fts5(Box<Fts5>),
    Postgres(Box<Postgres>),
}

impl Peer {
    /// Fills it with the first items of the catalogue. Also returns the time that it took to index their words.
    pub(super) async fn fill(
        kind: PeerKind,
        catalogue: &Catalogue,
        items: u64,
    ) -> anyhow::Result<(Self, Duration)> {
        match kind {
            PeerKind::Fts5 => {
                let (peer, took) = Fts5::fill(catalogue, items)?;
                Ok((Self::Fts5(Box::new(peer)), took))
            }
            PeerKind::Postgres => {
                let (peer, took) = Postgres::fill(catalogue, items).await?;
                Ok((Self::Postgres(Box::new(peer)), took))
            }
        }
    }

    /// Repeats searches for about some time. `None` if it can't search like this.
    pub(super) async fn measure(
        &mut self,
        searches: &[Asked],
        duration: Duration,
    ) -> anyhow::Result<Option<Histogram<u64>>> {
        let mut times = Histogram::new_with_bounds(1, 600_000_000, 3)?;
        let end = Instant::now() + duration;
        for round in 0..REPEATS {
            for asked in searches {
                if round > 0 && Instant::now() >= end {
                    return Ok(Some(times));
                }
                let began = Instant::now();
                let could = match self {
                    Self::Fts5(peer) => peer.search(asked)?,
                    Self::Postgres(peer) => peer.search(asked).await?,
                };
                if !could {
                    return Ok(None);
                }
                times.saturating_record(micros(began.elapsed()));
            }
        }
        Ok(Some(times))
    }
}
