//! The settings file of a command line: its keys are the long names of flags, without the dashes, and a value is parsed as
//! the flag's would be.

use std::{
    error::Error as _,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Args, Command,
    builder::ValueHint,
    error::{ContextKind, ContextValue},
};
use souk_settings::{Entry, SettingsError, SettingsFile, closest};
use toml::Value;

use crate::Failure;

/// The flags that can't be in the file: the one that names it, and the one whose value `context use` keeps.
const NOT_IN_THE_FILE: [&str; 2] = ["config", "context"];

/// Reads a settings file.
///
/// # Errors
/// It can't be read, it is not TOML, a key is none of the flags, or a value is malformed.
pub(super) fn read<F: Args>(path: &Path) -> Result<F, Failure> {
    let file = SettingsFile::read(path)?;
    let flags = flags::<F>();
    let mut given = Vec::new();
    for entry in file.entries() {
        let words = words(&file, entry, flag(&file, entry, &flags)?)?;
        // Each one alone, so that a mistake is known to be in its line.
        flags
            .clone()
            .try_get_matches_from(&words)
            .map_err(|error| file.wrong_value(entry, problem(&error)))?;
        given.extend(words);
    }
    let all = flags.try_get_matches_from(given).and_then(|matches| F::from_arg_matches(&matches));
    all.map_err(|error| Failure::usage(problem(&error), format!("correct {}", path.display())))
}

/// Returns the flags without their environment variables, which have precedence over the file.
fn flags<F: Args>() -> Command {
    let bare =
        Command::new("settings").no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
    F::augment_args(bare).mut_args(|flag| flag.env(None::<&'static str>))
}

/// Returns the keys of the file.
fn keys(flags: &Command) -> impl Iterator<Item = &str> {
    flags.get_arguments().filter_map(Arg::get_long).filter(|key| !NOT_IN_THE_FILE.contains(key))
}

/// Returns the flag that an entry sets.
fn flag<'a>(file: &SettingsFile, entry: &Entry, flags: &'a Command) -> Result<&'a Arg, SettingsError> {
    let name = entry.name();
    let found = flags.get_arguments().find(|flag| flag.get_long() == Some(name.as_str()));
    found.filter(|_| !NOT_IN_THE_FILE.contains(&name.as_str())).ok_or_else(|| {
        let mut known: Vec<_> = keys(flags).collect();
        known.sort_unstable();
        let instead = match closest(&name, keys(flags)) {
            Some(key) => format!("did you mean `{key}`?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        file.wrong_key(entry, format!("there is no key `{name}`; {instead}"))
    })
}

/// Converts an entry to the words of a command line.
fn words(file: &SettingsFile, entry: &Entry, flag: &Arg) -> Result<Vec<OsString>, SettingsError> {
    let name = flag.get_long().unwrap_or_default();
    let wrong = |expected: &str| Err(file.wrong_value(entry, format!("`{name}` is {expected}")));
    let texts: Vec<_> = match (flag.get_action(), entry.value()) {
        (ArgAction::SetTrue, Value::Boolean(true)) => return Ok(vec![format!("--{name}").into()]),
        (ArgAction::SetTrue, Value::Boolean(false)) => return Ok(Vec::new()),
        (ArgAction::SetTrue, _) => return wrong("true or false"),
        (ArgAction::Append, Value::Array(values)) => values.iter().map(text).collect(),
        (_, value) => vec![text(value)],
    };
    let Some(texts) = texts.into_iter().collect::<Option<Vec<_>>>() else {
        return match flag.get_action() {
            ArgAction::Append => wrong("a text in quotes, or a list of them in brackets"),
            _ => wrong("a text in quotes"),
        };
    };
    let is_path =
        matches!(flag.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath);
    let value = |text: String| if is_path { file.resolved(&text) } else { PathBuf::from(text) };
    let word = |text: String| {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value(text));
        word
    };
    Ok(texts.into_iter().map(word).collect())
}

/// Returns the text of a value: of a text itself, and of a number, since a flag's value may be one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns what is wrong with a value, without the parts of the message that are about command lines.
fn problem(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return souk_help::expected(source).unwrap_or_else(|| source.to_string());
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("the value is one of {}", values.join(", "))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::{CommonFlags, Output};

    fn read_text(text: &str) -> Result<CommonFlags, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seller.toml");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn every_common_flag_is_a_key_with_an_effect() {
        let unset = format!("{:?}", CommonFlags::default());
        let flags = flags::<CommonFlags>();
        for key in keys(&flags) {
            let value = match key {
                "market" => "[\"a.example.org:1\", \"b.example.org:2\"]",
                "listen" | "advertise" => "\"192.0.2.7:7443\"",
                "timeout" => "\"3s\"",
                "output" => "\"json\"",
                "currency" => "\"GBP\"",
                "time" => "\"utc\"",
                _ if matches!(
                    flags.get_arguments().find(|flag| flag.get_long() == Some(key)).unwrap().get_action(),
                    ArgAction::SetTrue
                ) =>
                {
                    "true"
                }
                _ => "\"text\"",
            };
            let set = read_text(&format!("{key} = {value}")).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_ne!(format!("{set:?}"), unset, "{key} has no effect");
        }
    }

    #[test]
    fn values_are_parsed_as_those_of_flags() {
        let flags =
            read_text("timeout = 10\noutput = \"ndjson\"\ntimings = false\nmarket = \"a:1\"").unwrap();
        assert_eq!(flags.timeout, Some(Duration::from_secs(10)));
        assert_eq!(
            (flags.output, flags.timings, flags.market),
            (Some(Output::Ndjson), false, vec!["a:1".into()])
        );
    }

    #[test]
    fn mistakes_are_reported_with_their_line_and_what_is_right() {
        for (text, line, told) in [
            ("cert = \"a.pem\"\nmarkt = \"x:1\"", 2, "did you mean `market`?"),
            ("colour = false", 1, "the keys are advertise, ca, cert"),
            ("config = \"other.toml\"", 1, "there is no key `config`"),
            ("context = \"alice\"", 1, "there is no key `context`"),
            ("[market]\nhost = \"x\"", 2, "there is no key `market.host`"),
            ("\ntimeout = \"soon\"", 2, "write it like 500ms, 10s or 2m"),
            ("output = \"xml\"", 1, "one of table, json, ndjson, csv"),
            ("listen = \"nowhere\"", 1, "such as 127.0.0.1:7443"),
            ("cert = \"a.pem\"\nmarket = [\"a:1\", \"nowhere\"]", 2, "write HOST:PORT"),
            ("listen = true", 1, "`listen` is a text in quotes"),
            ("market = [true]", 1, "or a list of them"),
            ("timings = \"yes\"", 1, "`timings` is true or false"),
            ("cert = a.pem", 1, "quoted"),
        ] {
            let failure = read_text(text).unwrap_err();
            let shown = failure.to_string();
            assert!(shown.contains(&format!("wrong in line {line}: ")), "{text}: {shown}");
            assert!(shown.contains(told), "{text}: {shown}");
            assert!(shown.contains('^') && !shown.contains("\\u{"), "{text}: {shown}");
            assert_eq!(failure.exit_code(), crate::exit::USAGE, "{text}");
        }
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seller.toml");
        fs::write(&path, "cert = \"pki/alice.pem\"\nca = \"/etc/souk/ca.pem\"\nconsumer = \"shop\"").unwrap();
        let flags: CommonFlags = read(&path).unwrap();
        assert_eq!(flags.cert, Some(folder.path().join("pki/alice.pem")));
        assert_eq!(flags.ca, Some("/etc/souk/ca.pem".into()));
        assert_eq!(flags.consumer.as_deref(), Some("shop"));
    }
}
