//! SQLite's full-text search: an FTS5 table without content, and a table of items beside it.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ToSql, types::ToSqlOutput};
use tempfile::TempDir;

use super::statements::{Parameter, Statements, calls};
use crate::{made_up::Catalogue, search::asked::Asked};

const STATEMENTS: Statements = Statements::of(include_str!("../../../sql/fts5.sql"));
/// As much page cache as the market's readers have together, in KiB, which SQLite takes as a negative number.
const CACHE_KIB: i64 = -128 * 1024;
/// Prepared statements that are kept.
const PREPARED: usize = 32;

/// The database.
pub(in crate::search) struct Fts5 {
    connection: Connection,
    items: u64,
    _folder: TempDir,
}

impl Fts5 {
    pub(super) fn fill(catalogue: &Catalogue, items: u64) -> anyhow::Result<(Self, Duration)> {
        let folder = tempfile::tempdir()?;
        let mut connection = Connection::open(folder.path().join("fts5.db"))?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        // Nothing here must survive a crash.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(STATEMENTS.named("schema")?)?;
        let filling = connection.transaction()?;
        {
            let mut put = filling.prepare(STATEMENTS.named("put")?)?;
            for number in 0..items {
                let item = catalogue.item(number);
                let id = i64::try_from(number)?;
                put.execute((id, &item.name, &item.description, &item.category, item.price_minor))?;
            }
        }
        filling.commit()?;
        let began = Instant::now();
        connection.execute_batch(STATEMENTS.named("build")?)?;
        let took = began.elapsed();
        connection.execute_batch(STATEMENTS.named("indexes")?)?;
        Ok((Self { connection, items, _folder: folder }, took))
    }

    /// Searches, and reads the results. Returns whether it can search like this.
    pub(super) fn search(&self, asked: &Asked) -> anyhow::Result<bool> {
        let Some(calls) = calls(asked, words, self.items, false) else { return Ok(false) };
        for (name, parameters) in calls {
            let mut statement = self.connection.prepare_cached(STATEMENTS.named(&name)?)?;
            let mut rows = statement.query(rusqlite::params_from_iter(&parameters))?;
            while rows.next()?.is_some() {}
        }
        Ok(true)
    }
}

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Number(number) => number.to_sql(),
        }
    }
}

/// Returns the words in the syntax of FTS5.
fn words(asked: &Asked) -> String {
    let quoted: Vec<_> = asked.text.split(' ').map(|word| format!("\"{word}\"")).collect();
    quoted.join(" ") + if asked.is_beginning { "*" } else { "" }
}
