//! Completion: the commands, the flags of the command that is being typed, and values that the market or this machine has.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
};

use clap::{Arg, Command};
use reedline::{Completer, CompletionResult, CompletionStatus, Span, Suggestion};
use tokio::sync::mpsc::Sender;

use super::line::last_word;
use crate::choices::{Choice, Source};

/// The common flags that a line of the shell may have. The others hold for the whole shell.
pub(super) const SHELL_FLAGS: [&str; 6] = ["output", "currency", "time", "fields", "jq", "template"];

/// The commands that only the shell has, and what they do.
pub(super) const SHELL_COMMANDS: [(&str, &str); 3] =
    [("help", "Explain the commands, or one"), ("menu", "Show the menu"), ("quit", "End the shell")];

/// A question to the market, which the shell asks while the line is being edited.
pub(super) struct Lookup {
    pub(super) source: Source,
    pub(super) typed: String,
    pub(super) found: SyncSender<Vec<Choice>>,
}

/// Returns what an argument stands for, by its command and its name.
pub(super) type SourceOf = fn(&[&str], &str) -> Option<Source>;

/// Completes commands.
pub(super) struct CommandCompleter {
    grammar: Arc<Command>,
    source_of: SourceOf,
    lookups: Sender<Lookup>,
    /// What was typed when the market was asked last, and its answer.
    known: Option<(Source, String, Vec<Choice>)>,
    asked: Option<(Source, String, Receiver<Vec<Choice>>)>,
}

impl CommandCompleter {
    pub(super) fn new(grammar: Arc<Command>, source_of: SourceOf, lookups: Sender<Lookup>) -> Self {
        Self { grammar, source_of, lookups, known: None, asked: None }
    }

    /// Returns the market's values, or `None` while they are being fetched.
    fn ask_market(&mut self, source: Source, typed: &str) -> Option<&[Choice]> {
        let known = self.known.as_ref().filter(|(known, text, _)| *known == source && text == typed);
        if let Some((.., choices)) = known {
            return Some(choices);
        }
        let is_asked = self.asked.as_ref().is_some_and(|(asked, text, _)| *asked == source && text == typed);
        if !is_asked {
            let (found, answer) = sync_channel(1);
            if self.lookups.try_send(Lookup { source, typed: typed.to_owned(), found }).is_err() {
                return Some(&[]);
            }
            self.asked = Some((source, typed.to_owned(), answer));
        }
        None
    }
}

impl Completer for CommandCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let Some(before) = line.get(..pos) else { return CompletionResult::fresh(Vec::<Suggestion>::new()) };
        let (start, typed) = last_word(before);
        let words = shlex::split(&before[..start]).unwrap_or_default();
        let expected = expected(&self.grammar, &words, &typed, self.source_of);
        let span = Span::new(start, pos);
        if let Some(source) = expected.source {
            let value = typed.strip_prefix(expected.prefix.as_str()).unwrap_or_default().to_owned();
            return match self.ask_market(source, &value) {
                Some(choices) => CompletionResult::fresh(of_choices(choices, &expected.prefix, span)),
                None => CompletionResult::Pending,
            };
        }
        let fitting = expected.fixed.iter().filter(|(value, _)| value.starts_with(&typed));
        let suggestions: Vec<_> = fitting.map(|(value, about)| suggestion(value, about, span)).collect();
        CompletionResult::fresh(suggestions)
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        let Some((source, typed, answer)) = self.asked.take() else { return CompletionStatus::Idle };
        let choices = match answer.try_recv() {
            Ok(choices) => choices,
            Err(TryRecvError::Empty) => {
                self.asked = Some((source, typed, answer));
                return CompletionStatus::Pending;
            }
            // The market could not be asked.
            Err(TryRecvError::Disconnected) => Vec::new(),
        };
        self.known = Some((source, typed, choices));
        CompletionStatus::Ready
    }
}

/// Completes the answer to a question from the choices that it offers.
pub(super) struct AnswerCompleter(pub(super) Vec<Choice>);

impl Completer for AnswerCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let typed = line.get(..pos).unwrap_or_default();
        let fitting: Vec<_> = self.0.iter().filter(|choice| choice.matches(typed)).cloned().collect();
        CompletionResult::fresh(of_choices(&fitting, "", Span::new(0, pos)))
    }
}

fn of_choices(choices: &[Choice], prefix: &str, span: Span) -> Vec<Suggestion> {
    let suggest = |choice: &Choice| {
        let about = [choice.name.as_str(), choice.details.as_str()];
        let about: Vec<_> = about.into_iter().filter(|text| !text.is_empty()).collect();
        suggestion(&format!("{prefix}{}", choice.value), &about.join(", "), span)
    };
    choices.iter().map(suggest).collect()
}

fn suggestion(value: &str, about: &str, span: Span) -> Suggestion {
    // Only a text with a NUL can't be quoted, and nobody types one.
    let value = shlex::try_quote(value).map_or_else(|_| value.to_owned(), |quoted| quoted.into_owned());
    let description = Some(about.to_owned()).filter(|about| !about.is_empty());
    Suggestion { value, description, span, append_whitespace: true, ..Suggestion::default() }
}

/// What may come next on a line.
#[derive(Default)]
struct Expected {
    /// Values and what they mean.
    fixed: Vec<(String, String)>,
    /// Where further values come from.
    source: Option<Source>,
    /// What the word begins with before its value, such as `--category=`.
    prefix: String,
}

/// The position of a word on a line.
struct Position<'a> {
    command: &'a Command,
    path: Vec<&'a str>,
    /// The flag whose value comes next.
    pending: Option<&'a Arg>,
    arguments: usize,
    used: Vec<&'a str>,
}

fn expected(grammar: &Command, words: &[String], typed: &str, source_of: SourceOf) -> Expected {
    if words.first().is_some_and(|word| word == "help") {
        return after_help(grammar, &words[1..]);
    }
    let at = position(grammar, words);
    if let Some(flag) = at.pending {
        return values(flag, &at.path, String::new(), source_of);
    }
    if let Some((name, _)) = typed.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
        let flag = flags(grammar, at.command).find(|flag| flag.get_long() == Some(name));
        return flag
            .map_or_else(Expected::default, |flag| values(flag, &at.path, format!("--{name}="), source_of));
    }
    let own_flags = || {
        let unused = flags(grammar, at.command).filter(|flag| !at.used.contains(&flag.get_id().as_str()));
        let named =
            unused.filter_map(|flag| Some((format!("--{}", flag.get_long()?), about(flag.get_help()))));
        Expected { fixed: named.collect(), ..Expected::default() }
    };
    if typed.starts_with('-') {
        return own_flags();
    }
    if at.arguments == 0 && at.command.has_subcommands() {
        let mut fixed = commands(at.command);
        if words.is_empty() {
            fixed.extend(SHELL_COMMANDS.map(|(name, about)| (name.to_owned(), about.to_owned())));
        }
        return Expected { fixed, ..Expected::default() };
    }
    let positionals: Vec<_> = at.command.get_positionals().collect();
    let next = positionals.get(at.arguments).or_else(|| positionals.last().filter(|last| takes_many(last)));
    let expected = next.map(|argument| values(argument, &at.path, String::new(), source_of));
    // Without values to offer, the flags are offered.
    expected.filter(|e| e.source.is_some() || !e.fixed.is_empty()).unwrap_or_else(own_flags)
}

/// Follows the words of a line through the grammar.
fn position<'a>(grammar: &'a Command, words: &[String]) -> Position<'a> {
    let mut at =
        Position { command: grammar, path: Vec::new(), pending: None, arguments: 0, used: Vec::new() };
    for word in words {
        if at.pending.take().is_some() {
            continue;
        }
        if let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) {
            let (name, has_value) = flag.split_once('=').map_or((flag, false), |(name, _)| (name, true));
            let Some(flag) = flags(grammar, at.command).find(|flag| flag.get_long() == Some(name)) else {
                continue;
            };
            if !takes_many(flag) {
                at.used.push(flag.get_id().as_str());
            }
            let is_needed = flag.get_num_args().is_none_or(|count| count.min_values() > 0);
            at.pending =
                Some(flag).filter(|flag| flag.get_action().takes_values() && !has_value && is_needed);
        } else if let Some(command) = at.command.find_subcommand(word).filter(|_| at.arguments == 0) {
            at.command = command;
            at.path.push(command.get_name());
        } else {
            at.arguments += 1;
        }
    }
    at
}

/// Returns the flags that a command has in the shell.
fn flags<'a>(grammar: &'a Command, command: &'a Command) -> impl Iterator<Item = &'a Arg> {
    let is_shells = |flag: &&Arg| flag.get_long().is_some_and(|long| SHELL_FLAGS.contains(&long));
    // The flags of the grammar are common to all commands, and a command has them only after it was built.
    let own = command.get_arguments().filter(|flag| flag.get_long().is_some() && !flag.is_global_set());
    own.chain(grammar.get_arguments().filter(is_shells)).filter(|flag| !flag.is_hide_set())
}

fn values(argument: &Arg, path: &[&str], prefix: String, source_of: SourceOf) -> Expected {
    let possible = argument.get_possible_values();
    let shown = possible.iter().filter(|value| !value.is_hide_set());
    let fixed =
        shown.map(|value| (format!("{prefix}{}", value.get_name()), about(value.get_help()))).collect();
    let source = source_of(path, argument.get_id().as_str()).filter(|_| possible.is_empty());
    Expected { fixed, source, prefix }
}

fn commands(command: &Command) -> Vec<(String, String)> {
    subcommands(command).map(|command| (command.get_name().to_owned(), about(command.get_about()))).collect()
}

/// Returns the subcommands that are shown: not the hidden ones, nor the `help` that clap adds.
pub(super) fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// Returns what can be explained: `help` takes the words of a command.
fn after_help(grammar: &Command, words: &[String]) -> Expected {
    Expected { fixed: commands(position(grammar, words).command), ..Expected::default() }
}

fn takes_many(argument: &Arg) -> bool {
    let most = argument.get_num_args().map_or(1, |count| count.max_values());
    most > 1 || matches!(argument.get_action(), clap::ArgAction::Append)
}

/// Returns the first sentence of a help text.
pub(super) fn about(help: Option<&clap::builder::StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    text.split(['\n', ';']).next().unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use clap::value_parser;

    use super::*;

    fn grammar() -> Command {
        let item = || Arg::new("item").value_parser(value_parser!(i64));
        Command::new("seller")
            .arg(Arg::new("output").long("output").global(true).value_parser(["table", "json"]))
            .arg(Arg::new("market").long("market").global(true))
            .subcommand(Command::new("delete").arg(item()).arg(Arg::new("version").long("expect-version")))
            .subcommand(
                Command::new("sales")
                    .arg(Arg::new("status").long("status").value_parser(["placed", "shipped"]))
                    .arg(Arg::new("all").long("all").action(clap::ArgAction::SetTrue)),
            )
            .subcommand(Command::new("sell").arg(Arg::new("category").long("category")))
            .subcommand(
                Command::new("wish")
                    .subcommand(Command::new("add").arg(item()))
                    .subcommand(Command::new("list")),
            )
    }

    fn source_of(_: &[&str], argument: &str) -> Option<Source> {
        match argument {
            "item" => Some(Source::Items),
            "category" => Some(Source::Categories),
            _ => None,
        }
    }

    fn at(line: &str) -> (Vec<String>, Option<Source>) {
        let (start, typed) = last_word(line);
        let words = shlex::split(&line[..start]).unwrap();
        let expected = expected(&grammar(), &words, &typed, source_of);
        let fixed =
            expected.fixed.into_iter().map(|(value, _)| value).filter(|value| value.starts_with(&typed));
        (fixed.collect(), expected.source)
    }

    #[test]
    fn flags_are_those_of_the_command() {
        assert_eq!(at("sales --"), (vec!["--status".into(), "--all".into(), "--output".into()], None));
        assert_eq!(at("sales --all --st").0, ["--status"], "a flag is not offered twice");
        assert_eq!(at("delete 3 --").0, ["--expect-version", "--output"]);
    }

    #[test]
    fn values_follow_their_flag_or_position() {
        assert_eq!(at("sales --status ").0, ["placed", "shipped"]);
        assert_eq!(at("sales --status=pl").0, ["--status=placed"]);
        assert_eq!(at("delete ").1, Some(Source::Items));
        assert_eq!(at("sell --category ho").1, Some(Source::Categories));
        assert_eq!(at("sell --category=ho").1, Some(Source::Categories));
        assert_eq!(at("delete 3 ").0, ["--expect-version", "--output"], "there is no second argument");
    }

    #[test]
    fn commands_come_first() {
        assert_eq!(at("de").0, ["delete"]);
        assert_eq!(at("wish ").0, ["add", "list"]);
        assert_eq!(at("wish add ").1, Some(Source::Items));
        assert_eq!(at("help sa").0, ["sales"]);
        assert_eq!(at("me").0, ["menu"]);
    }
}
