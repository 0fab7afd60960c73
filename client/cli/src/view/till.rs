//! Views of tills, and of the results of their lines.

use serde::Serialize;
use souk_proto::v1::{self, sync_acknowledgement::Result as SyncResult};

use super::EventView;
use crate::{
    fields::DataField,
    output::Shown,
    plain,
    table::{Cell, Column},
    when::When,
};

/// A till, as a row or JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct TillView {
    name: String,
    last_line: i64,
    pending_count: i64,
    open_time: Option<When>,
}

impl From<&v1::Till> for TillView {
    fn from(till: &v1::Till) -> Self {
        Self {
            name: plain(&till.name),
            last_line: till.last_line,
            pending_count: till.pending_count,
            open_time: When::of(till.open_time.as_ref()),
        }
    }
}

impl Shown for TillView {
    const LIST: &'static str = "tills";
    const COLUMNS: &'static [Column] = &[
        Column::word("TILL"),
        Column::number("LAST LINE"),
        Column::number("WAITING"),
        Column::word("OPENED").rank(1),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("name"),
        DataField::value("last_line"),
        DataField::value("pending_count"),
        DataField::value("open_time"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::from(&self.name),
            self.last_line.into(),
            self.pending_count.into(),
            Cell::time(self.open_time),
        ]
    }
}

/// The fields of all that a till's stream prints: where it resumes, answers, and events. Each has those of its kind.
const STREAM_FIELDS: [DataField; ANSWER_FIELDS.len() + EventView::SELECTABLE.len()] = {
    let mut fields = [DataField::value("kind"); ANSWER_FIELDS.len() + EventView::SELECTABLE.len()];
    let (answers, events) = fields.split_at_mut(ANSWER_FIELDS.len());
    answers.copy_from_slice(ANSWER_FIELDS);
    events.copy_from_slice(EventView::SELECTABLE);
    fields
};

/// The fields that events do not have.
const ANSWER_FIELDS: &[DataField] = &[
    DataField::value("last_line"),
    DataField::value("line"),
    DataField::value("repeated"),
    DataField::value("quantity"),
    DataField::value("reason"),
    DataField::value("message"),
];

/// The position at which a till's stream resumes.
#[derive(Clone, Debug, Serialize)]
pub struct ResumeView {
    kind: &'static str,
    last_line: i64,
}

impl ResumeView {
    /// Creates the view of a stream that resumes after this line.
    pub fn after(last_line: i64) -> Self {
        Self { kind: "resumed", last_line }
    }
}

impl Shown for ResumeView {
    const LIST: &'static str = "lines";
    const COLUMNS: &'static [Column] = &[Column::number("RESUMED AFTER LINE")];
    const SELECTABLE: &'static [DataField] = &STREAM_FIELDS;

    fn cells(&self) -> Vec<Cell> {
        vec![self.last_line.into()]
    }
}

/// An event on a till's stream.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct TillEventView(EventView);

impl From<&v1::Event> for TillEventView {
    fn from(event: &v1::Event) -> Self {
        Self(EventView::from(event))
    }
}

impl Shown for TillEventView {
    const LIST: &'static str = EventView::LIST;
    const COLUMNS: &'static [Column] = EventView::COLUMNS;
    const SELECTABLE: &'static [DataField] = &STREAM_FIELDS;

    fn cells(&self) -> Vec<Cell> {
        self.0.cells()
    }
}

/// The market's answer to a line of a till: the resulting stock, or the reason of a refusal.
#[derive(Clone, Debug, Serialize)]
pub struct LineView {
    kind: &'static str,
    line: i64,
    repeated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<&v1::SyncAcknowledgement> for LineView {
    fn from(answer: &v1::SyncAcknowledgement) -> Self {
        let stock = match &answer.result {
            Some(SyncResult::Stock(stock)) => Some(stock),
            _ => None,
        };
        let error = match &answer.result {
            Some(SyncResult::Error(error)) => Some(error),
            _ => None,
        };
        Self {
            kind: if error.is_some() { "refused" } else { "acknowledged" },
            line: answer.line,
            repeated: answer.repeated,
            item_id: stock.map(|stock| stock.item_id),
            quantity: stock.map(|stock| stock.quantity),
            item_version: stock.map(|stock| stock.item_version),
            reason: error.map(|error| plain(&error.reason)),
            message: error.map(|error| plain(&error.message)),
        }
    }
}

impl LineView {
    /// Returns whether the market refused the line.
    pub fn is_refused(&self) -> bool {
        self.reason.is_some()
    }

    /// Describes the result in a sentence for people.
    pub fn sentence(&self) -> String {
        let before = if self.repeated { ", as it was before" } else { "" };
        let line = self.line;
        match (self.item_id, self.quantity, &self.message) {
            (Some(item), Some(quantity), _) => format!("line {line}: item {item} has {quantity}{before}"),
            (_, _, Some(message)) => format!("line {line} refused{before}: {message}"),
            _ => format!("line {line}: the market had it before"),
        }
    }
}

impl Shown for LineView {
    const LIST: &'static str = "lines";
    const COLUMNS: &'static [Column] = &[Column::prose("LINE")];
    const SELECTABLE: &'static [DataField] = &STREAM_FIELDS;

    fn cells(&self) -> Vec<Cell> {
        vec![self.sentence().into()]
    }
}
