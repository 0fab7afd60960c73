//! What a row of another shop's file is: an item, or no item for a reason.

use super::super::fields::Field;

/// The longest description that the market accepts, in characters.
const MAX_DESCRIPTION_CHARS: usize = 4_000;
/// The longest SKU that the market accepts, in characters.
const MAX_SKU_CHARS: usize = 64;

/// The fields of an item, as texts. `None` is absent: the file does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Product {
    pub(super) sku: Option<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) category: Option<String>,
    /// With its currency, if the file has one.
    pub(super) price: Option<String>,
    pub(super) quantity: Option<String>,
    /// Whether the description was longer than the market accepts.
    pub(super) is_cut: bool,
}

/// The result of converting a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Converted {
    Item(Product),
    No(NoItem),
}

/// Why a row is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum NoItem {
    /// A further picture of a product.
    Picture,
    /// A product that buyers can't buy, but its variants, which follow.
    HasVariants,
    /// A draft, archived, hidden or private product.
    Unpublished,
    /// A gift card, which is money at the other shop.
    GiftCard,
    /// A product that groups others, or that another site sells.
    NotSold,
}

impl NoItem {
    /// Returns what to call a number of such rows.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Picture => "further pictures",
            Self::HasVariants => "products with variants, which are items themselves",
            Self::Unpublished => "products that are not published",
            Self::GiftCard => "gift cards",
            Self::NotSold => "products that group others or that another site sells",
        }
    }
}

impl Product {
    /// Returns the text of a field; `None` if it is absent.
    pub(in super::super) fn get(&self, field: Field) -> Option<&str> {
        let text = match field {
            Field::Sku => &self.sku,
            Field::Name => &self.name,
            Field::Description => &self.description,
            Field::Category => &self.category,
            Field::Price => &self.price,
            Field::Quantity => &self.quantity,
            // Numbers of the other shop; and the currency is a part of the price.
            Field::ItemId | Field::Currency => &None,
        };
        text.as_deref()
    }

    /// Sets the description, cut after a word if the market does not accept its length.
    pub(super) fn describe(&mut self, text: String) {
        let Some((end, _)) = text.char_indices().nth(MAX_DESCRIPTION_CHARS) else {
            self.description = Some(text);
            return;
        };
        // Room for the ellipsis.
        let kept = text[..end].char_indices().next_back().map_or("", |(last, _)| &text[..last]);
        let word_end = kept.rfind(char::is_whitespace).filter(|place| *place > kept.len() / 2);
        let kept = kept[..word_end.unwrap_or(kept.len())].trim_end();
        self.description = Some(format!("{kept}…"));
        self.is_cut = true;
    }
}

/// Returns a quantity of stock: what was sold beyond the stock counts as nothing.
pub(super) fn stock(text: &str) -> String {
    let is_negative = text.strip_prefix('-').is_some_and(|digits| digits.parse::<f64>().is_ok());
    if is_negative { "0".to_owned() } else { text.to_owned() }
}

/// Returns a SKU made of parts, for a product that has none.
///
/// # Errors
/// It is longer than the market accepts.
pub(super) fn sku_of(parts: &[&str], column: &str) -> Result<String, String> {
    let sku = parts.join("-");
    if sku.chars().count() > MAX_SKU_CHARS {
        return Err(format!(
            "has no {column}, and {sku:?} is longer than the {MAX_SKU_CHARS} characters of a sku; give it one"
        ));
    }
    Ok(sku)
}

/// Returns a name with the values by which a variant differs from others, unless the name has them already.
pub(super) fn variant_name<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let has = |value: &str| {
        let words =
            |text: &str| text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>();
        let (name, value) = (words(&lower), words(&value.to_lowercase()));
        name.windows(value.len()).any(|found| found == value)
    };
    let new: Vec<_> = values.into_iter().filter(|value| !value.is_empty() && !has(value)).collect();
    if new.is_empty() { name.to_owned() } else { format!("{name} - {}", new.join(" / ")) }
}

/// Returns whether a text is a yes of a spreadsheet or an API.
pub(super) fn is_true(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_description_is_cut_after_a_word() {
        let mut product = Product::default();
        product.describe("word ".repeat(1_000));
        let text = product.description.unwrap();
        assert!(product.is_cut && text.ends_with("word…"), "{}", &text[text.len() - 20..]);
        assert!(text.chars().count() <= MAX_DESCRIPTION_CHARS);
        let mut product = Product::default();
        product.describe("é".repeat(MAX_DESCRIPTION_CHARS));
        assert!(!product.is_cut);
        product.describe("é".repeat(MAX_DESCRIPTION_CHARS + 1));
        assert_eq!(product.description.unwrap().chars().count(), MAX_DESCRIPTION_CHARS);
    }

    #[test]
    fn a_variant_is_named_by_what_it_differs_in() {
        assert_eq!(variant_name("Shirt", ["Red", "M"]), "Shirt - Red / M");
        assert_eq!(variant_name("Shirt - red, M", ["Red", "M"]), "Shirt - red, M");
        assert_eq!(variant_name("Mug", ["M"]), "Mug - M", "a letter within a word is no value");
        assert_eq!(variant_name("Mug", [""]), "Mug");
    }

    #[test]
    fn oversold_stock_is_none() {
        for (text, expected) in [("3", "3"), ("-2", "0"), ("-2.0", "0"), ("0", "0"), ("x", "x"), ("-x", "-x")]
        {
            assert_eq!(stock(text), expected);
        }
    }
}
