//! Reads standard input line by line, in a separate thread because a read of it can't be cancelled.

use std::{
    io::{self, BufRead, Read as _},
    thread,
};

use serde::Deserialize;
use souk_proto::v1::{SyncLine, sync_line};
use tokio::sync::mpsc;

/// The maximum length of a line, in bytes. Longer lines are rejected.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// The capacity of the queue of lines to be sent.
const QUEUE: usize = 64;

/// A parsed line, or what is wrong with it.
pub(super) type Line = Result<Content, String>;

/// The content of a line.
#[derive(Debug)]
pub(super) enum Content {
    /// A count or a change. Its number is 0 if the line has none.
    Line(SyncLine),
    /// Confirms all events up to this one.
    TakenIn(i64),
}

pub(super) struct Input(mpsc::Receiver<Line>);

/// A line in its JSON form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    line: Option<i64>,
    #[serde(default)]
    sku: Option<String>,
    #[serde(default)]
    item_id: Option<i64>,
    #[serde(default)]
    quantity: Option<i64>,
    #[serde(default)]
    quantity_delta: Option<i64>,
    #[serde(default)]
    taken_in: Option<i64>,
}

impl Input {
    pub(super) fn open() -> Self {
        let (lines, receiver) = mpsc::channel(QUEUE);
        thread::spawn(move || read(io::stdin().lock(), |line| lines.blocking_send(line).is_ok()));
        Self(receiver)
    }

    /// Returns the next line; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.0.recv().await
    }
}

/// Reads to the end, or until `send` returns `false`.
fn read(mut from: impl BufRead, mut send: impl FnMut(Line) -> bool) {
    let mut text = Vec::new();
    let mut are_numbered = None;
    for number in 1_u64.. {
        text.clear();
        let line = match from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text) {
            Ok(0) => return,
            Ok(_) if text.len() as u64 == MAX_LINE_BYTES && !text.ends_with(b"\n") => {
                let _ = send(Err(format!("input line {number} is longer than 64 KiB; reading ends there")));
                return;
            }
            Ok(_) if text.trim_ascii().is_empty() => continue,
            Ok(_) => parse(text.trim_ascii())
                .and_then(|content| alike(content, &mut are_numbered))
                .map_err(|problem| format!("input line {number}: {problem}")),
            Err(error) => {
                let _ = send(Err(format!("input line {number} can't be read: {error}; reading ends there")));
                return;
            }
        };
        if !send(line) {
            return;
        }
    }
}

fn parse(text: &[u8]) -> Line {
    let Written { line, sku, item_id, quantity, quantity_delta, taken_in } = serde_json::from_slice(text)
        .map_err(|error| {
            let problem = error.to_string();
            // Every object is on one line, so that only the column helps.
            let problem = problem.split_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
            let problem = souk_settings::expected_type(problem).unwrap_or_else(|| problem.to_owned());
            let column = error.column();
            format!("{problem} in column {column}; write a JSON object such as {{\"sku\": \"L-1\", \"quantity_delta\": -2}}")
        })?;
    if let Some(sequence) = taken_in {
        return match (line, sku, item_id, quantity, quantity_delta) {
            (None, None, None, None, None) if sequence >= 0 => Ok(Content::TakenIn(sequence)),
            _ => Err("write \"taken_in\" alone, with the sequence of an event".to_owned()),
        };
    }
    if line.is_some_and(|line| line < 1) {
        return Err("\"line\" is below 1; number lines from 1 without a gap, or leave it out".to_owned());
    }
    let item = match (item_id, sku) {
        (Some(id), None) => sync_line::Item::ItemId(id),
        (None, Some(sku)) => sync_line::Item::Sku(sku),
        _ => return Err("give either \"sku\" or \"item_id\"".to_owned()),
    };
    let change = match (quantity, quantity_delta) {
        (Some(quantity), None) => sync_line::Change::Quantity(quantity),
        (None, Some(delta)) => sync_line::Change::QuantityDelta(delta),
        _ => return Err("give either \"quantity\" or \"quantity_delta\"".to_owned()),
    };
    Ok(Content::Line(SyncLine { line: line.unwrap_or(0), item: Some(item), change: Some(change) }))
}

/// Checks that all lines are numbered or none is. If they were mixed, a wrong number would also affect the
/// unnumbered lines after it.
fn alike(content: Content, are_numbered: &mut Option<bool>) -> Line {
    match &content {
        Content::Line(line) if *are_numbered.get_or_insert(line.line != 0) != (line.line != 0) => {
            let (this, first) = if line.line == 0 { ("no", "has one") } else { ("a", "has none") };
            Err(format!(
                "it has {this} \"line\" number, and the first line {first}; number every line, or none"
            ))
        }
        _ => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        read(text, |line| {
            lines.push(line);
            true
        });
        lines
    }

    #[test]
    fn lines_are_read_with_or_without_a_number() {
        let read = |text: &[u8]| match lines(text).remove(0) {
            Ok(Content::Line(line)) => line,
            other => panic!("{other:?}"),
        };
        let bare = read(b"\n{\"sku\":\"L-1\",\"quantity\":5}\n");
        assert_eq!((bare.line, &bare.item), (0, &Some(sync_line::Item::Sku("L-1".into()))));
        let numbered = read(b"{\"line\":7,\"item_id\":3,\"quantity_delta\":-2}");
        assert_eq!((numbered.line, &numbered.change), (7, &Some(sync_line::Change::QuantityDelta(-2))));
    }

    #[test]
    fn lines_with_and_without_numbers_are_not_mixed() {
        let (bare, numbered) =
            ("{\"sku\":\"a\",\"quantity\":1}\n", "{\"line\":1,\"sku\":\"a\",\"quantity\":1}\n");
        for (first, other) in [(bare, numbered), (numbered, bare)] {
            // Inputs other than stock lines count as neither.
            let text = format!("nonsense\n{{\"taken_in\":1}}\n{first}{other}{first}");
            let read = lines(text.as_bytes());
            assert!(read[2].is_ok() && read[4].is_ok(), "{read:?}");
            let parsed = read[3].as_ref().unwrap_err();
            assert!(
                parsed.starts_with("input line 4: ") && parsed.contains("number every line, or none"),
                "{parsed}"
            );
        }
    }

    #[test]
    fn wrong_lines_are_reported_with_their_place_and_the_others_read() {
        let text = b"nonsense\n{\"sku\":\"a\",\"item_id\":1,\"quantity\":1}\n{\"sku\":\"a\"}\n\
            {\"line\":0,\"sku\":\"a\",\"quantity\":1}\n{\"sku\":\"a\",\"quantity\":1,\"price\":2}\n\
            {\"sku\":\"\xff\",\"quantity\":1}\n{\"sku\":\"a\",\"quantity\":1.5}\n{\"sku\":\"a\",\"quantity\":1}\n";
        let read = lines(text);
        for (number, line) in (1..).zip(&read[..7]) {
            assert!(line.as_ref().unwrap_err().starts_with(&format!("input line {number}: ")), "{line:?}");
        }
        let problem = read[6].as_ref().unwrap_err();
        assert!(
            problem.contains("give a whole number, such as 12, not floating point 1.5 in column "),
            "{problem}"
        );
        assert!(read.len() == 8 && read[7].is_ok(), "{read:?}");
    }

    #[test]
    fn a_confirmation_stands_alone() {
        let read = lines(b"{\"taken_in\": 7}\n{\"taken_in\": 7, \"line\": 1}\n{\"taken_in\": -1}\n");
        assert!(matches!(read[0], Ok(Content::TakenIn(7))), "{read:?}");
        assert!(read[1].is_err() && read[2].is_err(), "{read:?}");
    }

    #[test]
    fn input_that_cannot_be_read_ends() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("is a directory"))
            }
        }
        let mut parsed = Vec::new();
        read(io::BufReader::new(Broken), |line| {
            parsed.push(line);
            true
        });
        assert!(
            parsed.len() == 1 && parsed[0].as_ref().unwrap_err().contains("is a directory"),
            "{parsed:?}"
        );
    }

    #[test]
    fn line_without_an_end_is_given_up() {
        let read = lines(&vec![b'x'; 1_000_000]);
        assert!(read.len() == 1 && read[0].as_ref().unwrap_err().contains("64 KiB"), "{read:?}");
    }
}
