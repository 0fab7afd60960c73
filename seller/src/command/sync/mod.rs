//! `seller sync`: passes a till's lines to the market, and the market's sales to the till, over one stream.

mod input;

use std::time::Duration;

use clap::Args;
use souk_cli::{
    CliSession, Failure, Outage,
    view::{LineView, ResumeView, TillEventView, sentence},
};
use souk_client::{
    Error, Till, TillNotice,
    till::{self, Room},
};
use souk_proto::v1::SyncAcknowledgement;
use tokio::{sync::mpsc, time::timeout};

use input::{Content, Input};

/// Keep the stock at the market in step with a till or warehouse
///
/// Each line of standard input is a JSON object with sku or item_id, and either quantity (the units in stock)
/// or quantity_delta (the units added or, if negative, removed). Lines without a number continue after the
/// last line that the market has. A program that may be interrupted gives each line its own "line" number,
/// from 1 without a gap, and after a restart sends the unanswered lines again. Answers, sales and
/// cancellations are written to standard output. The connection stays open until the input ends or Ctrl-C.
#[derive(Args)]
#[command(after_help = "Examples:
  echo '{\"sku\": \"L-1\", \"quantity_delta\": -2}' | seller sync --from-stdin
  till-program | seller sync --till shop-2 --from-stdin --follow --output ndjson")]
pub(crate) struct Sync {
    /// The till's name: 1 to 64 of a-z, 0-9, -, _ and . A new name opens a till; one stream each.
    #[arg(long, default_value = "till")]
    till: String,
    /// Read lines from standard input. Without it, only sales and cancellations are shown.
    #[arg(long)]
    from_stdin: bool,
    /// Confirm a sale or a cancellation only when the input contains {"taken_in": SEQUENCE}, not when it is printed.
    /// For a program that must not miss one if it crashes. At most 1,024 may be unconfirmed.
    #[arg(long, requires = "from_stdin")]
    confirm: bool,
    /// Go on showing sales and cancellations when the input has ended.
    #[arg(long)]
    follow: bool,
    /// The sequence of the last sale or cancellation that you have processed; those up to it are not shown
    /// again.
    #[arg(long, default_value_t = 0)]
    cursor: i64,
}

/// How long to wait for the last acknowledgements after Ctrl-C.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The numbers of lines read, refused (here or by the market), sent and answered.
#[derive(Default)]
struct Tally {
    lines: usize,
    refused: usize,
    sent: usize,
    answered: usize,
}

impl Sync {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<LineView>()?;
        session.begin_change();
        let mut interrupted = session.interrupt()?;
        let connection = session.connection().await?.clone();
        let _renewal = session.take_up_renewals(None).await?;
        let (till, notices) = till::open(connection, self.till.clone(), self.cursor);
        let mut shop = Shop {
            session,
            confirm: self.confirm,
            till: Some(till),
            notices,
            tally: Tally::default(),
            last_line: None,
            last_answered: 0,
            outage: Outage::default(),
        };
        let input = self.from_stdin.then(Input::open);
        tokio::select! {
            ended = shop.work(input, self.follow) => ended?,
            () = interrupted.came() => shop.close().await?,
        }
        match shop.tally {
            Tally { sent, answered, .. } if answered < sent => {
                session.printer().say(&format!(
                    "{} lines were not answered; send them again under the same numbers: a line that was already applied has no second effect",
                    sent - answered
                ));
                Err(Error::TimedOut { market: session.config()?.market.clone(), after: CLOSE_TIMEOUT }.into())
            }
            Tally { refused: 0, .. } => Ok(()),
            Tally { refused, lines, .. } => Err(Failure::usage(
                format!("{refused} of {lines} lines were refused; the others were applied"),
                "see the error of each line; send a line that was out of order again in its turn, and others under new numbers",
            )),
        }
    }
}

struct Shop<'a> {
    session: &'a CliSession,
    /// `None` after the input has ended.
    till: Option<Till>,
    notices: mpsc::Receiver<TillNotice>,
    tally: Tally,
    /// The number of the previous line; known once the market has reported its position.
    last_line: Option<i64>,
    last_answered: i64,
    confirm: bool,
    outage: Outage,
}

/// The next thing to handle.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are notices")]
enum Step {
    Notice(Option<TillNotice>),
    /// A line of the input, and room to send it; `None` at the end.
    Line(Option<(Room, input::Line)>),
}

impl Shop<'_> {
    async fn work(&mut self, mut input: Option<Input>, follow: bool) -> Result<(), Failure> {
        loop {
            let may_read = self.last_line.is_some() && input.is_some();
            let step = tokio::select! {
                notice = self.notices.recv() => Step::Notice(notice),
                line = next_line(self.till.as_ref(), input.as_mut()), if may_read => Step::Line(line),
            };
            match step {
                Step::Notice(Some(TillNotice::Done) | None) => return Ok(()),
                Step::Notice(Some(notice)) => self.show(notice)?,
                Step::Line(Some((room, line))) => self.send(room, line),
                Step::Line(None) => {
                    input = None;
                    if !follow {
                        self.till = None;
                    }
                }
            }
        }
    }

    /// Waits briefly for the acknowledgements of lines in progress.
    async fn close(&mut self) -> Result<(), Failure> {
        self.till = None;
        timeout(CLOSE_TIMEOUT, self.work(None, false)).await.unwrap_or(Ok(()))
    }

    /// Sends a line. A line without a number gets the number after the previous line's.
    fn send(&mut self, room: Room, line: input::Line) {
        self.tally.lines += 1;
        match line {
            Ok(Content::TakenIn(sequence)) => {
                self.tally.lines -= 1;
                if let Some(till) = &self.till {
                    till.take_in(sequence);
                }
            }
            Ok(Content::Line(mut line)) => {
                if line.line == 0 {
                    line.line = self.last_line.unwrap_or(0).saturating_add(1);
                }
                self.last_line = Some(line.line);
                self.tally.sent += 1;
                room.send(line);
            }
            Err(problem) => self.refuse(&problem),
        }
    }

    fn refuse(&mut self, problem: &str) {
        self.tally.refused += 1;
        self.session.printer().say(problem);
    }

    fn show(&mut self, notice: TillNotice) -> Result<(), Failure> {
        let printer = self.session.printer();
        match notice {
            TillNotice::Resumed { last_line } => {
                self.outage.end().iter().for_each(|news| printer.say(news));
                if last_line < self.last_answered {
                    return Err(Failure::usage(
                        format!(
                            "the market has this till's lines only up to {last_line}, but had more before"
                        ),
                        "it was restored from a backup, or the till was removed: start again, and send the lines after that one",
                    ));
                }
                // When a stream is reopened, the lines in progress are already beyond that.
                self.last_line = Some(self.last_line.unwrap_or(0).max(last_line));
                printer.event(&ResumeView::after(last_line), &format!("continuing after line {last_line}"))
            }
            TillNotice::Acknowledged(answer) => self.show_answer(&answer),
            TillNotice::Event(event) => {
                // Show first, then confirm: after a crash in between, the event is shown again instead of
                // lost.
                printer.event(&TillEventView::from(&event), &sentence(&event))?;
                if let Some(till) = self.till.as_ref().filter(|_| !self.confirm) {
                    till.take_in(event.sequence);
                }
                Ok(())
            }
            TillNotice::CaughtUp { .. } => {
                printer.say("you have seen every sale; new ones follow");
                Ok(())
            }
            TillNotice::Interrupted { failure, .. } => {
                self.outage.begin(&failure).iter().for_each(|news| printer.say(news));
                Ok(())
            }
            TillNotice::Ended(failure) => Err(failure.into()),
            TillNotice::Done => Ok(()),
        }
    }

    fn show_answer(&mut self, answer: &SyncAcknowledgement) -> Result<(), Failure> {
        let view = LineView::from(answer);
        self.tally.answered += 1;
        self.tally.refused += usize::from(view.is_refused());
        if !view.is_refused() {
            self.last_answered = self.last_answered.max(answer.line);
        }
        self.session.printer().event(&view, &view.sentence())
    }
}

/// Returns the next line. Waits for room first, so that no line is lost if the future is dropped.
async fn next_line(till: Option<&Till>, input: Option<&mut Input>) -> Option<(Room, input::Line)> {
    let (till, input) = till.zip(input)?;
    let room = till.room().await.ok()?;
    Some((room, input.next().await?))
}
