//! The rules for help texts and manual pages, for tests of the programs.

use clap::{Arg, Command};

use crate::{
    guide::page,
    layout::{help, is_shared, owner},
};

/// The maximum number of lines of a command's `--help`, so that it fits a screen.
pub const HELP_LINES_MAX: usize = 40;
/// The width of the terminal for which the lines are counted.
const WIDTH: usize = 80;

/// Returns what is wrong with the help texts and manual pages of a program: each command without subcommands has a help
/// text of at most [`HELP_LINES_MAX`] lines with an example, options that say what they do, and a manual page.
pub fn problems(program: &Command) -> Vec<String> {
    let name = program.get_name().to_owned();
    let mut laid_out = help(program.clone());
    laid_out.build();
    let mut found = Vec::new();
    walk(&laid_out, &[], &mut |command, path| {
        let shown = format!("{name} {}", path.join(" "));
        let mut wrong = |problem: String| found.push(format!("{shown}: {problem}"));
        let text = shown_help(program, path);
        let lines = text.trim_end().lines().count();
        if lines > HELP_LINES_MAX {
            wrong(format!("--help has {lines} lines, more than {HELP_LINES_MAX}"));
        }
        let examples = text.split_once("\nExample").map(|(_, examples)| examples);
        // gen-certs is run by a script.
        let used = [name.clone(), format!("{name}.sh")].map(|name| format!("{name} {}", path.join(" ")));
        if !examples.is_some_and(|examples| used.iter().any(|used| examples.contains(used))) {
            wrong("--help has no example of the command".to_owned());
        }
        if text.contains("{program}") {
            wrong("--help has a placeholder".to_owned());
        }
        let bare =
            command.get_arguments().filter(|option| !option.is_hide_set() && option.get_help().is_none());
        for option in bare {
            wrong(format!("{} has no help", option.get_id()));
        }
        if command.get_arguments().any(is_shared) && !refers(&text, &laid_out) {
            wrong("--help does not say where the shared options are listed".to_owned());
        }
        match page(program.clone(), path) {
            Ok(page) => {
                let page = String::from_utf8_lossy(&page).into_owned();
                if ["NAME", "SYNOPSIS"].iter().any(|section| !page.contains(&format!(".SH {section}"))) {
                    wrong("the manual page is incomplete".to_owned());
                }
            }
            Err(error) => wrong(error.to_string()),
        }
    });
    found
}

/// Returns what `--help` of a command prints.
fn shown_help(program: &Command, path: &[String]) -> String {
    let words = [&[program.get_name().to_owned()][..], path, &["--help".to_owned()]].concat();
    let parsed = help(program.clone()).term_width(WIDTH).try_get_matches_from(words);
    parsed.err().map(|shown| shown.to_string()).unwrap_or_default()
}

/// Returns whether a help text names the command that lists the shared options, and lists none itself.
fn refers(text: &str, program: &Command) -> bool {
    let lists = |option: &Arg| option.get_long().is_some_and(|long| text.contains(&format!("--{long} <")));
    owner(program).is_some_and(|owner| text.contains(&format!("{owner} --help")))
        && !program.get_arguments().filter(|option| is_shared(option)).any(lists)
}

/// Calls `visit` for every command that has no subcommands, with its path below the program.
fn walk(command: &Command, path: &[String], visit: &mut dyn FnMut(&Command, &[String])) {
    // It has all other commands as its own.
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    let below: Vec<_> = below.collect();
    if below.is_empty() {
        visit(command, path);
    }
    for command in below {
        walk(command, &[path, &[command.get_name().to_owned()]].concat(), visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(command: Command) -> Vec<String> {
        problems(&Command::new("shop").about("A shop").subcommand(command))
    }

    #[test]
    fn a_command_needs_an_example_help_for_its_options_and_few_lines() {
        let good = Command::new("sell").about("Sell").after_help("Example:\n  {program} sell lamp");
        assert_eq!(with(good.clone()), Vec::<String>::new());
        assert_eq!(with(Command::new("sell")).len(), 1);
        let other = Command::new("sell").after_help("Example:\n  {program} buy lamp");
        assert!(with(other)[0].contains("no example"));
        assert!(with(good.clone().arg(Arg::new("bare").long("bare")))[0].contains("bare has no help"));
        let names = (0..HELP_LINES_MAX).map(|n| -> &'static str { format!("o{n}").leak() });
        let options = names.map(|name| Arg::new(name).long(name).help("An option"));
        assert!(with(good.args(options))[0].contains("more than 40"));
    }
}
