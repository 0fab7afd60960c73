//! Texts against queries: what is indexed must be found as it is typed.

use std::collections::HashSet;

use proptest::{prelude::*, sample::select};

use super::{
    Languages, Synonyms,
    indexed::indexed,
    is_wordless,
    terms::{Phase, Wanted, pair},
    wanted::wanted,
};

/// The first phase in which a text is found by a query; `None` if it is not. Beginnings and typos don't count.
fn found(languages: &Languages, text: &str, query: &str) -> Option<Phase> {
    let synonyms = Synonyms::parse("sofa, couch\ntv => television\nt shirt => tee\n电脑 => 计算机").unwrap();
    let terms = indexed(text, languages);
    let mut pairs: Vec<_> = terms.typed.windows(2).map(|two| pair(&two[0], &two[1])).collect();
    pairs.extend(terms.typed.into_iter().chain(terms.also));
    let terms: HashSet<String> = pairs.into_iter().collect();
    let wanted = wanted(query, languages, &synonyms);
    let phase_of = |word: &Wanted| {
        let ways = word.ways.iter().filter(|way| way.terms.iter().all(|term| terms.contains(term)));
        ways.map(|way| way.phase).min()
    };
    let phases: Option<Vec<Phase>> = wanted.iter().map(phase_of).collect();
    phases?.into_iter().max()
}

fn all_languages() -> Languages {
    Languages::parse(&["en", "de", "fr", "es", "ru", "el", "ar", "hi", "tr"]).unwrap()
}

/// The kinds of queries that found nothing once.
#[test]
fn texts_are_found_as_people_type() {
    let languages = all_languages();
    for (text, queries) in [
        ("Wi-Fi Router", &["wifi", "Wi-Fi", "wi fi", "WIFI router", "router wi-fi"][..]),
        ("WiFi Repeater", &["wifi", "Wi-Fi", "wi fi"]),
        ("Toner AB-123", &["AB123", "ab-123", "ab 123", "AB-123"]),
        ("Toner AB123", &["AB123", "ab-123", "ab 123"]),
        ("KB-1180/US", &["kb1180", "kb-1180", "KB1180US", "kb 1180 us", "1180"]),
        ("Drill 10 mm", &["10mm", "10 mm", "drill 10mm"]),
        ("Drill 10mm", &["10mm", "10 mm", "mm"]),
        ("Screws 5.5x40", &["5.5x40", "5.5 x 40", "5,5x40", "5.5×40", "40", "5.5"]),
        ("Screws 5,5 x 40", &["5.5x40", "5.5 x 40"]),
        ("Toner 2,500 pages", &["2500", "2,500", "2.500"]),
        ("Toner 2500 pages", &["2,500"]),
        ("Half ½ kg", &["½", "1/2", "1⁄2 kg"]),
        ("Soft\u{ad}ware", &["software", "soft\u{ad}ware"]),
        ("Lunch Box", &["lunchbox", "lunch-box", "lunch box", "lunch boxes"]),
        ("Lunchbox", &["lunch box", "lunch-box"]),
        ("Men's T-Shirt", &["mens tshirt", "men's t-shirt", "men t shirt", "tshirts"]),
        ("Wrist watch", &["watches", "watch", "wristwatch"]),
        ("Kitchen knife", &["knives", "KNIFE"]),
        ("Set of knives", &["knife", "knives"]),
        ("Bookshelves", &["bookshelf"]),
        ("C++ for beginners", &["C++", "c"]),
        ("Learning .NET", &[".net", "net"]),
        ("陶器の茶碗", &["陶器", "茶碗", "陶器の茶碗", "器", "茶"]),
        ("LED台灯", &["led 台灯", "台灯", "LED台灯"]),
        ("マグカップ", &["カップ", "まぐかっぷ", "ﾏｸﾞ"]),
        ("수제도자기컵", &["도자기", "컵", "수제"]),
        ("도자기 찻잔", &["도자기"]),
        ("กระเป๋าสานผักตบชวา", &["กระเป๋า", "ผักตบชวา"]),
        ("ខ្មែរទូរស័ព្ទ", &["ខ្មែរ"]),
        ("Lederschuhe", &["schuhe", "Schuh", "leder", "lederschuh", "leder schuhe", "Leder-Schuhe"]),
        ("Schuhe aus Leder", &["lederschuhe"]),
        ("Wollmütze", &["mütze", "Mützen", "wolle", "woll mütze"]),
        ("Weihnachtsbaumschmuck", &["baumschmuck", "weihnachtsbaum", "schmuck"]),
        ("كِتَاب", &["كتاب", "الكتاب"]),
        ("מִסְפָּרַיִם", &["מספרים"]),
        ("Καφές ελληνικός", &["καφεσ", "ΚΑΦΈΣ", "καφε"]),
        ("Sırt çantası", &["sirt cantasi", "SIRT ÇANTASI"]),
        ("Bag ३ l", &["3 l", "3l"]),
        ("ＡＢＣ　１２", &["abc 12"]),
        ("Crème brûlée", &["creme brulee", "CRÈME"]),
        ("Grey couch", &["sofa", "sofas grey"]),
        ("Couches", &["sofa"]),
        ("Television stand", &["tv stand"]),
        ("Tee", &["t-shirt", "t shirt"]),
        ("计算机", &["电脑"]),
    ] {
        for query in queries {
            assert!(found(&languages, text, query).is_some(), "{text:?} by {query:?}");
        }
    }
}

#[test]
fn other_things_are_not_found() {
    let languages = all_languages();
    for (text, query) in [
        ("C for beginners", "C++"),
        ("C++ for beginners", "C#"),
        ("Drill 5 mm", "5.5 mm"),
        ("Drill 10 mm", "100mm"),
        ("10 cm", "10mm"),
        ("Handschuhe", "schuhe"),
        ("Television", "telly"),
        ("TV", "television"),
        ("陶器", "器陶"),
        ("도자기", "자도"),
        ("Lamp", "lamb"),
        ("Fishing net", ".NET"),
        ("50", "5.0"),
    ] {
        assert_eq!(found(&languages, text, query), None, "{text:?} by {query:?}");
    }
}

/// Words, scripts, signs and spaces that meet in all ways.
fn any_text() -> impl Strategy<Value = String> {
    const BITS: [&str; 44] = [
        "Wi",
        "fi",
        "watches",
        "KNIVES",
        "lederschuhe",
        "Straße",
        "crème",
        "İ",
        "ı",
        "10",
        "5.5",
        "½",
        "1,000",
        "x",
        "c++",
        "C#",
        ".NET",
        "陶",
        "器",
        "の",
        "カップ",
        "ー",
        "도자기",
        "컵",
        "ไทย",
        "เสื้อ",
        "ខ្មែ",
        "كِتَاب",
        "ـ",
        "שלום",
        "ς",
        "हिन्दी",
        "٣",
        "Ａ",
        "-",
        "/",
        "'",
        ".",
        ",",
        " ",
        "  ",
        "\u{ad}",
        "\u{200d}",
        "🏮",
    ];
    prop::collection::vec(select(&BITS[..]), 0..12).prop_map(|bits| bits.concat())
}

proptest! {
    /// Whatever a text is, it is found as typed by itself, and by each of its words.
    #[test]
    fn every_text_is_found_by_itself(text in any_text()) {
        let languages = all_languages();
        if !wanted(&text, &languages, &Synonyms::default()).is_empty() {
            prop_assert_eq!(found(&languages, &text, &text), Some(Phase::AsTyped));
        }
        for word in text.split_whitespace().filter(|word| !is_wordless(word)) {
            prop_assert_eq!(found(&languages, &text, word), Some(Phase::AsTyped), "{}", word);
        }
    }

    /// The same for texts of any characters.
    #[test]
    fn any_characters_are_found_by_themselves(text in "\\PC{0,24}") {
        let languages = all_languages();
        if !wanted(&text, &languages, &Synonyms::default()).is_empty() {
            prop_assert_eq!(found(&languages, &text, &text), Some(Phase::AsTyped));
        }
    }

    /// Words hold nothing that folding would change, so that a client may type them, and terms no spaces.
    #[test]
    fn words_are_folded_once_and_for_all(text in any_text()) {
        let terms = indexed(&text, &all_languages());
        prop_assert!(terms.typed.iter().chain(&terms.also).all(|term| !term.contains(char::is_whitespace)));
        prop_assert!(terms.typed.iter().all(|word| !word.starts_with(char::is_control)));
        for word in terms.typed {
            let again = indexed(&word, &Languages::default()).typed;
            prop_assert_eq!(again, [word]);
        }
    }

    /// Case and accents make no difference.
    #[test]
    fn case_makes_no_difference(text in "[a-zäöüßéñσς0-9 .,'/+#-]{0,24}") {
        let languages = Languages::default();
        prop_assert_eq!(indexed(&text, &languages), indexed(&text.to_uppercase(), &languages));
    }

    /// Costs are bounded by the length of the text: no more terms than a few for each character.
    #[test]
    fn the_number_of_terms_is_bounded(text in any_text()) {
        let terms = indexed(&text, &all_languages());
        prop_assert!(terms.typed.len() + terms.also.len() <= 12 * text.chars().count() + 1);
        let wanted = wanted(&text, &all_languages(), &Synonyms::default());
        prop_assert!(wanted.len() <= super::MAX_WORDS);
        prop_assert!(wanted.iter().flat_map(|word| &word.ways).all(|way| !way.terms.is_empty()));
    }
}
