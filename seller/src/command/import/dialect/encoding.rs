//! Detects the encoding of a file.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_8859_2, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1250, WINDOWS_1252};

/// The number of bytes at the beginning that show whether a file without a byte order mark is UTF-16. Most of it is the
/// heading, whose letters are ASCII also in a file with names in another script.
const HEADING_BYTES: usize = 64;

/// Parses the value of --encoding: a label of the WHATWG Encoding Standard.
pub(super) fn parse(label: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(label.as_bytes())
        .filter(|encoding| *encoding != encoding_rs::REPLACEMENT)
        .ok_or_else(|| "unknown encoding; try utf-8, utf-16le, windows-1252 or macintosh".to_owned())
}

/// Returns the encoding of a file, and whether it is only the likeliest one. `is_whole` says that the sample is the whole
/// file.
pub(super) fn detect(sample: &[u8], is_whole: bool) -> (&'static Encoding, bool) {
    if let Some((encoding, _)) = Encoding::for_bom(sample) {
        return (encoding, false);
    }
    if let Some(encoding) = utf_16(sample) {
        return (encoding, true);
    }
    let (mut characters, mut errors) = (0, 0);
    for chunk in sample.utf8_chunks() {
        characters += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        errors += usize::from(!chunk.invalid().is_empty());
    }
    // The sample may end within a character.
    let is_cut = !is_whole && std::str::from_utf8(sample).is_err_and(|error| error.error_len().is_none());
    // A file in UTF-8 of which a few rows are damaged is still in UTF-8: those rows are refused.
    if errors == usize::from(is_cut) || characters >= errors {
        return (UTF_8, false);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, is_whole);
    (western(sample, detector.guess(None, Utf8Detection::Deny)), true)
}

/// Returns windows-1252 in place of what the detector guesses, if the signs of a text say so. The detector, made for prose,
/// takes signs for letters.
fn western(sample: &[u8], guess: &'static Encoding) -> &'static Encoding {
    const POUND: u8 = 0xa3;
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(sample);
    let has_letters = text.chars().any(|c| !c.is_ascii() && c.is_alphabetic());
    // In the encodings of Central Europe it is an `Ł`, which no number follows.
    let has_pounds = sample.windows(2).any(|pair| pair[0] == POUND && pair[1].is_ascii_digit());
    let is_central = guess == WINDOWS_1250 || guess == ISO_8859_2;
    if !has_letters || (is_central && has_pounds) { WINDOWS_1252 } else { guess }
}

/// Recognises UTF-16 without a byte order mark: every other byte of its ASCII letters is zero.
fn utf_16(sample: &[u8]) -> Option<&'static Encoding> {
    let pairs = sample.chunks_exact(2).take(HEADING_BYTES / 2);
    let all = pairs.len();
    let ascii = |high: usize| pairs.clone().filter(|pair| pair[high] == 0 && pair[1 - high] != 0).count();
    [(UTF_16BE, 0), (UTF_16LE, 1)]
        .into_iter()
        .find(|(_, high)| all > 0 && 2 * ascii(*high) > all)
        .map(|(encoding, _)| encoding)
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, WINDOWS_1251};

    use super::*;

    const HEADING: &str = "sku,name,category,price,quantity\r\n";

    type Bytes = fn(u16) -> [u8; 2];

    fn utf_16_bytes(text: &str, bytes: Bytes) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn unicode_is_recognised_with_and_without_a_byte_order_mark() {
        for text in ["L-1,Lamp,home,1 GBP,1", "L-1,ランプ,home,1 JPY,1"] {
            let text = format!("{HEADING}{text}\r\n");
            assert_eq!(detect(text.as_bytes(), true), (UTF_8, false));
            let marked = format!("\u{feff}{text}");
            assert_eq!(detect(marked.as_bytes(), true), (UTF_8, false));
            for (encoding, bytes) in [(UTF_16LE, u16::to_le_bytes as Bytes), (UTF_16BE, u16::to_be_bytes)] {
                assert_eq!(detect(&utf_16_bytes(&text, bytes), true), (encoding, true), "{text}");
                assert_eq!(detect(&utf_16_bytes(&marked, bytes), true), (encoding, false), "{text}");
            }
        }
        assert_eq!(detect(b"", true), (UTF_8, false));
    }

    #[test]
    fn a_sample_may_end_within_a_character() {
        assert_eq!(detect(b"name\xc3", false), (UTF_8, false));
        assert_ne!(detect(b"name\xe9", true).0, UTF_8);
    }

    #[test]
    fn damaged_rows_do_not_change_the_encoding_of_a_file() {
        assert_eq!(detect("Café, Lampe à huile, \u{fc}ber".as_bytes(), true), (UTF_8, false));
        assert_eq!(detect(b"caf\xc3\xa9,br\xfbl\xc3\xa9e", true), (UTF_8, false));
    }

    #[test]
    fn older_encodings_are_guessed() {
        for (encoding, text) in [
            (WINDOWS_1252, "A-1,Café au lait bowl,home,5 GBP,1"),
            (WINDOWS_1252, "A-1,Mug,home,£5,1"),
            (WINDOWS_1252, "A-1,Mug,home,€5,1"),
            (WINDOWS_1252, "A-1,Café au lait bowl,home,£5,1"),
            (WINDOWS_1252, "A-1,½ m² cloth,home,5 GBP,1"),
            (WINDOWS_1252, "A-1,Bjørn's lamp Ø 20,home,5 DKK,1"),
            (WINDOWS_1252, "A-1,Piñata,home,5 EUR,1"),
            (WINDOWS_1252, "A-1,Mañana señor garçon,home,5 EUR,1"),
            (WINDOWS_1252, "A-1,Größentabelle für Gäste,home,5 EUR,1"),
            (WINDOWS_1250, "A-1,Dzbanek na wodę źródlaną,home,5 PLN,1"),
            (WINDOWS_1251, "A-1,Настольная лампа,home,5 EUR,1"),
            (SHIFT_JIS, "A-1,手作り陶器の花瓶,home,500 JPY,1"),
        ] {
            let text = format!("{HEADING}{text}\r\n");
            let (bytes, _, has_errors) = encoding.encode(&text);
            assert!(!has_errors, "{text}");
            assert_eq!(detect(&bytes, true), (encoding, true), "{text}");
        }
    }

    #[test]
    fn labels_are_those_of_the_encoding_standard() {
        for (label, encoding) in [("UTF-8", UTF_8), ("utf-16le", UTF_16LE), ("latin1", WINDOWS_1252)] {
            assert_eq!(parse(label), Ok(encoding));
        }
        assert!(parse("utf-9").is_err() && parse("iso-2022-kr").is_err());
    }
}
