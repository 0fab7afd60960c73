//! `market admin archive`: writes old orders and audit entries to files, and then removes them from the market.
//!
//! **Order of steps.** A file is written, synced, given its name, and its folder synced. Then it is read back, and only
//! what is in it is named to the market for removal. So a crash at any point loses nothing. Between file and removal, it
//! leaves records that the next run writes once more.

mod file;
mod record;

use std::path::{Path, PathBuf};

use clap::Args;
use file::{ArchiveFile, lines};
use record::{OrderNumber, OrderRecord};
use souk_cli::{Cell, CliSession, Column, DataField, Failure, Printer, Shown};
use souk_client::Connection;
use souk_proto::v1;
use souk_store::audit::{AuditRow, Head, archived_line, read_archived};
use time::macros::format_description;
use tonic::Streaming;

/// The number of orders that a call prunes, the most that the market accepts.
const ORDERS_AT_A_TIME: usize = 1_000;

/// Flags of `market admin archive`.
#[derive(Args)]
pub(super) struct Archive {
    /// The folder for the files. It must exist.
    #[arg(value_name = "DIR", required_unless_present = "dry_run")]
    folder: Option<PathBuf>,
    /// Count what is due; write and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What can be archived.
#[derive(Clone, Copy)]
struct Table {
    table: v1::ArchiveTable,
    /// What its records are called, also in file names.
    name: &'static str,
    what: &'static str,
    setting: &'static str,
}

const TABLES: [Table; 2] = [
    Table {
        table: v1::ArchiveTable::Orders,
        name: "orders",
        what: "finished orders",
        setting: "retention.finished_orders_days",
    },
    Table {
        table: v1::ArchiveTable::Audit,
        name: "audit",
        what: "audit entries",
        setting: "retention.audit_days",
    },
];

/// The stream of what is due in a table.
struct Due {
    messages: Streaming<v1::ArchiveResponse>,
    /// Whether a retention is set.
    is_limited: bool,
}

impl Archive {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<Row>()?;
        let connection = session.connection().await?;
        let stamp = format_description!("[year][month][day]T[hour][minute][second]");
        let stamp = session.clock().now().format(&stamp).unwrap_or_default();
        let mut rows = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            let mut due = Due::open(connection, table.table, self.dry_run).await?;
            let row = Row { records: table.name, due: 0, pruned: 0, file: None };
            if !due.is_limited {
                say_kept_for_good(session.printer(), table);
                rows.push(row);
                continue;
            }
            let Some(folder) = self.folder.as_ref().filter(|_| !self.dry_run) else {
                rows.push(Row { due: due.count(connection).await?, ..row });
                continue;
            };
            let name = format!("{}-{stamp}.ndjson", table.name);
            let Some((count, file)) = due.write(connection, folder, &name).await? else {
                rows.push(row);
                continue;
            };
            let pruned = match table.table {
                v1::ArchiveTable::Audit => prune_audit(connection, &file).await?,
                _ => prune_orders(connection, &file).await?,
            };
            rows.push(Row { due: count, pruned, file: Some(file.display().to_string()), ..row });
        }
        session.printer().list(&rows)
    }
}

fn say_kept_for_good(printer: &Printer, Table { what, setting, .. }: Table) {
    printer.say(&format!(
        "the market keeps {what} for good, so none is due; to archive old ones, set {setting} in its settings file"
    ));
}

impl Due {
    async fn open(
        connection: &Connection,
        table: v1::ArchiveTable,
        count_only: bool,
    ) -> Result<Self, Failure> {
        let request = v1::ArchiveRequest { table: table.into(), after: 0, count_only };
        let messages = match connection.admin().archive(request).await {
            Ok(messages) => messages.into_inner(),
            Err(status) => return Err(connection.explain(status).await.into()),
        };
        let mut due = Self { messages, is_limited: false };
        let first = due.next(connection).await?;
        due.is_limited = first.is_some_and(|first| first.retention.is_some());
        Ok(due)
    }

    async fn next(&mut self, connection: &Connection) -> Result<Option<v1::ArchiveResponse>, Failure> {
        match self.messages.message().await {
            Ok(message) => Ok(message),
            Err(status) => Err(connection.explain(status).await.into()),
        }
    }

    async fn count(&mut self, connection: &Connection) -> Result<i64, Failure> {
        let mut count = 0;
        while let Some(message) = self.next(connection).await? {
            count += message.due_count;
        }
        Ok(count)
    }

    /// Writes everything that is due to a file. Returns the number of records and the file; `None` if nothing is due.
    async fn write(
        &mut self,
        connection: &Connection,
        folder: &Path,
        name: &str,
    ) -> Result<Option<(i64, PathBuf)>, Failure> {
        let mut file = None;
        let mut count = 0;
        while let Some(message) = self.next(connection).await? {
            if message.due_count == 0 {
                continue;
            }
            let file: &mut ArchiveFile = match &mut file {
                Some(file) => file,
                none => none.insert(ArchiveFile::create(folder, name)?),
            };
            count += message.due_count;
            for order in &message.orders {
                file.write(&OrderRecord::of(order).to_line()?)?;
            }
            for entry in message.audit_records {
                file.write(&archived_line(&audit_row(entry)?))?;
            }
        }
        match file {
            Some(file) => Ok(Some((count, file.finish()?))),
            None => Ok(None),
        }
    }
}

fn audit_row(v1::AuditRecord { sequence, hash, line }: v1::AuditRecord) -> Result<AuditRow, Failure> {
    let head: Result<Head, _> = format!("{sequence}:{hash}").parse();
    let head = head.map_err(|_| {
        Failure::usage(
            "the market sent an audit entry without a hash",
            "check that --market is a market of this version",
        )
    })?;
    Ok(AuditRow { sequence, line, hash: head.hash })
}

/// Removes the orders in a file from the market, and returns how many it removed.
async fn prune_orders(connection: &Connection, file: &Path) -> Result<i64, Failure> {
    let mut pruned = 0;
    let mut order_ids = Vec::with_capacity(ORDERS_AT_A_TIME);
    let mut lines = lines(file)?;
    loop {
        let line = lines.next().transpose()?;
        if let Some(line) = &line {
            order_ids.push(OrderNumber::read(line, file)?);
        }
        if order_ids.len() == ORDERS_AT_A_TIME || (line.is_none() && !order_ids.is_empty()) {
            let request =
                v1::PruneArchivedRequest { order_ids: std::mem::take(&mut order_ids), audit_through: None };
            pruned += connection.call(request).await?.pruned_order_count;
        }
        if line.is_none() {
            return Ok(pruned);
        }
    }
}

/// Removes the audit entries in a file from the market, and returns how many it removed.
async fn prune_audit(connection: &Connection, file: &Path) -> Result<i64, Failure> {
    let mut last = None;
    for line in lines(file)? {
        let row = read_archived(&line?).ok_or_else(|| file::unreadable(file))?;
        last = Some(v1::AuditPosition { sequence: row.sequence, hash: row.hash.to_string() });
    }
    let Some(through) = last else { return Ok(0) };
    let mut pruned = 0;
    loop {
        let request =
            v1::PruneArchivedRequest { order_ids: Vec::new(), audit_through: Some(through.clone()) };
        let answer = connection.call(request).await?;
        pruned += answer.pruned_audit_count;
        let is_done = answer.audit_base.is_some_and(|base| base.sequence >= through.sequence);
        if is_done || answer.pruned_audit_count == 0 {
            return Ok(pruned);
        }
    }
}

/// What was done with a table.
#[derive(serde::Serialize)]
struct Row {
    records: &'static str,
    due: i64,
    pruned: i64,
    file: Option<String>,
}

impl Shown for Row {
    const LIST: &'static str = "archived";
    const COLUMNS: &'static [Column] =
        &[Column::word("RECORDS"), Column::number("DUE"), Column::number("REMOVED"), Column::prose("FILE")];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("records"),
        DataField::value("due"),
        DataField::value("pruned"),
        DataField::value("file"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![self.records.into(), self.due.into(), self.pruned.into(), Cell::or_dash(self.file.as_deref())]
    }
}
