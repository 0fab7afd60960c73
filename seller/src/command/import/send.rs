//! Sends the rows of a file, and resumes after an interruption.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use indicatif::ProgressBar;
use souk_cli::{CliSession, Failure, Persistence};
use souk_client::{Connection, Error};
use souk_proto::{
    Reason,
    v1::{
        ImportHeader, ImportItemsRequest, ImportItemsResponse, ImportRow, RowError,
        import_items_request::Message,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Tally,
    duplicates::{Duplicates, Known},
    print_error, progress,
    rows::Row,
    source::{Input, Source},
};

/// The capacity of the queue between the file and the connection, in rows.
const QUEUE: usize = 256;
/// The maximum number of invalid rows that are printed. All are counted.
const MAX_PRINTED: i64 = 1_000;

pub(super) struct Sender<'a> {
    session: &'a CliSession,
    plan: Plan,
    tally: Tally,
}

/// The parameters of the thread that reads the file.
#[derive(Clone)]
struct Plan {
    input: Input,
    /// The file as it was opened to look at its heading. The first attempt takes it: what was read from standard input
    /// can't be read again.
    opened: Arc<Mutex<Option<Source>>>,
    duplicates: Duplicates,
    dry_run: bool,
    /// The last line that the market has already received.
    after: i64,
}

/// The result of reading a file.
#[derive(Default)]
struct ReadOut {
    rows: i64,
    skipped: i64,
    errors: Vec<RowError>,
    failed: i64,
    /// The last line that was read.
    line: i64,
    warnings: Vec<String>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        session: &'a CliSession,
        input: Input,
        source: Source,
        duplicates: Duplicates,
        dry_run: bool,
    ) -> Self {
        let opened = Arc::new(Mutex::new(Some(source)));
        let plan = Plan { input, opened, duplicates, dry_run, after: 0 };
        Self { session, plan, tally: Tally::default() }
    }

    pub(super) async fn run(mut self) -> (Tally, Result<(), Failure>) {
        let outcome = self.send_all().await;
        (self.tally, outcome)
    }

    async fn send_all(&mut self) -> Result<(), Failure> {
        let connection = self.session.connection().await?.clone();
        let bar = progress::bar(&self.plan.input.file);
        let mut persistence = Persistence::default();
        let session = self.session;
        let _renewal = session.take_up_renewals(None).await?;
        let say = |news: &str| bar.suspend(|| session.printer().say(news));
        loop {
            // Rows are sent before the market answers anything, so that a stream alone does not tell whether the
            // market is there.
            persistence.reach(session, say).await.inspect_err(|_| bar.finish_and_clear())?;
            let (answer, read) = self.attempt(&connection, &bar).await;
            let failure = match (answer, read) {
                (answer, Ok(read)) => match answer {
                    Ok(answer) => {
                        bar.finish_and_clear();
                        self.count(&answer, &read);
                        return Ok(());
                    }
                    Err(failure) => failure,
                },
                // The file can't be read further; the rows before have been imported.
                (answer, Err(failure)) => {
                    bar.finish_and_clear();
                    if let Ok(answer) = answer {
                        self.count(&answer, &ReadOut::default());
                    }
                    return Err(failure);
                }
            };
            let line = kept_up_to(&failure);
            let got_further = line.is_some_and(|line| line > self.plan.after);
            self.plan.after = line.unwrap_or(self.plan.after);
            // What was read from standard input can't be read again.
            if self.plan.input.file.as_os_str() == "-" {
                bar.finish_and_clear();
                return Err(failure.into());
            }
            let waited = persistence.wait(session, failure, got_further, say);
            waited.await.inspect_err(|_| bar.finish_and_clear())?;
        }
    }

    /// Runs one stream, from the first row that has not been imported yet.
    async fn attempt(
        &self,
        connection: &Connection,
        bar: &ProgressBar,
    ) -> (Result<ImportItemsResponse, Error>, Result<ReadOut, Failure>) {
        let (messages, stream) = mpsc::channel(QUEUE);
        let (plan, bar) = (self.plan.clone(), bar.clone());
        let reading = thread::spawn(move || read_out(&plan, &messages, &bar));
        let answer = connection.seller().import_items(ReceiverStream::new(stream)).await;
        let answer = match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(connection.explain(status).await),
        };
        // The thread ends when the stream is dropped, because its next message can't be sent.
        let joined = tokio::task::spawn_blocking(move || reading.join()).await;
        let read = match joined {
            Ok(Ok(read)) => read,
            _ => Err(Failure::io("read the file", std::io::Error::other("the reading thread has failed"))),
        };
        (answer, read)
    }

    fn count(&mut self, answer: &ImportItemsResponse, read: &ReadOut) {
        self.tally.rows = read.rows;
        self.tally.created_count += answer.created_count;
        self.tally.updated_count += answer.updated_count;
        self.tally.unchanged_count += answer.unchanged_count;
        self.tally.skipped_count = read.skipped;
        self.tally.failed_count = answer.failed_count + read.failed;
        for warning in &read.warnings {
            self.session.printer().say(&format!("warning: {warning}"));
        }
        let mut errors: Vec<_> = read.errors.iter().chain(&answer.errors).collect();
        errors.sort_by_key(|error| error.line);
        for error in &errors {
            print_error(self.session, error);
        }
        let untold = self.tally.failed_count - i64::try_from(errors.len()).unwrap_or(0);
        if untold > 0 {
            self.session.printer().say(&format!("and {untold} more"));
        }
    }
}

/// Returns the line up to which the market has imported all rows, as reported in a failure.
fn kept_up_to(failure: &Error) -> Option<i64> {
    let refusal = failure.refusal().filter(|refusal| refusal.reason() == Some(Reason::ImportInterrupted))?;
    refusal.metadata().get("line")?.parse().ok()
}

/// Reads the file and sends its rows to the stream, until either of them ends.
fn read_out(
    plan: &Plan,
    messages: &mpsc::Sender<ImportItemsRequest>,
    bar: &ProgressBar,
) -> Result<ReadOut, Failure> {
    let opened = plan.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut source = match opened {
        Some(source) => source,
        None => plan.input.open()?,
    };
    let mut known = Known::default();
    let mut out = ReadOut::default();
    let header = Message::Header(ImportHeader { validate_only: plan.dry_run });
    if messages.blocking_send(ImportItemsRequest { message: Some(header) }).is_err() {
        return Ok(out);
    }
    while let Some(row) = source.next()? {
        out.rows = row.number;
        if out.rows % 100 == 0 {
            bar.set_position(source.position());
            bar.set_message(out.rows.to_string());
        }
        let Some(row) = out.checked(row, plan.duplicates, &mut known) else { continue };
        if row.line <= plan.after {
            continue;
        }
        out.line = row.line;
        let message = ImportItemsRequest { message: Some(Message::Row(row)) };
        if messages.blocking_send(message).is_err() {
            break;
        }
    }
    out.warnings = source.take_warnings();
    Ok(out)
}

impl ReadOut {
    fn checked(&mut self, row: Row, duplicates: Duplicates, known: &mut Known) -> Option<ImportRow> {
        let row = match row.item {
            Ok(item) => item,
            Err(refused) => {
                self.fail(row.line, refused.sku, refused.problem);
                return None;
            }
        };
        let Some(earlier) = known.before(&row) else { return Some(row) };
        match duplicates {
            Duplicates::Skip => self.skipped += 1,
            Duplicates::Error => {
                let sku = row.item.and_then(|item| item.sku).unwrap_or_default();
                let problem =
                    format!("this sku came in line {earlier} already; give each once, or --duplicates skip");
                self.fail(row.line, sku, problem);
            }
        }
        None
    }

    fn fail(&mut self, line: i64, sku: String, message: String) {
        self.failed += 1;
        if self.failed <= MAX_PRINTED {
            self.errors.push(RowError { line, sku, message });
        }
    }
}
