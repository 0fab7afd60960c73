//! The line editor, which has a thread of its own because it blocks while it reads keys.

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use reedline::{
    ColumnarMenu, Completer, DefaultCompleter, Emacs, ExternalPrinter, FileBackedHistory, KeyCode,
    KeyModifiers, MenuBuilder as _, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent,
    ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};
use souk_stdio::errln;
use tokio::sync::oneshot;

use super::line::is_complete;

/// The maximum number of lines in the history.
const HISTORY: usize = 1_000;

/// What a line is read for.
pub(super) enum Purpose {
    /// A command: kept in the history, and continued on the next line while a quotation mark is open.
    Command(Box<dyn Completer + Send>),
    /// The answer to a question.
    Answer(Box<dyn Completer + Send>),
}

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Typed(String),
    /// Ctrl-C: the line is discarded.
    Cleared,
    /// Ctrl-D, or the terminal is gone: the end of the input.
    End,
}

/// Reads lines from the terminal. Text that others send to the `ExternalPrinter` appears above the line.
pub(super) struct Editor {
    asks: mpsc::Sender<Ask>,
    stop: Arc<AtomicBool>,
}

struct Ask {
    prompt: String,
    purpose: Purpose,
    answer: oneshot::Sender<Line>,
}

impl Editor {
    /// Starts the editor. `history` is the file of the history, if there is one.
    pub(super) fn open(printer: ExternalPrinter<String>, reading: Reading, history: Option<PathBuf>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let line_editor = line_editor(printer).with_break_signal(Arc::clone(&stop));
        let (asks, asked) = mpsc::channel();
        thread::spawn(move || LineReader { history, reading }.run(line_editor, &asked));
        Self { asks, stop }
    }

    /// Reads a line.
    pub(super) async fn read(&self, prompt: String, purpose: Purpose) -> Line {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask { prompt, purpose, answer }).is_err() {
            return Line::End;
        }
        answered.await.unwrap_or(Line::End)
    }

    /// Ends the reading of a line, and so restores the terminal. [`read`](Self::read) returns [`Line::End`].
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Whether a line is being read at present, and so whether notifications can be printed.
#[derive(Clone, Default)]
pub(super) struct Reading(Arc<(Mutex<bool>, Condvar)>);

impl Reading {
    /// Waits until a line is being read.
    pub(super) fn wait(&self) {
        let (is_on, changed) = &*self.0;
        let guard = is_on.lock().unwrap_or_else(PoisonError::into_inner);
        // The guard is released at once: if the line ends meanwhile, the next one prints what comes now.
        drop(changed.wait_while(guard, |is_on| !*is_on).unwrap_or_else(PoisonError::into_inner));
    }

    fn set(&self, on: bool) {
        let (is_on, changed) = &*self.0;
        *is_on.lock().unwrap_or_else(PoisonError::into_inner) = on;
        changed.notify_all();
    }
}

/// What the thread of the editor needs.
struct LineReader {
    history: Option<PathBuf>,
    reading: Reading,
}

impl LineReader {
    fn run(self, mut editor: Reedline, asked: &mpsc::Receiver<Ask>) {
        let (mut has_history, mut has_warned) = (false, false);
        while let Ok(Ask { prompt, purpose, answer }) = asked.recv() {
            let is_command = matches!(purpose, Purpose::Command(_));
            editor = match purpose {
                Purpose::Command(completer) => {
                    let editor = editor.with_completer(completer).with_validator(Box::new(Quotation));
                    if has_history { editor } else { editor.with_history(self.open_history()) }
                }
                Purpose::Answer(completer) => {
                    editor.with_completer(completer).disable_validator().with_history(no_history())
                }
            };
            has_history = is_command;
            self.reading.set(true);
            let read = editor.read_line(&PlainPrompt(prompt));
            self.reading.set(false);
            let line = match read {
                Ok(Signal::Success(line)) => {
                    // At once, because another shell may be open, and this one may be killed.
                    if let Err(error) = editor.sync_history()
                        && !std::mem::replace(&mut has_warned, true)
                    {
                        errln!("warning: the history can't be written: {error}");
                    }
                    Line::Typed(line)
                }
                Ok(Signal::CtrlC) => Line::Cleared,
                Ok(_) => Line::End,
                Err(error) => {
                    errln!("error: the terminal can't be read: {error}");
                    Line::End
                }
            };
            if answer.send(line).is_err() {
                return;
            }
        }
    }

    fn open_history(&self) -> Box<FileBackedHistory> {
        let file = self.history.clone();
        let opened = file.and_then(|file| FileBackedHistory::with_file(HISTORY, file).ok());
        opened.map_or_else(Box::default, Box::new)
    }
}

/// Answers to questions would be noise in the history, and commands are no answers.
fn no_history() -> Box<FileBackedHistory> {
    Box::new(FileBackedHistory::new(0).unwrap_or_default())
}

fn line_editor(printer: ExternalPrinter<String>) -> Reedline {
    let menu = ColumnarMenu::default().with_name("completions").with_marker("");
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu("completions".into()), ReedlineEvent::MenuNext]),
    );
    Reedline::create()
        .with_completer(Box::new(DefaultCompleter::default()))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        // Pasted lines then wait for Enter, like typed ones.
        .use_bracketed_paste(true)
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none())
        .with_external_printer(printer)
}

/// Asks for another line while a quotation mark is open.
struct Quotation;

impl Validator for Quotation {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_complete(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// A prompt that is just its text.
struct PlainPrompt(String);

impl Prompt for PlainPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}
