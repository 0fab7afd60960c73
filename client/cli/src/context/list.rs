//! `context list`: the contexts of a role.

use std::time::Duration;

use serde::Serialize;
use souk_certs::identity::Role;
use souk_enrolment::context::{ContextFolder, ContextName, Description, Listed};
use time::OffsetDateTime;
use tokio::{net::TcpStream, time::timeout};

use crate::{Cell, Column, DataField, Failure, Shown, Tone, When, plain};

/// How long the market of a demo may take to accept a connection. It is on this machine.
const DEMO_ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// A context, as a row or JSON object.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ContextRow {
    context: String,
    is_current: bool,
    market: Vec<String>,
    valid_until: Option<When>,
    state: State,
    problem: Option<String>,
}

/// What a context is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It can be used.
    Ready,
    /// Its certificate has expired.
    Expired,
    /// Its join was not completed.
    Incomplete,
    /// The demo that it belongs to has ended.
    Gone,
    /// A file can't be read.
    Broken,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Expired => "expired",
            Self::Incomplete => "incomplete",
            Self::Gone => "gone",
            Self::Broken => "broken",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Ready => Tone::Good,
            Self::Expired | Self::Incomplete => Tone::Waiting,
            Self::Gone => Tone::Plain,
            Self::Broken => Tone::Bad,
        }
    }
}

/// Returns the contexts of a role, and those that can't be read.
///
/// # Errors
/// The folder can't be used.
pub(super) async fn rows(
    folder: &ContextFolder,
    role: Role,
    now: OffsetDateTime,
) -> Result<Vec<ContextRow>, Failure> {
    let current = folder.current(role)?;
    let mut rows = Vec::new();
    for listed in folder.list()? {
        if listed.description.as_ref().is_ok_and(|description| description.role() != role) {
            continue;
        }
        let is_current = current.as_ref() == Some(&listed.name);
        rows.push(row(listed, is_current, now).await);
    }
    Ok(rows)
}

async fn row(listed: Listed, is_current: bool, now: OffsetDateTime) -> ContextRow {
    let Listed { name, context, description } = listed;
    let description = match description {
        Ok(description) => description,
        Err(error) => return broken(&name, is_current, &error.to_string()),
    };
    let market = description.market.iter().map(ToString::to_string).collect();
    let (valid_until, state, problem) = if !context.is_complete() {
        (None, State::Incomplete, None)
    } else {
        match context.certificate(&description.trust_domain) {
            Err(error) => (None, State::Broken, Some(plain(&error.to_string()))),
            Ok(certificate) => {
                let is_gone = description.ephemeral && !answers(&description).await;
                let state = match (is_gone, certificate.not_after() < now) {
                    (true, _) => State::Gone,
                    (false, true) => State::Expired,
                    (false, false) => State::Ready,
                };
                (Some(When::from(certificate.not_after())), state, None)
            }
        }
    };
    ContextRow { context: name.to_string(), is_current, market, valid_until, state, problem }
}

fn broken(name: &ContextName, is_current: bool, problem: &str) -> ContextRow {
    ContextRow {
        context: name.to_string(),
        is_current,
        market: Vec::new(),
        valid_until: None,
        state: State::Broken,
        problem: Some(plain(problem)),
    }
}

/// Returns whether the market of a demo is still there.
async fn answers(description: &Description) -> bool {
    let Some(market) = description.market.first() else { return false };
    let connected = timeout(DEMO_ANSWERS_WITHIN, TcpStream::connect((market.host.as_str(), market.port)));
    matches!(connected.await, Ok(Ok(_)))
}

impl Shown for ContextRow {
    const LIST: &'static str = "contexts";
    const COLUMNS: &'static [Column] = &[
        Column::word(""),
        Column::word("CONTEXT"),
        Column::text("MARKET").rank(1),
        Column::word("VALID UNTIL").rank(2),
        Column::word("STATE"),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("context"),
        DataField::value("is_current"),
        DataField::value("market"),
        DataField::value("valid_until"),
        DataField::value("state"),
        DataField::value("problem"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            if self.is_current { "*" } else { "" }.into(),
            Cell::from(&self.context),
            Cell::or_dash(Some(self.market.join(", "))),
            Cell::time(self.valid_until),
            Cell::from(self.state.word()).tone(self.state.tone()),
        ]
    }
}
