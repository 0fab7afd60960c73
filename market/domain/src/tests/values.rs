//! Parsing of values at and beyond their bounds.

use proptest::prelude::*;

use super::*;

#[test]
fn quantities_are_bounded() {
    for wrong in [0, -1, OrderQuantity::MAX + 1, i64::MAX, i64::MIN] {
        assert!(OrderQuantity::parse(wrong).is_err(), "{wrong}");
        assert!(wrong > 0 && wrong <= Quantity::MAX || Quantity::parse_listing(wrong).is_err(), "{wrong}");
    }
    assert!(Quantity::parse(0).is_ok());
    assert!(Quantity::parse(Quantity::MAX + 1).is_err());
}

#[test]
fn stars_are_one_to_five() {
    for wrong in [0, 6, -1, 256, 257, i32::MAX] {
        assert!(Stars::parse(wrong).is_err(), "{wrong}");
    }
    assert!((1..=5).all(|stars| Stars::parse(stars).is_ok()));
}

#[test]
fn money_is_exact_and_shows_its_own_decimals() {
    let show = |amount, code| Money::price(amount, code).unwrap().to_string();
    assert_eq!(show(1_250, "GBP"), "12.50 GBP");
    assert_eq!(show(5, "GBP"), "0.05 GBP");
    assert_eq!(show(1_200, "JPY"), "1200 JPY");
    assert_eq!(show(1_234, "KWD"), "1.234 KWD");
    assert_eq!(Money::price(-1, "GBP"), Err(MoneyError::Negative));
    assert_eq!(Money::price(Money::MAX_PRICE_MINOR + 1, "GBP"), Err(MoneyError::TooLarge));
    for wrong in ["", "gbp", "XQZ", "GBPP"] {
        assert_eq!(Money::price(1, wrong), Err(MoneyError::UnknownCurrency), "{wrong}");
    }
}

#[test]
fn texts_are_bounded_and_plain() {
    assert_eq!(ItemName::parse("  Lampe à huile ").unwrap().as_str(), "Lampe à huile");
    // Two encodings of the same letter give the same name.
    assert_eq!(ItemName::parse("Cafe\u{301}").unwrap(), ItemName::parse("Caf\u{e9}").unwrap());
    for wrong in ["", "   ", "a\u{1b}[2Jb", "a\nb", "a\u{202e}b", &"x".repeat(201), &"x".repeat(1 << 20)] {
        assert!(ItemName::parse(wrong).is_err(), "{:?}", &wrong[..wrong.len().min(20)]);
    }
    assert!(Description::parse("two\nlines").is_ok());
    for text in ["two\r\nlines\r\n", "two\rlines", "two\nlines"] {
        assert_eq!(Description::parse(text).unwrap().as_str(), "two\nlines", "{text:?}");
    }
    assert!(ItemName::parse("two\r\nlines").unwrap_err().to_string().contains("line break"));
    assert!(Description::parse(&"ä".repeat(4_001)).is_err());
}

#[test]
fn categories_are_lower_case_paths() {
    for right in ["electronics", "electronics/audio", "a/b/c/d/e", "4k-tv"] {
        assert!(Category::parse(right).is_ok(), "{right}");
    }
    for wrong in
        ["", "Electronics", "a//b", "/a", "a/", "a/b/c/d/e/f", "-a", "a-", "a b", "ä", &"x".repeat(41)]
    {
        assert!(Category::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn money_survives_being_stored(amount in 0..=Money::MAX_PRICE_MINOR) {
        let money = Money::price(amount, "EUR").unwrap();
        let text = serde_json::to_string(&money).unwrap();
        prop_assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), money);
    }

    #[test]
    fn parsing_an_accepted_text_again_does_not_change_it(text in "\\PC{0,60}") {
        if let Ok(name) = ItemName::parse(&text) {
            prop_assert_eq!(ItemName::parse(name.as_str()).unwrap(), name);
        }
    }
}
