//! The shell: commands as on the command line, a numbered menu, and notifications above the line being typed.
//! Without a terminal, it reads commands from standard input, line by line, without prompts.

use std::{
    borrow::Cow,
    io::{self, BufRead as _, IsTerminal as _},
    sync::mpsc::SyncSender,
    thread,
};

use clap::FromArgMatches as _;
use reedline::{
    ColumnarMenu, DefaultCompleter, Emacs, ExternalPrinter, FileBackedHistory, KeyCode, KeyModifiers,
    MenuBuilder as _, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu,
    Signal, default_emacs_keybindings,
};
use souk_client::Notice;
use tokio::sync::{mpsc, oneshot};

use super::{
    CliSession, Failure, builtin, exit,
    grammar::{Cli, Either, Program, Shared, grammar, typed_flags, vocabulary},
    listen::{Feed, Listening},
    menu::Entry,
    output,
};

/// The maximum number of notifications that are printed at once above the line being typed.
const NOTICES: usize = 64;
/// The maximum number of lines in the history.
const HISTORY: usize = 1_000;

/// Runs until `quit` or the end of the input. Returns the exit code: 0 on a terminal, and that of the last
/// failed line in a script.
pub(super) async fn run<P: Program>(session: &CliSession) -> Result<u8, Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        interactive::<P>(session).await
    } else {
        script::<P>(session).await
    }
}

async fn script<P: Program>(session: &CliSession) -> Result<u8, Failure> {
    let (lines, mut read) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut last_failure = exit::OK;
    while let Some(line) = read.recv().await {
        let line = line.map_err(|error| Failure::io("read a command", error))?;
        match split(&line) {
            Some(words) if words.is_empty() || words[0].starts_with('#') => {}
            Some(words) if is_quit(&words[0]) => break,
            Some(words) => {
                let code = carry_out::<P>(words, session).await;
                if code != exit::OK {
                    last_failure = code;
                }
            }
            None => {
                eprintln!("error: a quotation mark is missing: {line}");
                last_failure = exit::USAGE;
            }
        }
    }
    Ok(last_failure)
}

/// Parses and runs one line of the shell or of a script. Returns its exit code.
async fn carry_out<P: Program>(words: Vec<String>, session: &CliSession) -> u8 {
    let words = std::iter::once(P::NAME.to_owned()).chain(words);
    let parsed = grammar::<P>().try_get_matches_from(words).and_then(|matches| {
        let typed = typed_flags(&matches);
        Cli::<P::Command>::from_arg_matches(&matches).map(|cli| (cli, typed))
    });
    let (cli, typed) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help is not an error; clap chooses the output stream.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::OK };
        }
    };
    if let Some(flag) = typed.iter().find(|flag| !["output", "currency"].contains(&flag.as_str())) {
        let failure = Failure::usage(
            format!("--{flag} holds for the whole shell"),
            format!("quit, and start the shell with it: {} --{flag} … shell", P::NAME),
        );
        output::report(&failure, session.output());
        return exit::USAGE;
    }
    let output = cli.flags.output.filter(|_| typed.iter().any(|flag| flag == "output"));
    let currency = cli.flags.currency.filter(|_| typed.iter().any(|flag| flag == "currency"));
    let session = &session.with(output, currency);
    let outcome = match cli.command {
        Some(Either::Own(command)) => P::carry_out(command, session).await.map(|()| exit::OK),
        Some(Either::Shared(Shared::Shell | Shared::Listen)) => Err(builtin::in_shell()),
        Some(Either::Shared(command)) => Box::pin(builtin::run::<P>(command, session)).await,
        None => Ok(exit::OK),
    };
    outcome.unwrap_or_else(|failure| {
        output::report(&failure, session.output());
        failure.exit_code()
    })
}

fn split(line: &str) -> Option<Vec<String>> {
    shlex::split(line)
}

fn is_quit(word: &str) -> bool {
    matches!(word, "quit" | "exit" | "q")
}

/// A request to the thread that edits lines.
struct Ask {
    prompt: String,
    answer: oneshot::Sender<Answer>,
}

enum Answer {
    Line(String),
    /// Ctrl-C: the line is discarded.
    Cleared,
    /// Ctrl-D: the end of the input.
    End,
}

async fn interactive<P: Program>(session: &CliSession) -> Result<u8, Failure> {
    // Without a queue, a line that has been sent was received by the editor, and so is printed before the
    // next key is read.
    let printer = ExternalPrinter::new(0);
    let lines = printer.sender();
    let listening = match Listening::open(session).await {
        Ok((listening, news)) => {
            eprintln!("{}", listening.describe());
            thread::spawn(move || print_above(news, &lines));
            Some(listening)
        }
        Err(failure) => {
            output::report(&failure, super::Output::Table);
            eprintln!("notifications are off; commands work all the same");
            None
        }
    };
    let editor = editor::<P>(session, printer);
    let (asks, asked) = std::sync::mpsc::channel();
    thread::spawn(move || edit_lines(editor, &asked));
    eprintln!("{}", menu_text(P::MENU));
    loop {
        let line = match ask(&asks, format!("{}> ", P::NAME)).await {
            Answer::Line(line) => line,
            Answer::Cleared => continue,
            Answer::End => break,
        };
        let Some(mut words) = split(&line) else {
            eprintln!("error: a quotation mark is missing");
            continue;
        };
        match words.first().map(String::as_str) {
            None => continue,
            Some(word) if is_quit(word) => break,
            Some("menu") => {
                eprintln!("{}", menu_text(P::MENU));
                continue;
            }
            Some(word) => {
                if let Some(entry) = numbered(P::MENU, word) {
                    match entry {
                        None => break,
                        Some(entry) => match fill_in(&asks, entry).await {
                            Some(filled) => words = filled,
                            None => continue,
                        },
                    }
                }
            }
        }
        carry_out::<P>(words, session).await;
    }
    if let Some(listening) = listening {
        listening.close().await;
    }
    Ok(exit::OK)
}

/// Prints notices while a line is being edited, and takes events only then. During a command, or if the
/// program ends before the editor is back, they stay in the mailbox.
fn print_above(mut news: mpsc::Receiver<Notice>, lines: &SyncSender<String>) {
    let mut notices = Vec::with_capacity(NOTICES);
    let mut feed = Feed::default();
    while news.blocking_recv_many(&mut notices, NOTICES) > 0 {
        let text: Vec<_> = notices.iter().flat_map(|notice| feed.lines_above(notice)).collect();
        if !text.is_empty() && lines.send(text.join("\n")).is_err() {
            return;
        }
        for notice in notices.drain(..) {
            if let Notice::Event(delivery) = notice {
                delivery.take();
            }
        }
    }
}

/// Returns the entry with a number; `Some(None)` for the number of "quit".
fn numbered(menu: &'static [Entry], word: &str) -> Option<Option<&'static Entry>> {
    let number: usize = word.parse().ok()?;
    match number.checked_sub(1)? {
        index if index < menu.len() => Some(Some(&menu[index])),
        index if index == menu.len() => Some(None),
        _ => None,
    }
}

fn menu_text(menu: &[Entry]) -> String {
    let entries = menu.iter().map(|entry| entry.label).chain(["Quit"]);
    let lines: Vec<_> = entries.enumerate().map(|(n, label)| format!("{:>3}  {label}", n + 1)).collect();
    format!("{}\nA number, or a command such as `help`:", lines.join("\n"))
}

/// Asks for the fields of an entry. Returns `None` if the user cancels.
async fn fill_in(asks: &std::sync::mpsc::Sender<Ask>, entry: &Entry) -> Option<Vec<String>> {
    let mut answers = Vec::with_capacity(entry.fields.len());
    for field in entry.fields {
        let hint = if field.optional { " (optional)" } else { "" };
        match ask(asks, format!("  {}{hint}: ", field.prompt)).await {
            Answer::Line(answer) => answers.push(answer),
            Answer::Cleared | Answer::End => return None,
        }
    }
    let words = entry.words(&answers);
    if words.is_none() {
        eprintln!("an answer is missing; nothing was done");
    }
    words
}

async fn ask(asks: &std::sync::mpsc::Sender<Ask>, prompt: String) -> Answer {
    let (answer, answered) = oneshot::channel();
    if asks.send(Ask { prompt, answer }).is_err() {
        return Answer::End;
    }
    answered.await.unwrap_or(Answer::End)
}

fn edit_lines(mut editor: Reedline, asked: &std::sync::mpsc::Receiver<Ask>) {
    while let Ok(Ask { prompt, answer }) = asked.recv() {
        let line = match editor.read_line(&PlainPrompt(prompt)) {
            Ok(Signal::Success(line)) => Answer::Line(line),
            Ok(Signal::CtrlC) => Answer::Cleared,
            Ok(_) => Answer::End,
            Err(error) => {
                eprintln!("error: the terminal can't be read: {error}");
                Answer::End
            }
        };
        if answer.send(line).is_err() {
            return;
        }
    }
}

fn editor<P: Program>(session: &CliSession, printer: ExternalPrinter<String>) -> Reedline {
    let mut completer = DefaultCompleter::with_inclusions(&['-', '_']).set_min_word_len(1);
    completer.insert(vocabulary::<P>());
    let menu = ColumnarMenu::default().with_name("completions");
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu("completions".into()), ReedlineEvent::MenuNext]),
    );
    let editor = Reedline::create()
        .with_completer(Box::new(completer))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_external_printer(printer);
    let history = session.history_file().and_then(|file| FileBackedHistory::with_file(HISTORY, file).ok());
    match history {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
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
        Cow::Borrowed("")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}
