//! Categories of other shops, as paths of lower-case slugs.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// The maximum number of parts in a path, and of characters in a part, that the market accepts.
const MAX_PARTS: usize = 5;
const MAX_PART_CHARS: usize = 40;

/// Converts a path such as `Clothing > T-Shirts` to `clothing/t-shirts`; `None` if a part of it becomes empty, as
/// one in another script does. Parts beyond the maximum are dropped.
pub(super) fn path(text: &str) -> Option<String> {
    let parts = text.split('>').map(str::trim).filter(|part| !part.is_empty()).map(slug);
    let parts: Vec<_> = parts.take(MAX_PARTS).collect();
    let is_whole = !parts.is_empty() && parts.iter().all(|part| !part.is_empty());
    is_whole.then(|| parts.join("/"))
}

/// Converts a text to lower-case Latin letters and digits, its words joined by `-`.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)) {
        match letters(c) {
            Some(letters) => slug.push_str(letters),
            None if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            // It disappears within a word: `men's` is `mens`.
            None if matches!(c, '\'' | '\u{2019}') => {}
            None if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            None => {}
        }
    }
    slug.truncate(MAX_PART_CHARS);
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// Returns how Latin letters that do not decompose are usually written without them.
fn letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        'þ' | 'Þ' => "th",
        'ı' => "i",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_slugs() {
        for (text, expected) in [
            ("Clothing > Tshirts", "clothing/tshirts"),
            ("Apparel & Accessories > Clothing > Shirts & Tops", "apparel-accessories/clothing/shirts-tops"),
            ("Home>Women>", "home/women"),
            ("Men's Überröcke", "mens-uberrocke"),
            ("Straßenmöbel", "strassenmobel"),
            (" 3D / 4K ", "3d-4k"),
            ("a > b > c > d > e > f > g", "a/b/c/d/e"),
        ] {
            assert_eq!(path(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(path(&"x".repeat(50)), Some("x".repeat(40)));
        assert_eq!(path(&format!("{}-y", "x".repeat(39))), Some("x".repeat(39)));
    }

    #[test]
    fn what_has_no_latin_letter_is_no_category() {
        for text in ["", " > ", "食器", "Home > 食器", "&"] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
