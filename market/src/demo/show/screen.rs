//! The demo's screen: how to join on top, the trade below, and a prompt. `q` ends the demo, `p` pauses it.

use std::{
    collections::VecDeque,
    io::{self, Stdout, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossterm::{
    cursor::MoveTo,
    event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute, queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen,
    },
};
use tokio::sync::oneshot;
use unicode_width::UnicodeWidthStr as _;

use super::stage::{Backstage, Line, Who};

/// How long a line may wait until it is shown.
const TICK: Duration = Duration::from_millis(100);
/// The maximum number of lines that are kept, more than any terminal is high.
const KEPT: usize = 500;
const PROMPT: &str = "q ends the demo, p pauses it > ";
const PAUSED: &str = "paused: p goes on, q ends the demo > ";

/// A screen that is open, on a thread of its own.
pub(super) struct Screen {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
    ended: oneshot::Receiver<()>,
}

impl Screen {
    /// Takes over the terminal. `header` stays at the top.
    pub(super) fn open(header: &str, backstage: Backstage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = oneshot::channel();
        let header = header.lines().map(str::to_owned).collect();
        let show = Show { header, lines: VecDeque::new(), backstage, out: io::stdout() };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let shown = show.run(&stopped);
            // This fails if the demo ends for another reason.
            let _ = end.send(());
            shown
        });
        Self { stop, thread, ended }
    }

    /// Waits until the user ends the demo, or the terminal fails.
    pub(super) async fn ended(&mut self) {
        // The sender may be gone, after a panic.
        let _ = (&mut self.ended).await;
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// The terminal failed.
    pub(super) fn close(self) -> io::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the demo's screen panicked")))
    }
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    End,
    Pause,
}

/// What is on the screen.
struct Show {
    header: Vec<String>,
    lines: VecDeque<Line>,
    backstage: Backstage,
    out: Stdout,
}

impl Show {
    fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        terminal::enable_raw_mode()?;
        let _restored = Restored;
        execute!(self.out, EnterAlternateScreen)?;
        let mut has_changed = true;
        while !stop.load(Ordering::SeqCst) {
            has_changed |= self.take_lines();
            if std::mem::take(&mut has_changed) {
                self.draw()?;
            }
            if !event::poll(TICK)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) => match wish(key) {
                    Some(Wish::End) => break,
                    Some(Wish::Pause) => {
                        self.backstage.is_paused.send_modify(|is_paused| *is_paused = !*is_paused);
                        has_changed = true;
                    }
                    None => {}
                },
                Event::Resize(..) => has_changed = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes what has happened. Returns whether there was anything.
    fn take_lines(&mut self) -> bool {
        let before = self.lines.len();
        self.lines.extend(self.backstage.lines.try_iter().take(KEPT));
        let has_changed = self.lines.len() > before;
        let surplus = self.lines.len().saturating_sub(KEPT);
        self.lines.drain(..surplus);
        has_changed
    }

    fn draw(&mut self) -> io::Result<()> {
        let (columns, rows) = terminal::size()?;
        let (columns, rows) = (usize::from(columns), usize::from(rows));
        let mut shown: Vec<(Option<Who>, String)> = Vec::with_capacity(rows);
        // One row remains for the prompt, and the terminal breaks the header's lines: a command that is longer than the screen
        // is then still one line when it is copied.
        let mut room = rows.saturating_sub(1);
        for line in &self.header {
            let taken = line.width().div_ceil(columns.max(1)).max(1);
            if taken > room {
                break;
            }
            room -= taken;
            shown.push((Some(Who::Market), line.clone()));
        }
        if room > 0 {
            shown.push((None, "─".repeat(columns)));
            room -= 1;
        }
        let mut below: VecDeque<_> = VecDeque::with_capacity(room);
        for line in self.lines.iter().rev() {
            let parts = wrapped(&line.text, columns);
            if below.len() + parts.len() > room {
                break;
            }
            parts.into_iter().rev().for_each(|part| below.push_front((Some(line.who), part)));
        }
        shown.extend(below);
        let prompt = if *self.backstage.is_paused.borrow() { PAUSED } else { PROMPT };
        queue!(self.out, BeginSynchronizedUpdate, MoveTo(0, 0), Clear(ClearType::All))?;
        for (who, line) in shown {
            color(&mut self.out, who)?;
            queue!(self.out, Print(line), ResetColor, SetAttribute(Attribute::Reset), Print("\r\n"))?;
        }
        let last = u16::try_from(rows.saturating_sub(1)).unwrap_or(u16::MAX);
        let prompt: String = prompt.chars().take(columns.saturating_sub(1)).collect();
        queue!(self.out, MoveTo(0, last), Print(prompt), EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

/// Chooses how a line looks. With NO_COLOR, `crossterm` leaves the colours out.
fn color(out: &mut Stdout, who: Option<Who>) -> io::Result<()> {
    match who {
        Some(Who::Market) => queue!(out, SetAttribute(Attribute::Bold)),
        Some(Who::Seller) => queue!(out, SetForegroundColor(Color::Yellow)),
        Some(Who::Buyer) => queue!(out, SetForegroundColor(Color::Cyan)),
        Some(Who::Notified) => queue!(out, SetForegroundColor(Color::Green)),
        None => Ok(()),
    }
}

fn wish(key: KeyEvent) -> Option<Wish> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind == KeyEventKind::Release => None,
        KeyCode::Char('c' | 'd') if is_control => Some(Wish::End),
        KeyCode::Char('q' | 'Q') => Some(Wish::End),
        KeyCode::Char('p' | 'P' | ' ') => Some(Wish::Pause),
        _ => None,
    }
}

/// Breaks a line where it is too long, between words if possible.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    for word in line.split_inclusive(' ') {
        if !row.is_empty() && row.width() + word.trim_end().width() > columns {
            rows.push(std::mem::take(&mut row).trim_end().to_owned());
        }
        row.push_str(word);
        // Break a word that is wider than the screen.
        while row.trim_end().width() > columns.max(2) {
            let mut fitting = String::new();
            for c in row.chars() {
                if fitting.width() + c.to_string().width() > columns.max(2) {
                    break;
                }
                fitting.push(c);
            }
            row.drain(..fitting.len());
            rows.push(fitting);
        }
    }
    rows.push(row.trim_end().to_owned());
    rows
}

/// Restores the terminal, however the screen ends.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped("Bob buys two lanterns", 10), ["Bob buys", "two", "lanterns"]);
        assert_eq!(wrapped("", 10), [""]);
        assert_eq!(wrapped("abcdefgh", 4), ["abcd", "efgh"]);
        assert!(wrapped("日本語日本語", 5).iter().all(|row| row.width() <= 5));
    }

    #[test]
    fn only_these_keys_do_anything() {
        let key = |c, modifiers| wish(KeyEvent::new(KeyCode::Char(c), modifiers));
        assert_eq!(key('q', KeyModifiers::NONE), Some(Wish::End));
        assert_eq!(key('c', KeyModifiers::CONTROL), Some(Wish::End));
        assert_eq!(key('c', KeyModifiers::NONE), None);
        assert_eq!(key('p', KeyModifiers::NONE), Some(Wish::Pause));
    }
}
