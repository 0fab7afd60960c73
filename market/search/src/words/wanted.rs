//! What queries ask for.

use std::ops::Range;

use super::{
    fold::{MAX_LETTERS, fold, fold_all, normalized},
    indexed::MAX_JOINED,
    languages::{Languages, Related},
    parts, scripts,
    split::pieces,
    synonyms::Synonyms,
    terms::{Phase, Wanted, Way, beginning, pair, stem},
};

/// The maximum number of distinct words of a query that count.
pub(crate) const MAX_WORDS: usize = 16;
/// The maximum number of ways of a word.
const MAX_WAYS: usize = 24;
/// Shorter words don't stand for two.
const MIN_PAIR_LETTERS: usize = 5;
/// Of shorter words, only the last one may be unfinished: they begin too many others.
const MIN_BEGINNING_LETTERS: usize = 3;

/// Returns what a query asks for: its first [`MAX_WORDS`] distinct words, each with the ways in which it can match.
/// All words have to match.
pub(crate) fn wanted(text: &str, languages: &Languages, synonyms: &Synonyms) -> Vec<Wanted> {
    let mut query = Query::default();
    query.read(&normalized(text), languages);
    query.join();
    query.add_beginnings();
    query.add_synonyms(languages, synonyms);
    query.words
}

/// Returns whether a text asks for something, but has no word: symbols alone. Such a query finds nothing.
pub(crate) fn is_wordless(text: &str) -> bool {
    !text.trim().is_empty() && pieces(&normalized(text)).next().is_none()
}

#[derive(Default)]
struct Query {
    /// The distinct words.
    words: Vec<Wanted>,
    /// The words in order, including repetitions, by their numbers.
    order: Vec<usize>,
    /// Whether each of them stands apart from the one before: there is a space between them.
    is_apart: Vec<bool>,
}

impl Query {
    fn read(&mut self, text: &str, languages: &Languages) {
        for piece in pieces(text) {
            if piece.is_unspaced {
                let folded = fold_all(piece.text);
                scripts::pairs(&folded, |pair| self.add(pair.to_owned(), true, |_| Vec::new()));
            } else {
                let folded = fold(piece.text);
                self.add(folded, !piece.is_joined, |word| ways_of(piece.text, word, languages));
            }
        }
    }

    /// Adds a word, unless there are too many.
    fn add(&mut self, word: String, is_apart: bool, ways: impl FnOnce(&str) -> Vec<Way>) {
        let known = self.words.iter().position(|known| known.typed == word);
        let number = known.unwrap_or(self.words.len());
        if number == MAX_WORDS || self.order.len() >= MAX_WORDS * 2 {
            return;
        }
        self.order.push(number);
        self.is_apart.push(is_apart);
        if known.is_none() {
            let mut all = vec![Way::of(word.clone(), Phase::AsTyped)];
            all.extend(ways(&word));
            self.words.push(Wanted { typed: word, ways: all, may_be_unfinished: false });
        }
    }

    /// Lets words match joined with their neighbours, as `wi fi` does `wifi`.
    fn join(&mut self) {
        for second in 1..self.order.len() {
            self.join_all(second - 1..second + 1);
        }
        // All that is written together, as in AB-123-X.
        let mut first = 0;
        for end in 1..=self.order.len() {
            if self.is_apart.get(end).copied().unwrap_or(true) {
                if (3..=MAX_JOINED).contains(&(end - first)) {
                    self.join_all(first..end);
                }
                first = end;
            }
        }
    }

    fn join_all(&mut self, places: Range<usize>) {
        let numbers = self.order[places].to_vec();
        let joined: String = numbers.iter().map(|number| self.words[*number].typed.as_str()).collect();
        if joined.len() <= MAX_LETTERS && !joined.chars().any(scripts::is_unspaced) {
            for number in numbers {
                self.offer(number, Way::of(joined.clone(), Phase::Joined));
            }
        }
    }

    /// Lets the last word be unfinished, and the others as well if the query finds too little without that.
    fn add_beginnings(&mut self) {
        let last = self.words.len().saturating_sub(1);
        for (number, word) in self.words.iter_mut().enumerate() {
            let is_long = word.typed.chars().nth(MIN_BEGINNING_LETTERS - 1).is_some();
            let may_begin =
                is_long && word.typed.chars().all(|c| c.is_alphabetic() && !scripts::is_unspaced(c));
            if number == last {
                word.may_be_unfinished = true;
            } else if may_begin {
                word.ways.push(Way::of(beginning(&word.typed), Phase::Joined));
            }
        }
    }

    fn add_synonyms(&mut self, languages: &Languages, synonyms: &Synonyms) {
        if synonyms.is_empty() {
            return;
        }
        for start in 0..self.order.len() {
            let longest = (start + synonyms.longest()).min(self.order.len());
            for end in start + 1..=longest {
                let numbers = self.order[start..end].to_vec();
                for terms in self.meanings(&numbers, languages, synonyms) {
                    for number in &numbers {
                        self.offer(*number, Way { terms: terms.clone(), phase: Phase::Synonym });
                    }
                }
            }
        }
    }

    /// Returns what words side by side also mean. Of a single word, the stem counts as well.
    fn meanings(&self, numbers: &[usize], languages: &Languages, synonyms: &Synonyms) -> Vec<Vec<String>> {
        let words: Vec<&str> = numbers.iter().map(|number| self.words[*number].typed.as_str()).collect();
        let mut meanings = synonyms.of(&words.join(" ")).to_vec();
        if let [word] = words[..]
            && let Some(related) = languages.related(word, word)
        {
            meanings.extend(
                related.stems.iter().filter(|stem| *stem != word).flat_map(|stem| synonyms.of(stem)).cloned(),
            );
        }
        // An inflection of a synonym is one, too.
        let inflections = meanings.iter().filter_map(|meaning| match &meaning[..] {
            [word] => languages.related(word, word),
            _ => None,
        });
        let inflections: Vec<_> =
            inflections.flat_map(|related| stems_of(&related)).map(|stem| vec![stem]).collect();
        meanings.extend(inflections);
        meanings
    }

    fn offer(&mut self, number: usize, way: Way) {
        let ways = &mut self.words[number].ways;
        if ways.len() < MAX_WAYS && ways.iter().all(|known| known.terms != way.terms) {
            ways.push(way);
        }
    }
}

/// Returns the further ways in which a word by itself can match.
fn ways_of(word: &str, folded: &str, languages: &Languages) -> Vec<Way> {
    let mut ways = Vec::new();
    let related = languages.related(word, folded);
    if let Some(related) = &related {
        ways.extend(stems_of(related).into_iter().map(|term| Way::of(term, Phase::AsTyped)));
        // The base form of a word has no stem of its own.
        let bases = related.stems.iter().filter(|stem| *stem != folded);
        ways.extend(bases.map(|base| Way::of(base.clone(), Phase::AsTyped)));
    }
    if folded.chars().all(scripts::is_hangul) {
        let mut terms = Vec::new();
        scripts::pairs(folded, |pair| terms.push(pair.to_owned()));
        if terms.len() > 1 {
            ways.push(Way { terms, phase: Phase::AsTyped });
        }
    } else if !parts::is_plain(folded) {
        let mut terms = Vec::new();
        // One that is only a part, as the C of C++, means something else.
        parts::runs(folded, |part| terms.push(part.to_owned()));
        if terms.len() > 1 {
            ways.push(Way { terms, phase: Phase::Joined });
        }
        ways.extend(parts::without_thousands(folded).map(|number| Way::of(number, Phase::Joined)));
        if folded.contains('/') {
            let terms = folded.split('/').map(str::to_owned).collect();
            ways.push(Way { terms, phase: Phase::Joined });
        }
    } else if folded.len() >= MIN_PAIR_LETTERS {
        ways.push(Way::of(pair(folded, ""), Phase::Joined));
    }
    if let Some(parts) = related.as_ref().map(|related| &related.parts).filter(|parts| !parts.is_empty()) {
        ways.push(Way { terms: parts.iter().map(|(part, _)| part.clone()).collect(), phase: Phase::Joined });
        ways.push(Way { terms: parts.iter().map(|(_, bare)| bare.clone()).collect(), phase: Phase::Joined });
    }
    ways
}

fn stems_of(related: &Related) -> Vec<String> {
    related.stems.iter().map(|of| stem(of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the ways of each word: `word[*]: way, way; joined ways; synonyms`, with an asterisk if it may be unfinished.
    fn asks(codes: &[&str], synonyms: &str, text: &str) -> Vec<String> {
        let languages = Languages::parse(codes).unwrap();
        let show = |wanted: Wanted| {
            let of = |phase| {
                let ways = wanted.ways.iter().filter(|way| way.phase == phase).map(|way| way.terms.join("+"));
                ways.collect::<Vec<_>>().join(", ")
            };
            assert_eq!(wanted.ways[0], Way::of(wanted.typed.clone(), Phase::AsTyped));
            let ways = [of(Phase::AsTyped), of(Phase::Joined), of(Phase::Synonym)].join("; ");
            let ways = ways.replace('\u{1}', "~").replace('\u{2}', "=").replace('\u{3}', "^");
            let mark = if wanted.may_be_unfinished { "*" } else { "" };
            format!("{}{mark}", ways.trim_end_matches("; "))
        };
        wanted(text, &languages, &Synonyms::parse(synonyms).unwrap()).into_iter().map(show).collect()
    }

    #[test]
    fn each_word_is_wanted_and_may_be_joined_with_its_neighbours() {
        assert_eq!(asks(&[], "", "Red mug"), ["red; redmug, ^red", "mug; redmug*"]);
        assert_eq!(asks(&[], "", "wi-fi x"), ["wi; wifi", "fi; wifi, fix", "x; fix*"]);
        assert_eq!(asks(&[], "", "10 mm"), ["10; 10mm", "mm; 10mm*"]);
        assert_eq!(asks(&[], "", "lunchbox"), ["lunchbox; =lunchbox*"]);
        assert_eq!(
            asks(&[], "", "kb-1180/us"),
            ["kb; kb1180, kb1180us", "1180; kb1180, 1180us, kb1180us", "us; 1180us, kb1180us*"]
        );
    }

    #[test]
    fn words_with_parts_may_be_split() {
        for (text, expected) in [
            ("10mm", "10mm; 10+mm*"),
            ("AB123", "ab123; ab+123*"),
            ("5.5x40", "5.5x40; 5.5+x+40*"),
            ("½", "1/2; 1+2*"),
            ("1,000", "1.000; 1000*"),
            ("C++", "c++*"),
            (".NET", ".net*"),
        ] {
            assert_eq!(asks(&[], "", text), [expected], "{text}");
        }
    }

    #[test]
    fn text_without_spaces_is_wanted_by_pairs() {
        assert_eq!(asks(&[], "", "陶器の"), ["陶器", "器の*"]);
        assert_eq!(asks(&[], "", "茶"), ["茶*"]);
        assert_eq!(asks(&[], "", "도자기"), ["도자기, 도자+자기*"]);
        assert_eq!(asks(&[], "", "LED台灯"), ["led; ^led", "台灯*"]);
    }

    #[test]
    fn inflections_are_wanted_below_the_word_as_typed() {
        assert_eq!(asks(&["en"], "", "mugs"), ["mugs, ~mug, mug*"]);
        assert_eq!(asks(&["en"], "", "mug"), ["mug, ~mug*"]);
        assert_eq!(
            asks(&["en"], "", "mug knives"),
            ["mug, ~mug; mugknives, ^mug", "knives, ~knife, knife; =knives, mugknives*"]
        );
    }

    #[test]
    fn german_compounds_may_be_split() {
        let found = asks(&["de"], "", "Lederschuhe");
        assert_eq!(found, ["lederschuhe, ~lederschuh, lederschuh; =lederschuhe, leder+schuhe, leder+schuh*"]);
    }

    #[test]
    fn synonyms_of_words_and_phrases_are_wanted_last() {
        let rules = "sofa, couch\ntv => television\nt shirt => tee";
        assert_eq!(asks(&[], rules, "sofa"), ["sofa; ; couch*"]);
        assert_eq!(asks(&["en"], rules, "sofas"), ["sofas, ~sofa, sofa; =sofas; couch, ~couch*"]);
        assert_eq!(asks(&[], rules, "television"), ["television; =television*"]);
        assert_eq!(asks(&[], rules, "T-Shirt"), ["t; tshirt; tee", "shirt; =shirt, tshirt; tee*"]);
        assert_eq!(asks(&[], rules, "shirt t"), ["shirt; =shirt, shirtt, ^shirt", "t; shirtt*"]);
    }

    #[test]
    fn repeated_words_count_once_and_the_rest_is_bounded() {
        let typed = |text: &str| {
            let wanted = wanted(text, &Languages::default(), &Synonyms::default());
            wanted.into_iter().map(|word| word.typed).collect::<Vec<_>>()
        };
        assert_eq!(typed("a b A c d"), ["a", "b", "c", "d"]);
        let many: String = (0..400).map(|number| format!("w{number}-")).collect();
        assert_eq!(typed(&many).len(), MAX_WORDS);
        assert_eq!(typed(&"器陶".repeat(400)).len(), 2);
        assert_eq!(typed(&"x".repeat(200)), ["x".repeat(MAX_LETTERS)]);
    }

    #[test]
    fn the_ways_of_a_word_are_bounded() {
        let rules: String = (0..40).map(|number| format!("sofa => x{number}\n")).collect();
        let wanted = wanted("sofa", &Languages::parse(&["en"]).unwrap(), &Synonyms::parse(&rules).unwrap());
        assert!(wanted[0].ways.len() <= MAX_WAYS);
    }

    #[test]
    fn symbols_alone_are_wordless_and_blank_text_is_not() {
        for text in ["!!!", "🏮", " -- !? ", "+ # .", "™", "\u{301}"] {
            assert!(is_wordless(text), "{text}");
            assert_eq!(wanted(text, &Languages::default(), &Synonyms::default()), []);
        }
        for text in ["", "  ", "a!", "茶", "½", "c#"] {
            assert!(!is_wordless(text), "{text}");
        }
    }
}
