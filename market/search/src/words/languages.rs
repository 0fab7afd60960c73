//! The languages whose inflections and compounds are searched across.

use std::{fmt, sync::Arc};

use frostem::{Algorithm, Stemmer};
use quick_cache::sync::Cache;

use super::{compounds, english, fold::fold, terms::stem};

/// The languages whose words are found in all their inflections, such as `watches` by `watch`. With German among them,
/// its compounds are found by their parts, such as `Lederschuhe` by `Schuhe`.
///
/// Clones share one cache of what was computed about words.
#[derive(Clone, Default)]
pub struct Languages {
    /// `None` if there are none.
    shared: Option<Arc<Shared>>,
}

/// A language code that [`Languages::parse`] does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown language {code:?}; use some of: {}", Languages::CODES.map(|(code, ..)| code).join(", "))]
pub struct UnknownLanguage {
    /// The code.
    pub code: String,
}

/// What is known about a word.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Related {
    /// Its distinct stems, folded. One may be the word itself.
    pub(super) stems: Vec<String>,
    /// The parts of a compound: each as it stands in the word, and as a word by itself.
    pub(super) parts: Vec<(String, String)>,
    /// The terms under which the word is indexed besides itself.
    pub(super) terms: Vec<String>,
}

struct Shared {
    codes: Vec<&'static str>,
    stemmers: Vec<(Script, Stemmer)>,
    has_compounds: bool,
    cache: Cache<Box<str>, Arc<Related>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Arabic,
    Devanagari,
    Tamil,
}

/// The number of words whose stems are remembered: the frequent ones make up nearly all of a text.
const REMEMBERED_WORDS: usize = 65_536;
/// Shorter words have no inflections that could be told from other words.
const MIN_LETTERS: usize = 3;
/// Longer ones are not words of a language.
const MAX_LETTERS: usize = 40;

impl Languages {
    /// The languages by their codes (ISO 639-1).
    const CODES: [(&'static str, Script, Algorithm); 31] = [
        ("ar", Script::Arabic, Algorithm::Arabic),
        ("ca", Script::Latin, Algorithm::Catalan),
        ("cs", Script::Latin, Algorithm::Czech),
        ("da", Script::Latin, Algorithm::Danish),
        ("de", Script::Latin, Algorithm::German),
        ("el", Script::Greek, Algorithm::Greek),
        ("en", Script::Latin, Algorithm::English),
        ("es", Script::Latin, Algorithm::Spanish),
        ("et", Script::Latin, Algorithm::Estonian),
        ("eu", Script::Latin, Algorithm::Basque),
        ("fa", Script::Arabic, Algorithm::Persian),
        ("fi", Script::Latin, Algorithm::Finnish),
        ("fr", Script::Latin, Algorithm::French),
        ("ga", Script::Latin, Algorithm::Irish),
        ("hi", Script::Devanagari, Algorithm::Hindi),
        ("hu", Script::Latin, Algorithm::Hungarian),
        ("hy", Script::Armenian, Algorithm::Armenian),
        ("id", Script::Latin, Algorithm::Indonesian),
        ("it", Script::Latin, Algorithm::Italian),
        ("lt", Script::Latin, Algorithm::Lithuanian),
        ("ne", Script::Devanagari, Algorithm::Nepali),
        ("nl", Script::Latin, Algorithm::Dutch),
        ("no", Script::Latin, Algorithm::Norwegian),
        ("pl", Script::Latin, Algorithm::Polish),
        ("pt", Script::Latin, Algorithm::Portuguese),
        ("ro", Script::Latin, Algorithm::Romanian),
        ("ru", Script::Cyrillic, Algorithm::Russian),
        ("sv", Script::Latin, Algorithm::Swedish),
        ("ta", Script::Tamil, Algorithm::Tamil),
        ("tr", Script::Latin, Algorithm::Turkish),
        ("uk", Script::Cyrillic, Algorithm::Ukrainian),
    ];

    /// Selects languages by their codes (ISO 639-1). Duplicates are ignored.
    ///
    /// # Errors
    ///
    /// Fails at the first code that is not known. The error lists those that are.
    pub fn parse<S: AsRef<str>>(codes: &[S]) -> Result<Self, UnknownLanguage> {
        let mut chosen = Vec::new();
        for code in codes {
            let code = code.as_ref();
            let known = Self::CODES.iter().find(|(known, ..)| *known == code);
            let language = known.ok_or_else(|| UnknownLanguage { code: code.to_owned() })?;
            if !chosen.contains(&language) {
                chosen.push(language);
            }
        }
        if chosen.is_empty() {
            return Ok(Self::default());
        }
        // The order must not matter, or an index would be rebuilt without need.
        chosen.sort_unstable_by_key(|(code, ..)| *code);
        let shared = Shared {
            codes: chosen.iter().map(|(code, ..)| *code).collect(),
            stemmers: chosen
                .iter()
                .map(|(_, script, algorithm)| (*script, Stemmer::new(*algorithm)))
                .collect(),
            has_compounds: chosen.iter().any(|(code, ..)| *code == "de"),
            cache: Cache::new(REMEMBERED_WORDS),
        };
        Ok(Self { shared: Some(Arc::new(shared)) })
    }

    /// Returns the codes of the languages, in alphabetic order.
    pub fn codes(&self) -> &[&'static str] {
        self.shared.as_ref().map_or(&[], |shared| &shared.codes)
    }

    /// Returns what is related to a word, or `None` if nothing can be. `word` is the word as it stands in normalized
    /// text, of which the stemmers of some languages need the accents.
    pub(super) fn related(&self, word: &str, folded: &str) -> Option<Arc<Related>> {
        let shared = self.shared.as_deref()?;
        let script = script(folded)?;
        if shared.stemmers.iter().all(|(of, _)| *of != script) {
            return None;
        }
        if word.is_ascii() {
            // Without accents, the folded form is all there is.
            return shared.related(script, folded, folded);
        }
        shared.related(script, &word.to_lowercase(), folded)
    }
}

impl Shared {
    fn related(&self, script: Script, word: &str, folded: &str) -> Option<Arc<Related>> {
        if let Some(known) = self.cache.get(word) {
            return Some(known);
        }
        let letters = folded.chars().count();
        if !(MIN_LETTERS..=MAX_LETTERS).contains(&letters)
            || folded.chars().any(|c| c.is_numeric() || c.is_ascii_punctuation())
        {
            return None;
        }
        let stems = self.stems(script, word, folded);
        // A word that is its own stem is found as a word.
        let mut terms: Vec<String> = stems.iter().filter(|stem| *stem != folded).map(|of| stem(of)).collect();
        let has_compounds = self.has_compounds && script == Script::Latin;
        let parts = if has_compounds { compounds::split(folded) } else { Vec::new() };
        for part in compounds::words(&parts) {
            let stems = self.stems(script, &part, &part);
            terms.extend(stems.iter().filter(|stem| **stem != part).map(|of| stem(of)));
            terms.push(part);
        }
        terms.sort_unstable();
        terms.dedup();
        let related = Arc::new(Related { stems, parts, terms });
        self.cache.insert(word.into(), Arc::clone(&related));
        Some(related)
    }

    fn stems(&self, script: Script, word: &str, folded: &str) -> Vec<String> {
        let mut stems = Vec::new();
        let forms = if word == folded { &[word][..] } else { &[word, folded] };
        for (_, stemmer) in self.stemmers.iter().filter(|(of, _)| *of == script) {
            for form in forms {
                let stem = stem_of(stemmer, form);
                if stem.chars().nth(1).is_some() && !stems.contains(&stem) {
                    stems.push(stem);
                }
            }
        }
        stems
    }
}

fn stem_of(stemmer: &Stemmer, word: &str) -> String {
    if stemmer.algorithm() == Algorithm::English
        && let Some(singular) = english::singular(word)
    {
        return stemmer.stem(&singular).into_owned();
    }
    fold(&stemmer.stem(word))
}

/// Returns the script of a word's first letter, if any language of it is known.
fn script(folded: &str) -> Option<Script> {
    Some(match folded.chars().next()? {
        'a'..='z' | '\u{df}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
        '\u{370}'..='\u{3ff}' => Script::Greek,
        '\u{400}'..='\u{52f}' => Script::Cyrillic,
        '\u{531}'..='\u{58f}' => Script::Armenian,
        '\u{620}'..='\u{6ff}' => Script::Arabic,
        '\u{900}'..='\u{97f}' => Script::Devanagari,
        '\u{b80}'..='\u{bff}' => Script::Tamil,
        _ => return None,
    })
}

impl fmt::Debug for Languages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Languages").field(&self.codes()).finish()
    }
}

impl PartialEq for Languages {
    fn eq(&self, other: &Self) -> bool {
        self.codes() == other.codes()
    }
}

impl Eq for Languages {}

#[cfg(test)]
mod tests {
    use super::{super::fold::normalized, *};

    fn stems(codes: &[&str], word: &str) -> Vec<String> {
        let word = normalized(word);
        let related = Languages::parse(codes).unwrap().related(&word, &fold(&word));
        related.map(|related| related.stems.clone()).unwrap_or_default()
    }

    fn share_a_stem(code: &str, one: &str, other: &str) -> bool {
        let others = stems(&[code], other);
        stems(&[code], one).iter().any(|stem| others.contains(stem))
    }

    #[test]
    fn inflections_share_a_stem() {
        for (code, one, other) in [
            ("en", "watch", "Watches"),
            ("en", "knife", "KNIVES"),
            ("en", "shelf", "shelves"),
            ("en", "mouse", "mice"),
            ("en", "strawberry", "strawberries"),
            ("en", "box", "boxes"),
            ("en", "woman", "women"),
            ("en", "bookshelf", "bookshelves"),
            ("de", "Tasse", "Tassen"),
            ("de", "Buch", "Bücher"),
            ("de", "Messerblock", "Messerblöcke"),
            ("de", "Bratpfanne", "Bratpfannen"),
            ("fr", "chaise", "chaises"),
            ("fr", "couteau", "couteaux"),
            ("fr", "théière", "THEIERES"),
            ("es", "camión", "camiones"),
            ("es", "cuchillo", "cuchillos"),
            ("it", "tazza", "tazze"),
            ("pt", "mesa", "mesas"),
            ("nl", "lamp", "lampen"),
            ("sv", "lampa", "lampor"),
            ("da", "stol", "stole"),
            ("no", "stol", "stoler"),
            ("tr", "bardak", "bardaklar"),
            ("tr", "kapı", "kapılar"),
            ("hu", "pohár", "poharak"),
            ("ru", "лампа", "лампы"),
            ("ru", "чашка", "ЧАШКИ"),
            ("uk", "лампа", "лампи"),
            ("el", "λάμπα", "ΛΆΜΠΕΣ"),
            ("ar", "كتاب", "الكتاب"),
            ("hi", "किताब", "किताबें"),
        ] {
            assert!(
                share_a_stem(code, one, other),
                "{code}: {:?} {:?}",
                stems(&[code], one),
                stems(&[code], other)
            );
        }
    }

    #[test]
    fn different_words_keep_different_stems() {
        for (code, one, other) in [("en", "lamp", "lamb"), ("en", "mug", "mugger"), ("de", "Tasse", "Tasche")]
        {
            assert!(!share_a_stem(code, one, other), "{one} {other}");
        }
    }

    #[test]
    fn only_words_of_a_languages_script_have_stems() {
        assert_eq!(stems(&[], "watches"), [""; 0]);
        assert_eq!(stems(&["ru"], "watches"), [""; 0]);
        assert_eq!(stems(&["en"], "лампы"), [""; 0]);
        for word in ["10mm", "as", "c++", &"x".repeat(MAX_LETTERS + 1)] {
            assert_eq!(stems(&["en", "de"], word), [""; 0], "{word}");
        }
        assert_eq!(stems(&["en", "de", "fr"], "watches"), ["watch"], "each once");
    }

    #[test]
    fn a_word_is_looked_up_once_and_then_remembered() {
        let languages = Languages::parse(&["en"]).unwrap();
        let first = languages.related("watches", "watches").unwrap();
        assert!(Arc::ptr_eq(&first, &languages.clone().related("watches", "watches").unwrap()));
    }

    #[test]
    fn codes_are_sorted_and_unknown_ones_refused() {
        let languages = Languages::parse(&["fr", "en", "fr"]).unwrap();
        assert_eq!(languages.codes(), ["en", "fr"]);
        assert_eq!(languages, Languages::parse(&["en", "fr"]).unwrap());
        assert_eq!(Languages::parse::<&str>(&[]).unwrap(), Languages::default());
        let error = Languages::parse(&["en", "xx"]).unwrap_err().to_string();
        assert!(error.starts_with("unknown language \"xx\"; use some of: ar, ca, "), "{error}");
    }

    #[test]
    fn every_stemmer_takes_every_word() {
        let codes = Languages::CODES.map(|(code, ..)| code);
        for word in ["", "a", "aaa", "ÿÿÿÿ", "ßßß", "ςςς", "ыыы", "ααα", "ا\u{64b}ا\u{64b}", "ааааааааааа"]
        {
            stems(&codes, word);
        }
    }
}
