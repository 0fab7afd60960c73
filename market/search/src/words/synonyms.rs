//! The operator's synonyms, which are applied to queries.
//!
//! They are read from text, one rule a line:
//!
//! ```text
//! # Words that mean the same: a search for one also finds the others.
//! sofa, couch, settee
//! # A search for what is on the left also finds what is on the right, but not the other way round.
//! tv, telly => television
//! t shirt => tee
//! ```

use std::collections::HashMap;

use super::{
    fold::{fold, fold_all, normalized},
    scripts,
    split::pieces,
};

/// Words that are searched for together with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synonyms {
    /// What phrases also mean. A phrase is its folded words, separated by spaces.
    meanings: HashMap<String, Vec<Vec<String>>>,
    /// The number of words of the longest phrase.
    longest: usize,
}

/// A line of synonyms that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct SynonymError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl Synonyms {
    /// The maximum number of lines with synonyms.
    pub const MAX_RULES: usize = 10_000;
    /// The maximum length of the text in bytes.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The maximum number of words or phrases in a line.
    pub const MAX_ALTERNATIVES: usize = 16;
    /// The maximum number of words in a phrase.
    pub const MAX_PHRASE_WORDS: usize = 4;

    /// Reads synonyms. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    ///
    /// Fails at the first line that can't be read.
    pub fn parse(text: &str) -> Result<Self, SynonymError> {
        if text.len() > Self::MAX_BYTES {
            return Err(SynonymError {
                line: 1,
                problem: format!("begins a text of more than {} bytes; shorten it", Self::MAX_BYTES),
            });
        }
        let mut synonyms = Self::default();
        let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines().map(str::trim));
        let rules = lines.filter(|(_, rule)| !rule.is_empty() && !rule.starts_with('#'));
        for (number, (line, rule)) in rules.enumerate() {
            if number == Self::MAX_RULES {
                let problem = format!("is one more than the {} that are read; remove some", Self::MAX_RULES);
                return Err(SynonymError { line, problem });
            }
            synonyms.add(rule).map_err(|problem| SynonymError { line, problem })?;
        }
        Ok(synonyms)
    }

    /// Returns the number of words and phrases that have synonyms.
    pub fn len(&self) -> usize {
        self.meanings.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.meanings.is_empty()
    }

    /// Returns the number of words of the longest phrase that has synonyms.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Returns what a phrase also means: alternatives, each of one or more words.
    pub(super) fn of(&self, phrase: &str) -> &[Vec<String>] {
        self.meanings.get(phrase).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, rule: &str) -> Result<(), String> {
        let mut sides = rule.split("=>");
        match (sides.next(), sides.next(), sides.next()) {
            (Some(all), None, _) => {
                let all = phrases(all)?;
                if all.len() < 2 {
                    return Err("has a single word; write `sofa, couch` or `tv => television`".to_owned());
                }
                for phrase in &all {
                    let others = all.iter().filter(|other| *other != phrase);
                    self.add_meanings(phrase, others);
                }
            }
            (Some(from), Some(to), None) => {
                let (from, to) = (phrases(from)?, phrases(to)?);
                for phrase in &from {
                    self.add_meanings(phrase, to.iter().filter(|other| *other != phrase));
                }
            }
            _ => return Err("has more than one `=>`; write one rule a line".to_owned()),
        }
        Ok(())
    }

    fn add_meanings<'a>(&mut self, phrase: &[String], others: impl Iterator<Item = &'a Vec<String>>) {
        let known = self.meanings.entry(phrase.join(" ")).or_default();
        for other in others {
            // A bound for all rules together, because each alternative costs every query of the phrase.
            if known.len() < Self::MAX_ALTERNATIVES && !known.contains(other) {
                known.push(other.clone());
            }
        }
        self.longest = self.longest.max(phrase.len());
    }
}

/// Reads words or phrases, separated by commas.
fn phrases(text: &str) -> Result<Vec<Vec<String>>, String> {
    let phrases: Vec<Vec<String>> = text.split(',').map(phrase).collect::<Result<_, _>>()?;
    if phrases.len() > Synonyms::MAX_ALTERNATIVES {
        return Err(format!("has more than {} words; split it", Synonyms::MAX_ALTERNATIVES));
    }
    Ok(phrases)
}

fn phrase(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let normalized = normalized(text);
    for piece in pieces(&normalized) {
        if piece.is_unspaced {
            scripts::pairs(&fold_all(piece.text), |pair| words.push(pair.to_owned()));
        } else {
            words.push(fold(piece.text));
        }
    }
    match words.len() {
        0 => Err(format!("has no word in {:?}; remove what separates it, or write the word", text.trim())),
        1..=Synonyms::MAX_PHRASE_WORDS => Ok(words),
        _ => Err(format!(
            "has more than {} words in {:?}; shorten it",
            Synonyms::MAX_PHRASE_WORDS,
            text.trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rules: &str, phrase: &str) -> Vec<String> {
        Synonyms::parse(rules).unwrap().of(phrase).iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn equal_words_mean_each_other() {
        let rules = "sofa, Couch ,SETTEE\n";
        assert_eq!(of(rules, "sofa"), ["couch", "settee"]);
        assert_eq!(of(rules, "settee"), ["sofa", "couch"]);
        assert_eq!(of(rules, "chair"), [""; 0]);
    }

    #[test]
    fn arrows_lead_one_way() {
        let rules = "# televisions\n\n  tv, telly => Television, tv set\r\n";
        assert_eq!(of(rules, "tv"), ["television", "tv set"]);
        assert_eq!(of(rules, "telly"), ["television", "tv set"]);
        assert_eq!(of(rules, "television"), [""; 0]);
    }

    #[test]
    fn rules_of_several_lines_add_up_without_repetitions() {
        assert_eq!(of("a, b\na => c\nb, a", "a"), ["b", "c"]);
    }

    #[test]
    fn phrases_are_split_like_queries() {
        assert_eq!(of("T-Shirt => tee", "t shirt"), ["tee"]);
        assert_eq!(Synonyms::parse("wireless local area net, wlan\nx => y").unwrap().longest(), 4);
        assert_eq!(of("手表 => 腕時計", "手表"), ["腕時 時計"]);
    }

    #[test]
    fn errors_name_the_line_and_what_to_do() {
        let many: String = (0..17).map(|number| format!("w{number},")).collect::<String>() + "x";
        for (rules, expected) in [
            ("a, b\n\nsofa", "line 3 has a single word; write `sofa, couch` or `tv => television`"),
            ("a => b => c", "line 1 has more than one `=>`; write one rule a line"),
            ("a,, b", "line 1 has no word in \"\"; remove what separates it, or write the word"),
            ("a =>", "line 1 has no word in \"\"; remove what separates it, or write the word"),
            ("# x\n!!! => b", "line 2 has no word in \"!!!\"; remove what separates it, or write the word"),
            ("a, b c d e f", "line 1 has more than 4 words in \"b c d e f\"; shorten it"),
            (&many, "line 1 has more than 16 words; split it"),
        ] {
            assert_eq!(Synonyms::parse(rules).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_number_of_rules_is_bounded() {
        let rules =
            |count: usize| (0..count).map(|number| format!("a{number}, b{number}\n")).collect::<String>();
        assert_eq!(Synonyms::parse(&rules(Synonyms::MAX_RULES)).unwrap().len(), 2 * Synonyms::MAX_RULES);
        assert_eq!(
            Synonyms::parse(&rules(Synonyms::MAX_RULES + 1)).unwrap_err().line,
            Synonyms::MAX_RULES + 1
        );
        assert!(Synonyms::parse(&"#".repeat(Synonyms::MAX_BYTES + 1)).is_err());
    }
}
