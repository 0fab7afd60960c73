//! Sends the parts of a file, and sends a part again after an interruption.

use std::{sync::Arc, thread};

use indicatif::ProgressBar;
use souk_cli::{CliSession, Failure, Persistence};
use souk_client::{Connection, Error};
use souk_proto::v1::{
    ImportEnd, ImportHeader, ImportItemsRequest, ImportItemsResponse, ImportRow,
    import_items_request::Message,
};
use tokio::sync::mpsc;

use super::{
    part::{Found, Part, Plan, read_parts},
    progress,
    tally::{Reported, Tally},
};

/// The number of parts that are read ahead.
const PARTS_AHEAD: usize = 1;

/// Sends all rows of a file. Returns the tally of what was done, also if the rest failed, and what was found in the file.
pub(super) async fn send_all(
    session: &CliSession,
    plan: Plan,
    validate_only: bool,
) -> (Tally, Result<Found, Failure>) {
    let bar = progress::bar(plan.source.file());
    let mut sender = Sender {
        session,
        validate_only,
        bar: bar.clone(),
        persistence: Persistence::default(),
        tally: Tally::default(),
    };
    let outcome = sender.send_file(plan).await;
    bar.finish_and_clear();
    (sender.tally, outcome)
}

struct Sender<'a> {
    session: &'a CliSession,
    validate_only: bool,
    bar: ProgressBar,
    persistence: Persistence,
    tally: Tally,
}

impl Sender<'_> {
    async fn send_file(&mut self, plan: Plan) -> Result<Found, Failure> {
        let connection = self.session.connection().await?.clone();
        if !self.validate_only {
            self.session.begin_change();
        }
        let _renewal = self.session.take_up_renewals(None).await?;
        // Rows are sent before the market answers anything, so that a stream alone does not tell whether the market is
        // there.
        self.reach().await?;
        let (parts, mut incoming) = mpsc::channel(PARTS_AHEAD);
        let reading = thread::spawn(move || read_parts(plan, &parts));
        while let Some(part) = incoming.recv().await {
            self.send_part(&connection, part?).await?;
        }
        let joined = tokio::task::spawn_blocking(move || reading.join()).await;
        match joined {
            Ok(Ok(found)) => Ok(found),
            _ => Err(Failure::io(
                "read the file",
                std::io::Error::other("the thread that reads it has failed"),
            )),
        }
    }

    /// Sends a part until the market has answered it, and counts it.
    async fn send_part(&mut self, connection: &Connection, part: Part) -> Result<(), Failure> {
        self.tally.read(&part.count);
        for warning in &part.warnings {
            self.bar.suspend(|| self.session.printer().say(&format!("warning: {warning}")));
        }
        let refused = i64::try_from(part.refused.len()).unwrap_or(i64::MAX);
        let mut errors = part.refused;
        let answer =
            if part.rows.is_empty() { Ok(None) } else { self.send(connection, &part.rows).await.map(Some) };
        if let Ok(Some(answer)) = &answer {
            self.tally.answered(answer);
            errors.extend_from_slice(&answer.errors);
        }
        let (tally, session) = (&mut self.tally, self.session);
        self.bar.suspend(|| tally.refused(session, refused, errors));
        self.bar.set_position(part.position);
        self.bar.set_message(self.tally.rows.to_string());
        answer.map(drop)
    }

    /// Sends rows, and repeats them with the same request id after an interruption, so that the market counts them once.
    async fn send(
        &mut self,
        connection: &Connection,
        rows: &Arc<Vec<ImportRow>>,
    ) -> Result<ImportItemsResponse, Failure> {
        let request_id = connection.request_id();
        let mut furthest = Reported::default();
        loop {
            let failure = match self.attempt(connection, &request_id, rows).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let reported = Reported::of(&failure);
            let got_further = reported.rows > furthest.rows;
            if got_further {
                furthest = reported;
            }
            let (bar, session) = (&self.bar, self.session);
            let say = |news: &str| bar.suspend(|| session.printer().say(news));
            if let Err(failure) = self.persistence.wait(session, failure, got_further, say).await {
                self.tally.interrupted(&furthest);
                self.report_unanswered(rows, &furthest);
                return Err(failure);
            }
            self.reach().await?;
        }
    }

    async fn attempt(
        &self,
        connection: &Connection,
        request_id: &str,
        rows: &Arc<Vec<ImportRow>>,
    ) -> Result<ImportItemsResponse, Error> {
        let header = ImportHeader { validate_only: self.validate_only, request_id: request_id.to_owned() };
        let rows = Arc::clone(rows);
        let rows = (0..rows.len()).map(move |n| Message::Row(rows[n].clone()));
        let end = Message::End(ImportEnd {});
        let messages = std::iter::once(Message::Header(header)).chain(rows).chain([end]);
        let messages = messages.map(|message| ImportItemsRequest { message: Some(message) });
        match connection.seller().import_items(tokio_stream::iter(messages)).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(connection.explain(status).await),
        }
    }

    async fn reach(&mut self) -> Result<(), Failure> {
        let (bar, session) = (&self.bar, self.session);
        self.persistence.reach(session, |news: &str| bar.suspend(|| session.printer().say(news))).await
    }

    /// Reports which rows the tally does not include, because the market has not answered for them.
    fn report_unanswered(&self, rows: &[ImportRow], furthest: &Reported) {
        let answered = usize::try_from(furthest.rows).unwrap_or(0);
        let (Some(first), Some(last)) = (rows.get(answered), rows.last()) else { return };
        self.bar.suspend(|| {
            self.session.printer().say(&format!(
                "the outcome of the rows from line {} to line {} is unknown; the tally does not include them",
                first.line, last.line
            ));
        });
    }
}
