//! Where the values of the common flags were given: the group of files that name a party must come from one source, and
//! `context show` prints the source of every value.

use std::collections::BTreeMap;

use clap::{ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use serde::Serialize;

/// The source of a value, in the order in which they are consulted. A context that was named with `--context` counts as
/// a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A flag on the command line.
    Flag,
    /// An environment variable, `SOUK_*`.
    Variable,
    /// The context in use.
    Context,
    /// The settings file.
    File,
    /// No source: the value is the default, or there is none.
    Default,
}

/// The values as they were given, and where, by the names of their flags. It has no flags of its own: as a part of other
/// flags, it records them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<String, (Origin, String)>);

impl Given {
    /// Returns the source of a flag's value. `None` if it was not given.
    pub(crate) fn origin(&self, flag: &str) -> Option<Origin> {
        self.0.get(flag).map(|(origin, _)| *origin)
    }

    /// Returns the text of a flag's value, and where it was given.
    pub(crate) fn value(&self, flag: &str) -> Option<(&str, Origin)> {
        self.0.get(flag).map(|(origin, text)| (text.as_str(), *origin))
    }

    /// Returns the values as those of another source, such as a settings file, whose values are parsed as flags.
    pub(crate) fn of(self, origin: Origin) -> Self {
        Self(self.0.into_iter().map(|(flag, (_, text))| (flag, (origin, text))).collect())
    }

    /// Returns these values; where they are not given, those of the settings file.
    pub(crate) fn over(self, file: Self) -> Self {
        let mut all = file.0;
        all.extend(self.0);
        Self(all)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for id in matches.ids().map(clap::Id::as_str) {
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Origin::Flag,
                Some(ValueSource::EnvVariable) => Origin::Variable,
                _ => continue,
            };
            let texts = matches.get_raw(id).into_iter().flatten().map(|text| text.to_string_lossy());
            let text = texts.collect::<Vec<_>>().join(",");
            let text = if text.is_empty() { "true".to_owned() } else { text };
            self.0.insert(id.replace('_', "-"), (origin, text));
        }
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommonFlags;

    #[test]
    fn values_are_known_with_their_source_wherever_the_flag_stands() {
        let program = CommonFlags::augment_args(Command::new("seller")).subcommand(Command::new("items"));
        let read = |words: &[&str]| {
            let matches = program.clone().try_get_matches_from(words).unwrap();
            CommonFlags::from_arg_matches(&matches).unwrap().given
        };
        for words in [["seller", "--cert", "a.pem", "items"], ["seller", "items", "--cert", "a.pem"]] {
            let given = read(&words);
            assert_eq!(given.value("cert"), Some(("a.pem", Origin::Flag)));
            assert_eq!(given.origin("key"), None);
        }
        let given = read(&["seller", "--market", "a:1", "--market", "b:2", "--no-color"]);
        assert_eq!(given.value("market"), Some(("a:1,b:2", Origin::Flag)));
        assert_eq!(given.value("no-color"), Some(("true", Origin::Flag)));
        let file = read(&["seller", "--cert", "b.pem", "--timeout", "3s"]).of(Origin::File);
        let both = read(&["seller", "--cert", "a.pem"]).over(file);
        assert_eq!(both.value("cert"), Some(("a.pem", Origin::Flag)));
        assert_eq!(both.value("timeout"), Some(("3s", Origin::File)));
    }
}
