//! A pseudo-terminal for the tests of the shell, on which the real binary runs.

#![expect(clippy::expect_used, reason = "a test whose setup fails has failed")]

use std::num::NonZero;

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    time::timeout,
};

use crate::terminal::{PATIENCE, Terminal};

const ROWS: NonZero<u16> = NonZero::new(40).expect("not 0");
/// The default width.
const COLUMNS: NonZero<u16> = NonZero::new(120).expect("not 0");
/// The number of lines that remain readable after they have scrolled off the screen.
const SCROLLBACK: usize = 2_000;

/// The query for the cursor position (ECMA-48, DSR 6), which a line editor sends to its terminal.
const CURSOR_POSITION_REQUEST: &[u8] = b"\x1b[6n";

/// A program on its own terminal.
pub struct Screen {
    child: Child,
    keyboard: OwnedWritePty,
    output: OwnedReadPty,
    parser: vt100::Parser,
    columns: NonZero<u16>,
    /// The end of the output read so far, which may contain the start of a request.
    tail: Vec<u8>,
}

impl Screen {
    /// Starts the program on a new pseudo-terminal of the default width.
    pub fn start(terminal: &Terminal, arguments: &[&str]) -> Self {
        Self::start_as_wide_as(COLUMNS, terminal, arguments)
    }

    /// Starts the program on a new pseudo-terminal with this many columns.
    pub fn start_as_wide_as(columns: NonZero<u16>, terminal: &Terminal, arguments: &[&str]) -> Self {
        let (pty, terminal_side) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(Size::new(ROWS.get(), columns.get())).expect("a size");
        let command = pty_process::Command::new(terminal.program)
            .args(arguments)
            .env_clear()
            .env("HOME", terminal.home.path())
            .env("TERM", "xterm-256color")
            .envs(terminal.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        let child = command.spawn(terminal_side).expect("the program");
        let (output, keyboard) = pty.into_split();
        let parser = vt100::Parser::new(ROWS, columns, SCROLLBACK);
        Self { child, keyboard, output, parser, columns, tail: Vec::new() }
    }

    /// Returns the process id of the program.
    pub fn process(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends keys to the program's terminal, as UTF-8 and control characters.
    pub async fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).await.expect("typed");
    }

    /// Waits until the text satisfies a condition. Returns the text: the screen and what has scrolled off it.
    pub async fn until(&mut self, is_there: impl Fn(&str) -> bool) -> String {
        let waited = timeout(PATIENCE, async {
            loop {
                let text = self.text();
                if is_there(&text) {
                    return text;
                }
                assert!(self.read().await, "the program has ended: {text}");
            }
        });
        waited.await.unwrap_or_else(|_| panic!("it never came: {}", self.text()))
    }

    /// Waits until a question is on the last line, and answers it.
    pub async fn answer(&mut self, question: &str, answer: &str) {
        self.until(|text| text.lines().last().is_some_and(|line| line.contains(question))).await;
        self.press(&format!("{answer}\r")).await;
    }

    /// Returns whether a text on the screen has a colour of its own. If it is there several times, the first one counts.
    pub fn has_color_at(&self, text: &str) -> bool {
        let screen = self.parser.screen();
        let mut rows = screen.rows(0, self.columns.get()).enumerate();
        let place = rows.find_map(|(row, line)| line.find(text).map(|at| (row, line[..at].chars().count())));
        let (row, column) = place.expect("the text is on the screen");
        let place = u16::try_from(row).ok().zip(u16::try_from(column).ok());
        let cell = place.and_then(|(row, column)| screen.cell(row, column)).expect("a cell");
        cell.fgcolor() != vt100::Color::Default
    }

    /// Waits for the program to exit. Returns its exit code.
    pub async fn end(mut self) -> i32 {
        let ended = timeout(PATIENCE, async {
            while self.read().await {}
            self.child.wait().await
        });
        ended.await.expect("it ends in time").expect("it ran").code().expect("an exit code")
    }

    /// Processes more of the output; returns `false` at its end.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        // Reading from a terminal whose program has exited fails with EIO.
        let Ok(count @ 1..) = self.output.read(&mut bytes).await else { return false };
        self.parser.process(&bytes[..count]);
        self.tail.extend(&bytes[..count]);
        while let Some(at) =
            self.tail.windows(CURSOR_POSITION_REQUEST.len()).position(|w| w == CURSOR_POSITION_REQUEST)
        {
            self.tail.drain(..at + CURSOR_POSITION_REQUEST.len());
            let (row, column) = self.parser.screen().cursor_position();
            self.press(&format!("\x1b[{};{}R", row + 1, column + 1)).await;
        }
        let needless = self.tail.len().saturating_sub(CURSOR_POSITION_REQUEST.len());
        self.tail.drain(..needless);
        true
    }

    fn text(&mut self) -> String {
        let screen = self.parser.screen_mut();
        let mut pages = vec![screen.contents()];
        screen.set_scrollback(SCROLLBACK);
        let mut above = screen.scrollback();
        while above > 0 {
            screen.set_scrollback(above);
            let rows: Vec<_> =
                screen.rows(0, self.columns.get()).take(above.min(usize::from(ROWS.get()))).collect();
            pages.push(rows.join("\n"));
            above = above.saturating_sub(usize::from(ROWS.get()));
        }
        screen.set_scrollback(0);
        let last = pages.remove(0);
        pages.push(last);
        pages.join("\n").trim_end().to_owned()
    }
}
