//! The layout of help texts and manual pages.
//!
//! The options of the connection and the output are the same for many commands. One command of a program lists them, and
//! the others refer to it. Options under [`LESS_COMMON`] are only named by `--help`, and described by the manual page.
//! Examples may contain `{program}`, which stands for the program's name; for the commands below one that lists those
//! options, it stands for that command's path, such as `market admin`.

use clap::{Arg, Command, builder::PossibleValue};

/// The headings of the options that one command lists for all.
const SHARED: [&str; 2] = ["Connection", "Output"];

/// The heading of options that few people need, so that `--help` describes those that most people need on one screen.
pub const LESS_COMMON: &str = "Less common";

/// What is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `--help`, which fits a screen: an option has a line or two, and longer text follows the options.
    Help,
    /// A manual page, which has all details.
    Manual,
}

/// Lays a program's commands out for `--help`. What they parse stays the same.
pub fn help(program: Command) -> Command {
    Layout::of(&program, Form::Help).command(program, None, &[])
}

/// Lays a program's commands out for manual pages.
pub fn manual(program: Command) -> Command {
    Layout::of(&program, Form::Manual).command(program, None, &[])
}

/// Returns whether an option is one of those that one command lists for all.
pub(crate) fn is_shared(option: &Arg) -> bool {
    option.get_help_heading().is_some_and(|heading| SHARED.contains(&heading))
}

fn is_less_common(option: &Arg) -> bool {
    option.get_help_heading() == Some(LESS_COMMON)
}

/// Returns the path of the command that lists the shared options, such as `market admin`; `None` if there are none.
pub(crate) fn owner(program: &Command) -> Option<String> {
    fn find(command: &Command, path: &str) -> Option<String> {
        if command.has_subcommands() && command.get_arguments().any(is_shared) {
            return Some(path.to_owned());
        }
        let mut below = command.get_subcommands();
        below.find_map(|below| find(below, &format!("{path} {}", below.get_name())))
    }
    find(program, program.get_name())
}

struct Layout {
    program: String,
    owner: Option<String>,
    form: Form,
}

impl Layout {
    fn of(program: &Command, form: Form) -> Self {
        Self { program: program.get_name().to_owned(), owner: owner(program), form }
    }

    /// Lays out a command and those below it. `above` is the path of the command above; `inherited` are the shared options
    /// that hold for all commands below it.
    fn command(&self, mut command: Command, above: Option<&str>, inherited: &[Arg]) -> Command {
        let name = command.get_name().to_owned();
        let path = above.map_or_else(|| name.clone(), |above| format!("{above} {name}"));
        let is_owner = self.owner.as_ref() == Some(&path);
        for option in inherited {
            // clap adds them by itself only where they are missing, and as they are above.
            if command.get_arguments().all(|own| own.get_id() != option.get_id()) {
                command = command.arg(option.clone());
            }
        }
        let global: Vec<_> =
            command.get_arguments().filter(|own| own.is_global_set() && is_shared(own)).cloned().collect();
        let refers = !is_owner && command.get_arguments().any(is_shared);
        let less_common = command.get_arguments().filter(|option| is_less_common(option));
        let less_common: Vec<_> =
            less_common.filter_map(|option| option.get_long().map(str::to_owned)).collect();
        command = command.mut_args(|option| {
            let is_elsewhere =
                (is_shared(&option) && !is_owner) || (self.form == Form::Help && is_less_common(&option));
            let option = if is_elsewhere { option.hide(true) } else { option };
            if self.form == Form::Help { compact(option) } else { option }
        });
        let mut notes = Vec::new();
        if self.form == Form::Help && !less_common.is_empty() {
            let page = path.replacen(' ', " man ", 1);
            notes.push(format!("Less common options, described by `{page}`: --{}", less_common.join(", --")));
        }
        if let Some(owner) = self.owner.as_ref().filter(|_| refers) {
            notes.push(format!("Options of the connection and the output: {owner} --help"));
        }
        self.texts(command, &path, notes)
            .mut_subcommands(|below| self.command(below, Some(path.as_str()), &global))
    }

    /// Sets the text after the options, which ends with the notes.
    fn texts(&self, command: Command, path: &str, notes: Vec<String>) -> Command {
        let is_below = |owner: &&String| path == *owner || path.starts_with(&format!("{owner} "));
        let program = self.owner.as_ref().filter(is_below).unwrap_or(&self.program);
        let mut parts = Vec::new();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        if self.form == Form::Help && !long.is_empty() {
            // It begins with the short text, which the help shows before the usage.
            let rest = long.strip_prefix(about.as_str()).unwrap_or(&long);
            parts.push(rest.trim_start_matches('.').trim().to_owned());
        }
        parts.extend(command.get_after_help().map(|text| text.to_string().replace("{program}", program)));
        parts.extend(notes);
        parts.retain(|part| !part.is_empty());
        let command =
            if self.form == Form::Help { command.long_about(None::<&'static str>) } else { command };
        if parts.is_empty() { command } else { command.after_help(parts.join("\n\n")) }
    }
}

/// Shortens an option to what fits a line or two: the values that it may have are named, but not described.
fn compact(option: Arg) -> Arg {
    let option = option.long_help(None::<&'static str>);
    let values = option.get_possible_values();
    if option.is_hide_possible_values_set() || values.iter().all(|value| value.get_help().is_none()) {
        return option;
    }
    let shown = values.iter().filter(|value| !value.is_hide_set()).map(PossibleValue::get_name);
    let names = shown.collect::<Vec<_>>().join(", ");
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    option.help(format!("{help} [{names}]")).hide_possible_values(true)
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn program() -> Command {
        let option = |name: &'static str| Arg::new(name).long(name).help("An option").global(true);
        let sell =
            Command::new("sell").about("Sell an item").long_about("Sell an item.\n\nBuyers see it at once");
        let sell = sell.after_help("Example:\n  {program} sell lamp").arg(
            Arg::new("kind").long("kind").help("The kind").value_parser([
                PossibleValue::new("old").help("Used before"),
                PossibleValue::new("new").help("Never used"),
            ]),
        );
        Command::new("shop")
            .arg(option("market").help_heading("Connection"))
            .arg(option("verbose").action(ArgAction::SetTrue))
            .subcommand(sell)
            .subcommand(
                Command::new("ride").about("Rides").subcommand(Command::new("end").about("End a ride")),
            )
    }

    fn shown(path: &[&str], of: fn(Command) -> Command) -> String {
        let mut command = of(program());
        command.build();
        let found = path.iter().try_fold(&mut command, |command, name| command.find_subcommand_mut(name));
        found.unwrap().render_long_help().to_string()
    }

    #[test]
    fn one_command_lists_the_shared_options_and_the_others_refer_to_it() {
        assert!(shown(&[], help).contains("--market"));
        for path in [&["sell"][..], &["ride"], &["ride", "end"]] {
            let text = shown(path, help);
            assert!(!text.contains("--market") && text.contains("--verbose"), "{text}");
            assert!(
                text.trim_end().ends_with("Options of the connection and the output: shop --help"),
                "{text}"
            );
        }
    }

    #[test]
    fn less_common_options_are_named_and_the_manual_describes_them() {
        let rare = Arg::new("rare").long("rare").help("A rare option").help_heading(LESS_COMMON);
        let of = |form: fn(Command) -> Command| {
            let sell = Command::new("sell").arg(rare.clone());
            let mut command = form(Command::new("shop").subcommand(sell));
            command.build();
            command.find_subcommand_mut("sell").unwrap().render_long_help().to_string()
        };
        assert!(
            of(help).contains("described by `shop man sell`: --rare") && !of(help).contains("A rare option")
        );
        assert!(of(manual).contains("A rare option"));
    }

    #[test]
    fn examples_name_the_command_that_lists_the_shared_options() {
        let example =
            |name: &'static str| Command::new(name).about("About").after_help("Example:\n  {program} x");
        let market = Arg::new("market").long("market").help("Where").help_heading("Connection");
        let admin = Command::new("admin").arg(market.global(true)).subcommand(example("x"));
        let mut command = help(Command::new("shop").subcommand(admin).subcommand(example("y")));
        command.build();
        let mut shown = |path: &[&str]| {
            let found = path.iter().try_fold(&mut command, |command, name| command.find_subcommand_mut(name));
            found.unwrap().render_long_help().to_string()
        };
        assert!(shown(&["admin", "x"]).contains("\n  shop admin x\n"));
        assert!(shown(&["y"]).contains("\n  shop x\n"));
    }

    #[test]
    fn hidden_options_are_still_parsed_everywhere() {
        for line in [["shop", "--market", "a", "ride", "end"], ["shop", "ride", "end", "--market", "a"]] {
            let matches = help(program()).try_get_matches_from(line).unwrap();
            assert_eq!(matches.get_one::<String>("market").map(String::as_str), Some("a"), "{line:?}");
        }
    }

    #[test]
    fn help_is_short_and_a_manual_has_the_details() {
        let text = shown(&["sell"], help);
        assert!(text.contains("The kind [old, new]") && !text.contains("Used before"), "{text}");
        assert!(text.contains("\n\nBuyers see it at once\n\nExample:\n  shop sell lamp\n"), "{text}");
        let text = shown(&["sell"], manual);
        assert!(text.contains("Used before") && text.contains("Example:\n  shop sell lamp"), "{text}");
    }
}
