//! Settings of searches.

use std::path::PathBuf;

use serde::Deserialize;
use souk_search::{Languages, Synonyms};

use super::ConfigError;

/// How the words of items and queries are understood.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    languages: Vec<String>,
    /// The words that are searched for together.
    pub synonyms: SynonymSource,
}

/// Where the synonyms come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "give the path of a file in quotes, or a list of lines")]
pub enum SynonymSource {
    /// The lines of a file, which is read again when it changes.
    File(PathBuf),
    /// The lines themselves.
    Lines(Vec<String>),
}

impl SearchConfig {
    /// Returns the languages whose inflections are searched across.
    ///
    /// # Errors
    ///
    /// Fails if one is unknown.
    pub fn languages(&self) -> Result<Languages, ConfigError> {
        let wrong = |problem| ConfigError::OutOfBounds { key: "search.languages", problem };
        Languages::parse(&self.languages).map_err(|error| wrong(error.to_string()))
    }

    /// Checks everything but the contents of the file of synonyms.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.languages()?;
        if let SynonymSource::Lines(lines) = &self.synonyms {
            read_lines(lines)?;
        }
        Ok(())
    }
}

/// Reads synonyms from the settings.
///
/// # Errors
///
/// Fails if a line can't be read.
pub(crate) fn read_lines(lines: &[String]) -> Result<Synonyms, ConfigError> {
    Synonyms::parse(&lines.join("\n"))
        .map_err(|error| ConfigError::OutOfBounds { key: "search.synonyms", problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load;

    #[test]
    fn languages_and_synonyms_are_read() {
        let config = load("").unwrap().search;
        assert_eq!(config.languages().unwrap().codes(), ["ar", "de", "el", "en", "es", "fr", "hi", "ru"]);
        assert_eq!(config.synonyms, SynonymSource::Lines(Vec::new()));
        let config = load("[search]\nlanguages = [\"it\"]\nsynonyms = \"synonyms.txt\"").unwrap().search;
        assert_eq!(config.languages().unwrap().codes(), ["it"]);
        // Relative to the settings file.
        let SynonymSource::File(file) = config.synonyms else { panic!("a file") };
        assert!(file.is_absolute() && file.ends_with("synonyms.txt"), "{file:?}");
        let SynonymSource::Lines(lines) =
            load("[search]\nsynonyms = [\"sofa, couch\"]").unwrap().search.synonyms
        else {
            panic!("lines")
        };
        assert_eq!(read_lines(&lines).unwrap().len(), 2);
    }

    #[test]
    fn wrong_languages_and_synonyms_are_refused_with_what_to_do() {
        for (text, expected) in [
            ("languages = [\"xx\"]", "search.languages is wrong: unknown language \"xx\"; use some of: ar, "),
            (
                "synonyms = [\"sofa, couch\", \"tv\"]",
                "search.synonyms is wrong: line 2 has a single word; write `sofa, couch`",
            ),
        ] {
            let error = load(&format!("[search]\n{text}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
