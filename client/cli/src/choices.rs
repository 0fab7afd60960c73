//! The values that an argument can have, most of them on the market: the shell completes them, and its menu offers them.

use souk_proto::v1;

use crate::{CliSession, Failure, format_money, plain, prose};

/// The maximum number of values that are fetched to choose from.
pub const CHOICES_MAX: usize = 400;

/// The page size of the requests, the largest that the market allows.
const PAGE: i32 = 200;

/// What an argument stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Items that the command may name: a seller's own, or those that a buyer finds.
    Items,
    /// The seller's items that were withdrawn.
    Withdrawn,
    /// Items on the buyer's wishlist.
    Wishes,
    /// Items that the buyer has bought.
    Bought,
    /// The party's orders or sales with a status; `Unspecified` stands for any.
    Orders(v1::OrderStatus),
    /// Categories in use.
    Categories,
    /// The contexts of the program's role, on this machine. The shell knows them itself.
    Contexts,
}

/// A value to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// What a command line takes, such as an id.
    pub value: String,
    /// What people call it, such as an item's name; possibly empty.
    pub name: String,
    /// What helps to tell it from others, such as a price; possibly empty.
    pub details: String,
    /// The present values of its fields, by the flag that changes them.
    pub present: Vec<(&'static str, String)>,
}

impl Choice {
    /// Creates the choice of an item.
    pub fn item(item: &v1::Item) -> Self {
        let price = format_money(item.unit_price.as_ref());
        let stock =
            if item.quantity == 0 { "sold out".to_owned() } else { format!("{} in stock", item.quantity) };
        Self {
            value: item.item_id.to_string(),
            name: plain(&item.name),
            details: format!("{price}, {stock}"),
            present: vec![
                ("--name", plain(&item.name)),
                ("--category", plain(&item.category)),
                ("--price", price),
                ("--quantity", item.quantity.to_string()),
                ("--description", prose(&item.description)),
            ],
        }
    }

    /// Creates the choice of an order, with the other party's name.
    pub fn order(order: &v1::Order, with: &str) -> Self {
        let total = format_money(order.total_price.as_ref());
        Self {
            value: order.order_id.to_string(),
            name: format!("{} × {}", order.quantity, plain(&order.item_name)),
            details: format!("{total}, {}", plain(with)),
            present: Vec::new(),
        }
    }

    /// Creates the choice of the item of an order.
    pub fn bought(order: &v1::Order) -> Self {
        Self {
            value: order.item_id.to_string(),
            name: plain(&order.item_name),
            details: format!("from {}", plain(&order.seller_name)),
            present: Vec::new(),
        }
    }

    /// Creates the choice of a category.
    pub fn category(count: &v1::CategoryCount) -> Self {
        let items = if count.item_count == 1 { "item" } else { "items" };
        Self {
            value: plain(&count.category),
            details: format!("{} {items}", count.item_count),
            ..Self::default()
        }
    }

    /// Creates a choice from an id alone.
    pub fn number(id: i64) -> Self {
        Self { value: id.to_string(), ..Self::default() }
    }

    /// Returns whether it matches what was typed: the beginning of its value, or words of its name.
    pub fn matches(&self, typed: &str) -> bool {
        let name = self.name.to_lowercase();
        self.value.starts_with(typed.trim())
            || (!name.is_empty() && typed.to_lowercase().split_whitespace().all(|word| name.contains(word)))
    }
}

/// Returns the choices that match what was typed. A number stands for its id: if the list was cut off and does not
/// contain it, the market decides whether it exists.
pub fn matching(choices: Vec<Choice>, typed: &str) -> Vec<Choice> {
    let Ok(id) = typed.trim().parse::<i64>() else {
        return choices.into_iter().filter(|choice| choice.matches(typed)).collect();
    };
    let is_cut = choices.len() >= CHOICES_MAX;
    let exact: Vec<_> = choices.into_iter().filter(|choice| choice.value == typed.trim()).collect();
    if exact.is_empty() && is_cut { vec![Choice::number(id)] } else { exact }
}

/// Fetches pages until the last, or until there are [`CHOICES_MAX`] choices. `fetch` gets the page size and the page
/// token, and returns the choices and the next token.
///
/// # Errors
/// Returns the errors of `fetch`.
pub async fn pages(
    fetch: impl AsyncFn(i32, String) -> Result<(Vec<Choice>, String), Failure>,
) -> Result<Vec<Choice>, Failure> {
    let (mut choices, mut token) = fetch(PAGE, String::new()).await?;
    while !token.is_empty() && choices.len() < CHOICES_MAX {
        let (more, next) = fetch(PAGE, token).await?;
        choices.extend(more);
        token = next;
    }
    choices.truncate(CHOICES_MAX);
    Ok(choices)
}

/// Fetches the categories in use.
///
/// # Errors
/// Returns the error of a call.
pub async fn categories(session: &CliSession) -> Result<Vec<Choice>, Failure> {
    pages(async |page_size, page_token| {
        let request = v1::ListCategoriesRequest { page_size, page_token, ..Default::default() };
        let page = session.call(request).await?;
        Ok((page.categories.iter().map(Choice::category).collect(), page.next_page_token))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamps(count: usize) -> Vec<Choice> {
        let lamp = |id: usize| Choice { name: format!("Brass lamp {id}"), ..Choice::number(id as i64) };
        (1..=count).map(lamp).collect()
    }

    #[test]
    fn words_match_names_and_numbers_match_ids() {
        let values = |typed| matching(lamps(12), typed).into_iter().map(|c| c.value).collect::<Vec<_>>();
        assert_eq!(values("1"), ["1"]);
        assert_eq!(values("lamp 12"), ["12"]);
        assert_eq!(values("BRASS").len(), 12);
        assert!(values("99").is_empty() && values("sofa").is_empty());
        let beyond = matching(lamps(CHOICES_MAX), "9999");
        assert_eq!(beyond, [Choice::number(9999)], "the list was cut off");
    }
}
