//! `market admin mailboxes`, `dead-letters` and `redeliver`: what waits for its recipients, and what did not reach them.

use clap::Args;
use souk_cli::{
    Cell, CliSession, Column, DataField, Failure, LivePaging, Paging, Shown, Tone, When, plain,
    view::sentence,
};
use souk_client::{Error, error::required};
use souk_proto::v1;

/// The maximum number of dead letters in one call.
const TOGETHER: usize = 200;

/// List the mailboxes of parties and tills: what waits, and how its delivery goes
#[derive(Args)]
#[command(after_help = "Example:\n  market admin mailboxes --backlog")]
pub(super) struct Mailboxes {
    /// List only mailboxes that hold events.
    #[arg(long)]
    backlog: bool,
    #[command(flatten)]
    paging: LivePaging,
}

/// List dead letters: order events that expired in their mailbox or that a callback refused repeatedly
#[derive(Args)]
#[command(after_help = "Example:\n  market admin dead-letters --all --output csv")]
pub(super) struct DeadLetters {
    /// List only those of this party or till.
    #[arg(long, value_name = "UUID")]
    party: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

/// Put dead letters back into their mailboxes
#[derive(Args)]
#[command(after_help = "Examples:
  market admin redeliver 4 5
  market admin redeliver --party 0199b8d2-5f0c-7d33-a3c1-2f1d8a0e4b77")]
pub(super) struct Redeliver {
    /// The numbers of the dead letters.
    #[arg(required_unless_present = "party")]
    letters: Vec<i64>,
    /// Redeliver all of this party or till.
    #[arg(long, value_name = "UUID", conflicts_with = "letters")]
    party: Option<String>,
}

impl Mailboxes {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let backlog_only = self.backlog;
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = v1::ListMailboxesRequest { page_size, page_token, backlog_only };
                let page = session.call(request).await?;
                let rows: Result<_, _> = page.mailboxes.iter().map(MailboxRow::of).collect();
                Ok((rows?, page.next_page_token))
            })
            .await
    }
}

impl DeadLetters {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let recipient_id = self.party.unwrap_or_default();
        self.paging
            .pages(session, async |page_size, page_token| {
                let recipient_id = recipient_id.clone();
                let request = v1::ListDeadLettersRequest { page_size, page_token, recipient_id };
                let page = session.call(request).await?;
                let rows: Result<_, _> = page.dead_letters.iter().map(LetterRow::of).collect();
                Ok((rows?, page.next_page_token))
            })
            .await
    }
}

impl Redeliver {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<Redelivered>()?;
        let letters = match self.party {
            Some(party) => all_of(session, party).await?,
            None => self.letters,
        };
        let mut redelivered = Redelivered { redelivered_count: 0 };
        for some in letters.chunks(TOGETHER) {
            let request = v1::RedeliverRequest { dead_letter_ids: some.to_vec(), ..Default::default() };
            redelivered.redelivered_count += session.call(request).await?.redelivered_count;
        }
        session.printer().one(&redelivered)
    }
}

/// Returns the numbers of all dead letters of a party. Collected first, because redelivery removes them.
async fn all_of(session: &CliSession, party: String) -> Result<Vec<i64>, Failure> {
    let (mut letters, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListDeadLettersRequest { page_size: 0, page_token, recipient_id: party.clone() };
        let page = session.call(request).await?;
        letters.extend(page.dead_letters.iter().map(|letter| letter.dead_letter_id));
        if page.next_page_token.is_empty() {
            return Ok(letters);
        }
        page_token = page.next_page_token;
    }
}

/// A mailbox as shown to operators.
#[derive(serde::Serialize)]
struct MailboxRow {
    owner_id: String,
    role: &'static str,
    pending_count: i64,
    oldest: Option<When>,
    callback: Option<String>,
    failure_count: i32,
    next_attempt: Option<When>,
    last_failure: String,
    dropped_order_count: i64,
    dropped_update_count: i64,
    last_drop: Option<When>,
    dead_letter_count: i64,
}

impl MailboxRow {
    fn of(mailbox: &v1::MailboxRecord) -> Result<Self, Error> {
        let status = required(mailbox.status.as_ref(), "status")?;
        Ok(Self {
            owner_id: mailbox.owner_id.clone(),
            role: match mailbox.role() {
                v1::Role::Seller => "seller",
                v1::Role::Buyer => "buyer",
                v1::Role::Operator | v1::Role::Market | v1::Role::Unspecified => "unknown",
            },
            pending_count: status.pending_count,
            oldest: When::of(status.oldest_time.as_ref()),
            callback: status.callback.as_ref().map(|at| format!("{}:{}", plain(&at.host), at.port)),
            failure_count: status.failure_count,
            next_attempt: When::of(status.next_attempt_time.as_ref()),
            last_failure: plain(&status.last_failure),
            dropped_order_count: status.dropped_order_count,
            dropped_update_count: status.dropped_update_count,
            last_drop: When::of(status.last_drop_time.as_ref()),
            dead_letter_count: status.dead_letter_count,
        })
    }
}

impl Shown for MailboxRow {
    const LIST: &'static str = "mailboxes";
    const PASSING: &'static [&'static str] = &["next_attempt"];
    const COLUMNS: &'static [Column] = &[
        Column::word("MAILBOX"),
        Column::word("ROLE").rank(4),
        Column::number("WAITING"),
        Column::word("OLDEST").rank(1),
        Column::word("CALLBACK").rank(5),
        Column::number("FAILURES").rank(2),
        Column::word("NEXT ATTEMPT").rank(6),
        Column::text("LAST FAILURE").rank(7),
        Column::number("DROPPED ORDERS").rank(8),
        Column::number("DROPPED OTHERS").rank(9),
        Column::word("LAST DROPPED").rank(10),
        Column::number("DEAD LETTERS").rank(3),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("owner_id"),
        DataField::value("role"),
        DataField::value("pending_count"),
        DataField::value("oldest"),
        DataField::value("callback"),
        DataField::value("failure_count"),
        DataField::value("next_attempt"),
        DataField::value("last_failure"),
        DataField::value("dropped_order_count"),
        DataField::value("dropped_update_count"),
        DataField::value("last_drop"),
        DataField::value("dead_letter_count"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let failures = Cell::from(i64::from(self.failure_count));
        vec![
            Cell::from(&self.owner_id),
            self.role.into(),
            self.pending_count.into(),
            Cell::time(self.oldest),
            Cell::or_dash(self.callback.as_deref()),
            if self.failure_count > 0 { failures.tone(Tone::Bad) } else { failures },
            Cell::time(self.next_attempt),
            Cell::or_dash(Some(self.last_failure.as_str())),
            self.dropped_order_count.into(),
            self.dropped_update_count.into(),
            Cell::time(self.last_drop),
            self.dead_letter_count.into(),
        ]
    }
}

/// A dead letter as shown to operators.
#[derive(serde::Serialize)]
struct LetterRow {
    dead_letter_id: i64,
    recipient_id: String,
    event_id: String,
    event: String,
    reason: String,
    dropped: Option<When>,
}

impl LetterRow {
    fn of(letter: &v1::DeadLetter) -> Result<Self, Error> {
        let event = required(letter.event.as_ref(), "event")?;
        Ok(Self {
            dead_letter_id: letter.dead_letter_id,
            recipient_id: letter.recipient_id.clone(),
            event_id: event.event_id.clone(),
            event: sentence(event),
            reason: plain(&letter.reason),
            dropped: When::of(letter.drop_time.as_ref()),
        })
    }
}

impl Shown for LetterRow {
    const LIST: &'static str = "dead_letters";
    const COLUMNS: &'static [Column] = &[
        Column::number("LETTER"),
        Column::word("MAILBOX").rank(2),
        Column::prose("EVENT"),
        Column::prose("REASON"),
        Column::word("DROPPED").rank(1),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("dead_letter_id"),
        DataField::value("recipient_id"),
        DataField::value("event_id"),
        DataField::value("event"),
        DataField::value("reason"),
        DataField::value("dropped"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.dead_letter_id.into(),
            Cell::from(&self.recipient_id),
            Cell::from(&self.event),
            Cell::from(&self.reason),
            Cell::time(self.dropped),
        ]
    }
}

/// The number of dead letters that were redelivered.
#[derive(serde::Serialize)]
struct Redelivered {
    redelivered_count: i64,
}

impl Shown for Redelivered {
    const LIST: &'static str = "redeliveries";
    const COLUMNS: &'static [Column] = &[Column::number("REDELIVERED")];
    const FIELDS: &'static [DataField] = &[DataField::value("redelivered_count")];

    fn cells(&self) -> Vec<Cell> {
        vec![self.redelivered_count.into()]
    }
}
