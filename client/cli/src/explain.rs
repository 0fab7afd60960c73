//! `explain`: what a reason of an error means, and what the contract says about a name. Works without a market.

use std::{collections::BTreeSet, io::Write as _};

use clap::Args;
use souk_proto::{
    Reason,
    contract::{Definition, Kind, definitions},
    reason::code_name,
};
use souk_settings::closest;
use souk_stdio::Stdout;

use crate::{Audience, Failure, Output, exit, hints};

/// The maximum number of definitions that are shown for a name which several have.
const SHOWN_MAX: usize = 12;

/// Explain the reason of an error, or a message, field or call of the contract
///
/// Without a topic, lists the reasons and calls. Fields may be written as errors name them: item.unit_price. Works
/// without a market.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  {program} explain OUT_OF_STOCK
  {program} explain item.price
  {program} explain BuyItem")]
pub struct Explain {
    /// The reason, such as OUT_OF_STOCK, or the name, such as item.price or BuyItem.
    topic: Option<String>,
}

/// Prints an explanation.
///
/// # Errors
/// The topic is unknown, or standard output can't be written.
pub fn explain(topic: &Explain, audience: Audience, output: Output) -> Result<(), Failure> {
    let all = definitions();
    let text = match &topic.topic {
        None => overview(&all),
        Some(topic) => match (reason(topic), found(&all, topic)) {
            (Some(reason), _) => of_reason(reason, audience, output),
            (None, found) if found.is_empty() => return Err(unknown(topic, &all)),
            (None, found) => of_definitions(&found, &all, output),
        },
    };
    Stdout
        .write_all(text.as_bytes())
        .and_then(|()| Stdout.flush())
        .map_err(|error| Failure::io("write the text", error))
}

fn reason(topic: &str) -> Option<Reason> {
    topic.to_uppercase().replace(['-', ' '], "_").parse().ok()
}

fn of_reason(reason: Reason, audience: Audience, output: Output) -> String {
    let (code, exit_code) = (code_name(reason.code()), exit::of_reason(reason));
    let hint = hints::of_reason(reason, audience);
    if is_json(output) {
        return json(&serde_json::json!({
            "reason": reason.as_str(),
            "meaning": reason.meaning(),
            "status": code,
            "exit_code": exit_code,
            "hint": hint,
        }));
    }
    format!(
        "{reason}\n\n{}.\n\nstatus      {code}\nexit code   {exit_code}: {}\nwhat to do  {hint}\n",
        reason.meaning(),
        exit::meaning(exit_code),
    )
}

/// Returns the definitions that a topic may mean: those of the name, then those that a path leads to, or else those whose
/// names end with it. A path may begin with a field, as in the errors of a call: the item that is sold is an `ItemDraft`.
fn found(all: &[Definition], topic: &str) -> Vec<Definition> {
    let topic: String = without_indices(topic).trim_matches('.').to_owned();
    let by = |matches: &dyn Fn(&str) -> bool| -> Vec<Definition> {
        all.iter().filter(|definition| matches(&definition.name)).cloned().collect()
    };
    let mut exact = by(&|name| same(name, &topic));
    let Some((head, rest)) = topic.split_once('.') else {
        let ending = by(&|name| same(last(name), &topic));
        let named = if exact.is_empty() { ending } else { exact };
        return if named.is_empty() { partly_named(all, "", &topic) } else { named };
    };
    let heads = by(&|name| same(name, head) || same(last(name), head));
    let messages: BTreeSet<_> = heads
        .into_iter()
        .filter_map(|definition| match definition.kind {
            Kind::Message => Some(definition.name),
            Kind::Field => definition.type_name,
            _ => None,
        })
        .collect();
    let led_to: Vec<_> = messages.iter().flat_map(|message| below(all, message, rest)).collect();
    for definition in led_to {
        if !exact.contains(&definition) {
            exact.push(definition);
        }
    }
    exact
}

/// Follows a path of fields from a message.
fn below(all: &[Definition], message: &str, path: &str) -> Vec<Definition> {
    let (field, rest) = path.split_once('.').map_or((path, None), |(field, rest)| (field, Some(rest)));
    let exact = all.iter().filter(|definition| same(&definition.name, &format!("{message}.{field}")));
    let mut fields: Vec<_> = exact.cloned().collect();
    if fields.is_empty() {
        fields = partly_named(all, message, field);
    }
    let Some(rest) = rest else { return fields };
    let types: Vec<_> = fields.into_iter().filter_map(|field| field.type_name).collect();
    types.iter().flat_map(|message| below(all, message, rest)).collect()
}

/// Returns the fields of a message, or of any, in whose names the word is one of the words: `price` for `unit_price`.
fn partly_named(all: &[Definition], message: &str, word: &str) -> Vec<Definition> {
    let has_word = |definition: &&Definition| {
        let (of, name) = definition.name.rsplit_once('.').unwrap_or_default();
        definition.kind == Kind::Field
            && (message.is_empty() || of == message)
            && name.split('_').any(|part| same(part, word))
    };
    all.iter().filter(has_word).cloned().collect()
}

fn of_definitions(found: &[Definition], all: &[Definition], output: Output) -> String {
    if is_json(output) {
        let rows: Vec<_> = found
            .iter()
            .map(|definition| {
                serde_json::json!({
                    "name": definition.name,
                    "kind": definition.kind.as_str(),
                    "declaration": definition.declaration,
                    "comment": definition.comment,
                })
            })
            .collect();
        return json(&rows.into());
    }
    let mut text: Vec<_> = found.iter().take(SHOWN_MAX).map(|definition| shown(definition, all)).collect();
    if let Some(more) = found.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        text.push(format!(
            "and {more} others of the name; add the message, such as item.{}\n",
            last(&found[0].name)
        ));
    }
    text.join("\n")
}

/// Returns a definition with what is in it.
fn shown(definition: &Definition, all: &[Definition]) -> String {
    let Definition { kind, name, declaration, comment, .. } = definition;
    let comment = if comment.is_empty() { "The contract says no more about it." } else { comment };
    let mut text = format!("{name} ({})\n  {declaration}\n\n{comment}\n", kind.as_str());
    let inside = format!("{name}.");
    let members = all.iter().filter(|member| {
        let below = member.name.strip_prefix(&inside);
        below.is_some_and(|below| !below.contains('.'))
            && matches!(member.kind, Kind::Field | Kind::Value | Kind::Method)
    });
    let members: Vec<_> = members.collect();
    let width = members.iter().map(|member| last(&member.name).len()).max().unwrap_or(0);
    if !members.is_empty() {
        text.push('\n');
    }
    for member in members {
        let line = format!("  {:width$}  {}", last(&member.name), first_sentence(&member.comment));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns the reasons and the calls, one a line.
fn overview(all: &[Definition]) -> String {
    let width = Reason::ALL.iter().map(|reason| reason.as_str().len()).max().unwrap_or(0);
    let reasons =
        Reason::ALL.iter().map(|reason| format!("  {:width$}  {}\n", reason.as_str(), reason.meaning()));
    let calls: Vec<_> = all.iter().filter(|definition| definition.kind == Kind::Method).collect();
    let width = calls.iter().map(|call| call.name.len()).max().unwrap_or(0);
    let calls =
        calls.iter().map(|call| format!("  {:width$}  {}\n", call.name, first_sentence(&call.comment)));
    format!("Reasons of errors:\n{}\nCalls:\n{}", reasons.collect::<String>(), calls.collect::<String>())
}

fn unknown(topic: &str, all: &[Definition]) -> Failure {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    let names = all.iter().flat_map(|definition| [definition.name.as_str(), last(&definition.name)]);
    let hint = match closest(topic, reasons.chain(names)) {
        Some(near) => format!("did you mean {near}?"),
        None => "`explain` without a topic lists the reasons and calls".to_owned(),
    };
    Failure::usage(format!("there is no reason, message, field or call {topic}"), hint)
}

/// Returns whether two names are the same apart from case and the way in which words are joined.
fn same(one: &str, other: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase)
    }
    letters(one).eq(letters(other))
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Removes the numbers of list entries: `lines.item_id` for `lines[0].item_id`.
fn without_indices(path: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => kept.push(c),
            _ => {}
        }
    }
    kept
}

fn first_sentence(comment: &str) -> String {
    let line = comment.replace('\n', " ");
    line.split_once(". ").map_or(line.trim_end_matches('.'), |(first, _)| first).to_owned()
}

fn is_json(output: Output) -> bool {
    matches!(output, Output::Json | Output::Ndjson)
}

fn json(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(topic: &str) -> Vec<String> {
        names_in(&definitions(), topic)
    }

    fn names_in(all: &[Definition], topic: &str) -> Vec<String> {
        found(all, topic).into_iter().map(|definition| definition.name).collect()
    }

    fn shown(topic: &str, output: Output) -> String {
        let all = definitions();
        of_definitions(&found(&all, topic), &all, output)
    }

    #[test]
    fn every_reason_is_explained_to_everyone() {
        for &reason in Reason::ALL {
            for audience in Audience::ALL {
                let text = of_reason(reason, audience, Output::Table);
                assert!(text.contains(reason.meaning()) && text.contains("what to do  "), "{text}");
            }
            assert_eq!(super::reason(&reason.as_str().to_lowercase()), Some(reason));
        }
    }

    #[test]
    fn names_are_found_as_people_and_errors_write_them() {
        for (topic, name) in [
            ("item.price", "Item.unit_price"),
            ("item.unit_price", "Item.unit_price"),
            ("Item.unitPrice", "Item.unit_price"),
            ("item", "Item"),
            ("BuyItem", "BuyerService.BuyItem"),
            ("BuyerService.BuyItem", "BuyerService.BuyItem"),
            ("order_status_placed", "OrderStatus.ORDER_STATUS_PLACED"),
            ("item.price.amount_minor", "Money.amount_minor"),
            ("lines[0].item_id", "OrderLine.item_id"),
        ] {
            assert!(names(topic).iter().any(|found| found == name), "{topic}: {:?}", names(topic));
        }
        // What is shown of an item, and what is sent when it is sold.
        assert_eq!(names("item.price"), ["Item.unit_price", "ItemDraft.unit_price"]);
    }

    #[test]
    fn every_definition_is_found_by_its_own_name() {
        let all = definitions();
        for definition in &all {
            assert!(names_in(&all, &definition.name).contains(&definition.name), "{}", definition.name);
        }
    }

    #[test]
    fn unknown_topics_are_answered_with_a_guess() {
        let hint = |topic: &str| unknown(topic, &definitions()).hint().unwrap();
        assert_eq!(hint("OUT_OF_STOK"), "did you mean OUT_OF_STOCK?");
        assert!(hint("zzzzzzzz").contains("without a topic"));
        assert!(names("zzzzzzzz").is_empty() && names("").is_empty() && names("..").is_empty());
    }

    #[test]
    fn explanations_contain_the_comment_and_the_members() {
        let price = shown("item.price", Output::Table);
        assert!(price.contains("The price of one unit."), "{price}");
        let item = shown("Item", Output::Table);
        assert!(item.contains("  unit_price ") && item.contains("The price of one unit"), "{item}");
        let json: serde_json::Value = serde_json::from_str(&shown("item.price", Output::Json)).unwrap();
        assert_eq!(json[0]["name"], "Item.unit_price");
    }
}
