//! The decimal marks of locales (Unicode CLDR, `numbers/decimal`).

use super::Decimal;

/// The languages that write decimals after a comma.
const COMMA: &str = "af az be bg bs ca cs da de el es et eu fi fo fr gl hr hu hy id is it ka kk ky lb lt lv mk nb nl nn no \
                     pl pt ro ru se sk sl sq sr sv tr uk uz vi";
/// The languages that write decimals after a point.
const POINT: &str =
    "am ar bn cy en fil fa ga gu he hi ja km kn ko lo ml mn mr ms mt ne pa si sw ta te th ur zh zu c posix";
/// The countries that don't write decimals as others do in the same language.
const POINT_IN: [&str; 13] = [
    "de-ch", "de-li", "es-do", "es-gt", "es-hn", "es-mx", "es-ni", "es-pa", "es-pe", "es-pr", "es-sv",
    "es-us", "it-ch",
];

/// Returns the decimal mark of a locale such as `de-DE`, `de_DE.UTF-8` or `de`.
pub(super) fn decimal_of(locale: &str) -> Result<Decimal, String> {
    let locale = locale.to_ascii_lowercase().replace('_', "-");
    let name = locale.split(['.', '@']).next().unwrap_or_default();
    let language = name.split('-').next().unwrap_or_default();
    let is_in = |languages: &str| languages.split_whitespace().any(|known| known == language);
    if is_in(POINT) || POINT_IN.contains(&name) {
        Ok(Decimal::Point)
    } else if is_in(COMMA) {
        Ok(Decimal::Comma)
    } else {
        Err("unknown locale; pass --decimal point or --decimal comma instead".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_have_a_decimal_mark() {
        for locale in ["de", "de-DE", "de_AT.UTF-8", "fr_FR@euro", "pt-BR", "es-ES", "IT"] {
            assert_eq!(decimal_of(locale), Ok(Decimal::Comma), "{locale}");
        }
        for locale in ["en", "en_GB.UTF-8", "de-CH", "es_MX", "ja-JP", "C", "POSIX"] {
            assert_eq!(decimal_of(locale), Ok(Decimal::Point), "{locale}");
        }
        for locale in ["", "xx", "German", "dede"] {
            assert!(decimal_of(locale).is_err(), "{locale}");
        }
    }
}
