//! `help`: the commands, or one of them on less than a screen. `COMMAND --help` prints everything.

use clap::{Arg, Command};

use super::{
    complete::{SHELL_COMMANDS, SHELL_FLAGS, about, subcommands},
    fit::{cut, table, wrapped},
};

/// The maximum number of lines that explain a command.
const LINES: usize = 25;
/// The number of these lines that remain for arguments and flags; the others are the title, the usage and the example.
const ARGUMENT_LINES: usize = LINES - 6;

/// Returns the lines that explain all commands, or the one with these words; `None` if there is no such command.
pub(super) fn explain(grammar: &Command, words: &[String], width: usize) -> Option<Vec<String>> {
    if words.is_empty() {
        return Some(overview(grammar, width));
    }
    if let Some((name, about)) = SHELL_COMMANDS.iter().find(|(name, _)| words == [*name]) {
        return Some(vec![format!("{name}: {about}"), format!("Example: {name}")]);
    }
    let mut command = grammar;
    for word in words {
        command = command.find_subcommand(word)?;
    }
    Some(one(command, &words.join(" "), grammar.get_name(), width))
}

fn overview(grammar: &Command, width: usize) -> Vec<String> {
    let shown = subcommands(grammar).filter(|command| !["shell", "listen"].contains(&command.get_name()));
    let mut rows: Vec<_> =
        shown.map(|command| (command.get_name().to_owned(), about(command.get_about()))).collect();
    rows.extend(SHELL_COMMANDS.map(|(name, about)| (name.to_owned(), about.to_owned())));
    let mut lines = table(&rows, width);
    let notes = "`help COMMAND` explains one, with an example. Tab completes, the arrow keys recall and edit lines, and an open \
                 quotation mark continues on the next line. Ctrl-C ends the running command or clears the line, Ctrl-D ends \
                 the shell. There are no pipes, redirections or `!` here: your system's shell has them.";
    lines.extend(wrapped(notes, width));
    lines
}

fn one(command: &Command, path: &str, program: &str, width: usize) -> Vec<String> {
    let mut lines = vec![cut(&format!("{path}: {}", about(command.get_about())), width)];
    if command.has_subcommands() {
        let rows: Vec<_> = subcommands(command)
            .map(|c| (format!("{path} {}", c.get_name()), about(c.get_about())))
            .collect();
        lines.extend(table(&rows, width));
        lines.push(cut(&format!("Example: {}", example(command, path, program)), width));
        return lines;
    }
    lines.push(cut(&format!("usage: {}", usage(command, path)), width));
    let (positionals, flags): (Vec<_>, Vec<_>) =
        own_arguments(command).partition(|argument| argument.is_positional());
    let rows: Vec<_> =
        positionals.into_iter().chain(flags).map(|a| (written(a), about(a.get_help()))).collect();
    let fitting = if rows.len() > ARGUMENT_LINES { ARGUMENT_LINES - 1 } else { rows.len() };
    lines.extend(table(&rows[..fitting], width));
    if fitting < rows.len() {
        let more = format!("  and {} more: `{path} --help` has them all", rows.len() - fitting);
        lines.push(cut(&more, width));
    }
    let common = format!("--{} work with every command", SHELL_FLAGS.join(", --"));
    lines.extend(wrapped(&common, width - 2).iter().map(|line| format!("  {line}")));
    lines.push(cut(&format!("Example: {}", example(command, path, program)), width));
    lines
}

/// Returns the usage in one line: the arguments, the flags that are required, and whether there are others.
fn usage(command: &Command, path: &str) -> String {
    let flags = || own_arguments(command).filter(|a| !a.is_positional());
    let mut words = vec![path.to_owned()];
    for argument in own_arguments(command).filter(|a| a.is_positional()) {
        let name = value_name(argument);
        words.push(if argument.is_required_set() { name } else { format!("[{name}]") });
    }
    words.extend(flags().filter(|flag| flag.is_required_set()).map(written));
    if flags().any(|flag| !flag.is_required_set()) {
        words.push("[FLAGS]".to_owned());
    }
    words.join(" ")
}

/// Returns the arguments and flags that only this command has.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set())
}

fn written(argument: &Arg) -> String {
    with_value(argument, &value_name(argument))
}

fn with_value(argument: &Arg, value: &str) -> String {
    match argument.get_long() {
        None => value.to_owned(),
        Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
    }
}

fn value_name(argument: &Arg) -> String {
    let named = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    named.unwrap_or_else(|| argument.get_id().as_str().to_uppercase())
}

/// Returns the command's own example, as its help text has it, or one that is made from its arguments.
fn example(command: &Command, path: &str, program: &str) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // A long one is continued on the next line.
    let help = help.replace("\\\n", " ");
    let written = help.lines().find_map(|line| {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line.strip_prefix(program).or_else(|| line.strip_prefix("{program}"))?;
        // Without the flags that hold for the whole shell.
        let (_, values) = line.split_once(path)?;
        Some(format!("{path}{values}"))
    });
    written.unwrap_or_else(|| {
        if let Some(first) = subcommands(command).next() {
            return example(first, &format!("{path} {}", first.get_name()), program);
        }
        let own = || own_arguments(command);
        let is_required = |a: &&Arg| a.is_required_set() || a.is_positional();
        let is_special =
            |a: &&Arg| ["request_id", "dry_run", "expect_version"].contains(&a.get_id().as_str());
        let optional = || own().filter(|a| !is_required(a) && !is_special(a));
        // A command with a choice of flags usually does nothing without one.
        let needs_one = optional().count() > 1 && own().filter(is_required).all(|a| a.is_positional());
        let words = own().filter(is_required).chain(optional().take(usize::from(needs_one))).map(sample);
        std::iter::once(path.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    })
}

/// Returns an argument with a value that it could have.
fn sample(argument: &Arg) -> String {
    let possible = argument.get_possible_values();
    let id = argument.get_id().as_str();
    let value = match id {
        _ if !possible.is_empty() => possible[0].get_name(),
        "name" | "words" => "\"Brass lantern\"",
        "category" | "parent" => "home/light",
        "price" | "expect_price" | "min_price" | "max_price" => "\"12.50 GBP\"",
        "reason" => "\"broken in the warehouse\"",
        "file" => "items.csv",
        "till" | "consumer" => "shop",
        "lines" => "7x2",
        "stars" => "5",
        "quantity" => "10",
        "page_size" => "20",
        _ if id.starts_with("order") || id.starts_with("stop") => "12",
        _ => "7",
    };
    with_value(argument, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar() -> Command {
        let flags = (0..40).map(|n| {
            let name: &str = Box::leak(format!("flag-{n}").into_boxed_str());
            Arg::new(name).long(name).help("About. And more")
        });
        Command::new("seller")
            .subcommand(Command::new("import").about("List items; by the thousand").args(flags))
            .subcommand(
                Command::new("ship")
                    .about("Mark an order as shipped")
                    .arg(Arg::new("order").required(true).help("The order's id"))
                    .after_help("Example:\n  seller --cert alice.pem ship 12 \\\n      13"),
            )
            .subcommand(
                Command::new("rate")
                    .arg(Arg::new("item").required(true))
                    .arg(Arg::new("stars").required(true)),
            )
    }

    fn explained(words: &[&str], width: usize) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        explain(&grammar(), &words, width).unwrap()
    }

    #[test]
    fn a_command_takes_less_than_a_screen_and_has_an_example() {
        for width in [60, 80, 120] {
            for command in ["import", "ship", "rate"] {
                let lines = explained(&[command], width);
                assert!(lines.len() <= LINES, "{lines:#?}");
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
                assert!(lines.last().unwrap().starts_with(&format!("Example: {command}")), "{lines:#?}");
            }
        }
        assert!(explained(&["import"], 80).join("\n").contains("22 more"));
        assert_eq!(explained(&["ship"], 80).last().unwrap(), "Example: ship 12 13");
        assert_eq!(explained(&["rate"], 80).last().unwrap(), "Example: rate 7 5");
        assert!(explain(&grammar(), &["sail".to_owned()], 80).is_none());
    }

    #[test]
    fn overview_says_what_the_shell_does_not_have() {
        let lines = explained(&[], 60);
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{lines:#?}");
        assert!(lines.join(" ").contains("no pipes"), "{lines:#?}");
        assert!(lines[0].contains("List items") && !lines[0].contains("thousand"), "{lines:#?}");
    }
}
