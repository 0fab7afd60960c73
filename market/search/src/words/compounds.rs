//! German compounds, which are found by their parts: `Lederschuhe` by `Schuhe`.
//!
//! A word is split only if all of it consists of known words, so that no chance resemblance counts. The known words are
//! a list of what goods are called and what they are made of, for and shaped like (`german.txt`), rather than the words
//! of a market's own items: those would make what an item is found by depend on when it was indexed, and differ between
//! the markets on one store; and a small market would know none.

use std::{collections::HashSet, sync::LazyLock};

use super::fold::fold;

/// Shorter words are not split.
const MIN_COMPOUND_BYTES: usize = 7;
/// The lengths of parts.
const MIN_PART_BYTES: usize = 3;
const MAX_PART_BYTES: usize = 18;
/// What may join a part with the next one: linking elements, or a plural.
const JOINTS: [&str; 7] = ["", "s", "n", "en", "es", "e", "er"];
/// The inflections of a compound's last part.
const ENDINGS: [&str; 8] = ["", "n", "en", "e", "er", "s", "es", "ern"];

static WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let lines = include_str!("german.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(fold).collect()
});

/// A way to split the beginning of a word.
#[derive(Clone, Copy)]
struct Split {
    parts: usize,
    /// Where the last part starts.
    start: usize,
    /// How long it is as a word by itself. A letter longer than in the compound, if that lacks an `e` at the end.
    bare: Bare,
}

/// A part as a word by itself.
#[derive(Clone, Copy)]
enum Bare {
    /// It ends here in the compound.
    Until(usize),
    /// It has an `e` at the end, which the compound lacks.
    WithE,
}

/// Returns the parts of a folded compound, in order: each as it stands there, and as a word by itself. Empty if the word
/// is not one. Of several ways to split it, the one with the fewest parts counts.
pub(super) fn split(word: &str) -> Vec<(String, String)> {
    if word.len() < MIN_COMPOUND_BYTES || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Vec::new();
    }
    let mut best: Vec<Option<Split>> = vec![None; word.len() + 1];
    for start in 0..word.len() {
        let parts = match best[start] {
            _ if start == 0 => 0,
            Some(split) => split.parts,
            None => continue,
        };
        let longest = word.len().min(start + MAX_PART_BYTES);
        for (end, known) in best.iter_mut().enumerate().take(longest + 1).skip(start + MIN_PART_BYTES) {
            let Some(bare) = bare(word, start, end) else { continue };
            if known.is_none_or(|other| parts + 1 < other.parts) {
                *known = Some(Split { parts: parts + 1, start, bare });
            }
        }
    }
    let mut parts = Vec::new();
    let mut end = word.len();
    while let Some(Split { parts: count, start, bare }) = best[end] {
        if end == word.len() && count == 1 {
            return Vec::new();
        }
        let bare = match bare {
            Bare::Until(until) => word[start..until].to_owned(),
            Bare::WithE => format!("{}e", &word[start..end]),
        };
        parts.push((word[start..end].to_owned(), bare));
        end = start;
    }
    parts.reverse();
    parts
}

/// Returns the words by which a compound is found: each part as it stands and by itself, and parts side by side, as
/// `tischlampe` of `schreibtischlampe`.
pub(super) fn words(parts: &[(String, String)]) -> Vec<String> {
    let mut words = Vec::new();
    for (place, (part, bare)) in parts.iter().enumerate() {
        words.push(part.clone());
        if bare != part {
            words.push(bare.clone());
        }
        for end in place + 2..=parts.len() {
            // All of them are the compound itself.
            if end - place < parts.len() {
                words.push(parts[place..end].iter().map(|(part, _)| part.as_str()).collect());
            }
        }
    }
    words
}

/// Returns which known word a stretch of a compound is, joint or ending included.
fn bare(word: &str, start: usize, end: usize) -> Option<Bare> {
    let part = &word[start..end];
    let is_last = end == word.len();
    let ends: &[&str] = if is_last { &ENDINGS } else { &JOINTS };
    let known = ends.iter().find_map(|ending| {
        let bare = part.strip_suffix(ending)?;
        (bare.len() >= MIN_PART_BYTES && WORDS.contains(bare)).then_some(Bare::Until(start + bare.len()))
    });
    known.or_else(|| (!is_last && WORDS.contains(&format!("{part}e"))).then_some(Bare::WithE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(word: &str) -> String {
        split(&fold(word)).into_iter().map(|(_, bare)| bare).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn compounds_are_split_into_known_words() {
        for (word, expected) in [
            ("Lederschuhe", "leder schuh"),
            ("Damenschuhe", "dame schuh"),
            ("Kinderschuhe", "kind schuh"),
            ("Regenjacke", "regen jacke"),
            ("Wollmütze", "wolle mutze"),
            ("Schreibtischlampe", "schreib tisch lampe"),
            ("Bücherregal", "buch regal"),
            ("Küchenmesser", "kuchen messer"),
            ("Kaffeetassen", "kaffee tasse"),
            ("Teekanne", "tee kanne"),
            ("Bratpfannen", "brat pfanne"),
            ("Gartenstuhl", "garten stuhl"),
            ("Holzpuzzle", "holz puzzle"),
            ("Adventskalender", "advent kalender"),
            ("Weihnachtsbaumschmuck", "weihnacht baum schmuck"),
            ("Kinderfahrrad", "kind fahr rad"),
            ("Straßenkarte", "strasse karte"),
            ("Weingläser", "wein glas"),
        ] {
            assert_eq!(parts(word), expected, "{word}");
        }
    }

    #[test]
    fn other_words_are_left_alone() {
        for word in [
            "Schuhe",
            "Handschuhe",
            "Frostbeule",
            "strawberry",
            "lampshade",
            "watches",
            "Kartoffel",
            "Fenster",
            "a",
            "",
        ] {
            assert_eq!(parts(word), "", "{word}");
        }
    }

    #[test]
    fn parts_as_they_stand_make_up_the_word() {
        for word in ["weihnachtsbaumschmuck", "wollmutzen", "buecherregal", "kinderfahrradhelme"] {
            let parts = split(word);
            let joined: String = parts.iter().map(|(part, _)| part.as_str()).collect();
            assert!(joined.is_empty() || joined == word, "{word}: {parts:?}");
        }
    }

    #[test]
    fn compounds_are_found_by_parts_and_by_parts_side_by_side() {
        let found = |word| words(&split(&fold(word))).join(" ");
        assert_eq!(found("Lederschuhe"), "leder schuhe schuh");
        assert_eq!(found("Nachttischlampe"), "nacht nachttisch tisch tischlampe lampe");
        assert_eq!(found("Handschuhe"), "");
    }

    #[test]
    fn the_list_has_only_words() {
        assert!(WORDS.len() > 1_000, "{}", WORDS.len());
        for word in WORDS.iter() {
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
            assert!((MIN_PART_BYTES..=MAX_PART_BYTES).contains(&word.len()), "{word}");
        }
    }
}
