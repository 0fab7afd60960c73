//! Irregular plurals of English, which its stemmer does not reduce to their singulars.

/// Plurals by their singulars. A plural also stands at the end of compounds, as in `bookshelves`, unless it is too
/// short to be told from the end of another word.
const IRREGULAR: [(&str, &str); 29] = [
    ("shelves", "shelf"),
    ("knives", "knife"),
    ("scarves", "scarf"),
    ("wolves", "wolf"),
    ("halves", "half"),
    ("loaves", "loaf"),
    ("calves", "calf"),
    ("thieves", "thief"),
    ("hooves", "hoof"),
    ("dwarves", "dwarf"),
    ("wharves", "wharf"),
    ("wives", "wife"),
    ("children", "child"),
    ("women", "woman"),
    ("people", "person"),
    ("teeth", "tooth"),
    ("geese", "goose"),
    ("mice", "mouse"),
    ("feet", "foot"),
    ("craftsmen", "craftsman"),
    ("snowmen", "snowman"),
    ("firemen", "fireman"),
    ("policemen", "policeman"),
    ("fishermen", "fisherman"),
    ("gentlemen", "gentleman"),
    ("oxen", "ox"),
    ("cacti", "cactus"),
    ("candelabra", "candelabrum"),
    ("sheaves", "sheaf"),
];

/// Plurals that are also the ends of unrelated words.
const ALONE: [(&str, &str); 6] = [
    ("men", "man"),
    ("leaves", "leaf"),
    ("lives", "life"),
    ("elves", "elf"),
    ("lice", "louse"),
    ("dice", "die"),
];

/// Returns the singular of an irregular plural in lower case.
pub(super) fn singular(word: &str) -> Option<String> {
    if let Some((_, singular)) = ALONE.iter().find(|(plural, _)| *plural == word) {
        return Some((*singular).to_owned());
    }
    IRREGULAR.iter().find_map(|(plural, singular)| Some(word.strip_suffix(plural)?.to_owned() + singular))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irregular_plurals_have_singulars_also_in_compounds() {
        for (plural, expected) in [
            ("knives", Some("knife")),
            ("bookshelves", Some("bookshelf")),
            ("scarves", Some("scarf")),
            ("mice", Some("mouse")),
            ("dormice", Some("dormouse")),
            ("women", Some("woman")),
            ("men", Some("man")),
            ("leaves", Some("leaf")),
            ("teeth", Some("tooth")),
            ("grandchildren", Some("grandchild")),
            ("specimen", None),
            ("cleaves", None),
            ("olives", None),
            ("police", None),
            ("watches", None),
        ] {
            assert_eq!(singular(plural).as_deref(), expected, "{plural}");
        }
    }
}
