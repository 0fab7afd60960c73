//! The cells of tables and cards: texts, times, and what their colour says.

use anstyle::{AnsiColor, Style};

use crate::when::{Times, When};

/// What the colour of a cell says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing: the terminal's own colour.
    #[default]
    Plain,
    /// Finished, or as it should be.
    Good,
    /// On its way.
    Busy,
    /// Waiting for an action, or worth a look.
    Waiting,
    /// Failed, cancelled or used up.
    Bad,
}

impl Tone {
    pub(super) fn style(self) -> Style {
        let color = match self {
            Self::Plain => return Style::new(),
            Self::Good => AnsiColor::Green,
            Self::Busy => AnsiColor::Cyan,
            Self::Waiting => AnsiColor::Yellow,
            Self::Bad => AnsiColor::Red,
        };
        color.on_default()
    }
}

/// The content of one column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    content: Content,
    pub(super) tone: Tone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Time(When),
}

/// What stands in a cell without content.
const NOTHING: &str = "-";

impl Cell {
    /// A cell with a time, which the printer formats; `None` is a dash.
    pub fn time(when: Option<When>) -> Self {
        match when {
            Some(when) => Self { content: Content::Time(when), tone: Tone::Plain },
            None => Self::from(NOTHING),
        }
    }

    /// A cell with a text; `None` and the empty text are a dash.
    pub fn or_dash(text: Option<impl Into<String>>) -> Self {
        let text = text.map(Into::into).filter(|text| !text.is_empty());
        Self::from(text.unwrap_or_else(|| NOTHING.to_owned()))
    }

    /// Gives the cell a colour.
    #[must_use]
    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// Returns the text in a table.
    pub(crate) fn short(&self, times: &Times) -> String {
        self.text(|when| times.short(when))
    }

    /// Returns the text on a card.
    pub(crate) fn full(&self, times: &Times) -> String {
        self.text(|when| times.full(when))
    }

    /// Returns the text in a CSV file. A dash is an empty cell there.
    pub(crate) fn data(&self) -> String {
        let text = self.text(When::rfc3339);
        if text == NOTHING { String::new() } else { text }
    }

    /// Returns a text in the colour of the cell.
    pub(crate) fn painted(&self, text: &str) -> String {
        paint(self.tone.style(), text)
    }

    fn text(&self, format: impl FnOnce(When) -> String) -> String {
        match &self.content {
            Content::Text(text) => text.clone(),
            Content::Time(when) => format(*when),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { content: Content::Text(text), tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::from(number.to_string())
    }
}

/// Returns a text in a style. An empty text has none, so that blanks need no escape sequences.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if text.is_empty() || style.is_plain() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}
