//! An entry of the menu as a dialogue: one field at a time, each answer checked at once. It knows no flags and no names
//! of fields.

use souk_client::error::without_links;

use super::{
    editor::Line,
    fit::{cut, width, wrapped},
    reader::Reader,
};
use crate::{
    Failure,
    choices::{Choice, Source},
    exit,
    grammar::Program,
    menu::{Empty, Entry, Field, Kind},
    plain,
};

/// The maximum number of choices that are listed. The others are found by their names.
const LISTED: usize = 12;
/// The maximum length of a present value in a question.
const PRESENT: usize = 40;

/// Asks for the fields of an entry. Returns the command line, or `None` if there is nothing to do.
pub(super) async fn fill_in<P: Program>(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<String>> {
    if !entry.fields.is_empty() {
        say(reader, &format!("{} (Ctrl-C cancels)", entry.label));
    }
    match ask_all::<P>(reader, entry).await {
        Some(answers) if entry.keeps_everything(&answers) => {
            say(reader, "nothing was changed");
            None
        }
        Some(answers) => Some(entry.words(&answers)),
        None => {
            say(reader, "nothing was done");
            None
        }
    }
}

async fn ask_all<P: Program>(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<Option<String>>> {
    let mut answers = Vec::with_capacity(entry.fields.len());
    let mut chosen = None;
    for field in entry.fields {
        let answer = match field.kind {
            Kind::Choice(source) => {
                let choice = choose::<P>(reader, field, source).await?;
                Some(chosen.insert(choice).value.clone())
            }
            Kind::Present(of) => present(chosen.as_ref(), of).map(str::to_owned),
            _ => ask::<P>(reader, field, chosen.as_ref()).await?,
        };
        answers.push(answer);
    }
    let is_sure = !entry.confirm || confirm::<P>(reader, entry, chosen.as_ref()).await;
    is_sure.then_some(answers)
}

/// Offers the market's values until one is chosen. Returns `None` if there is none, or the user cancels.
async fn choose<P: Program>(reader: &mut Reader<'_>, field: &Field, source: Source) -> Option<Choice> {
    let mut offered = match reader.choices::<P>(source, "").await? {
        Ok(choices) => choices,
        Err(failure) => {
            report(reader, &failure);
            return None;
        }
    };
    if offered.is_empty() {
        say(reader, "  there is nothing to choose from");
        return None;
    }
    list(reader, &offered);
    loop {
        let question = format!("  {}, by its number or a part of its name: ", field.question);
        let Line::Typed(typed) = reader.answer::<P>(question, &offered).await else { return None };
        let typed = typed.trim();
        if typed.is_empty() {
            continue;
        }
        if let Some(choice) = offered.iter().find(|choice| choice.value == typed) {
            return Some(choice.clone());
        }
        match reader.choices::<P>(source, typed).await? {
            Ok(found) if found.is_empty() => say(reader, &format!("  none fits {:?}", plain(typed))),
            Ok(found) if found.len() == 1 => {
                let choice = found.into_iter().next()?;
                say(reader, &format!("  {}  {}  {}", choice.value, choice.name, choice.details));
                return Some(choice);
            }
            Ok(found) => {
                list(reader, &found);
                offered = found;
            }
            Err(failure) => report(reader, &failure),
        }
    }
}

fn say(reader: &Reader<'_>, text: &str) {
    reader.session().printer().say(text);
}

fn list(reader: &Reader<'_>, choices: &[Choice]) {
    let listed = &choices[..choices.len().min(LISTED)];
    let columns = |column: fn(&Choice) -> &str| {
        listed.iter().map(|choice| column(choice).chars().count()).max().unwrap_or(0)
    };
    let (values, names) = (columns(|choice| &choice.value), columns(|choice| &choice.name).min(PRESENT));
    let width = width();
    for Choice { value, name, details, .. } in listed {
        let line = format!("  {value:>values$}  {name:names$}  {details}");
        say(reader, &cut(&line, width));
    }
    if choices.len() > LISTED {
        // Without a number: a source returns no more than some of its values.
        say(reader, "  … and more; type a part of the name");
    }
}

/// Asks until the answer is right. Returns `None` if the user cancels, and `Some(None)` for an omitted argument.
async fn ask<P: Program>(
    reader: &mut Reader<'_>,
    field: &Field,
    chosen: Option<&Choice>,
) -> Option<Option<String>> {
    let present = present(chosen, field.flag);
    let used = if field.kind == Kind::Category { categories::<P>(reader).await } else { Vec::new() };
    if !used.is_empty() {
        let names: Vec<_> = used.iter().map(|choice| choice.value.as_str()).collect();
        say(reader, &cut(&format!("  in use: {}", names.join(", ")), width()));
    }
    let question = format!("  {}{}: ", field.question, in_brackets(field.empty, present));
    // An amount without a currency is in that of the present one.
    let currency = present.filter(|_| field.kind == Kind::Price).and_then(|price| price.rsplit(' ').next());
    loop {
        let Line::Typed(typed) = reader.answer::<P>(question.clone(), &used).await else { return None };
        let typed = typed.trim();
        let answer = match field.empty {
            _ if !typed.is_empty() => typed,
            Empty::Omits | Empty::Keeps => return Some(None),
            Empty::Means(answer) => answer,
            Empty::Refused => {
                say(reader, "  this one is needed; Ctrl-C cancels");
                continue;
            }
        };
        match field.check(answer, currency.or(reader.session().currency())) {
            Ok(value) => return Some(Some(value)),
            Err(problem) => {
                wrapped(&problem, width() - 2).iter().for_each(|line| say(reader, &format!("  {line}")));
            }
        }
    }
}

/// Returns the present value of what a flag changes.
fn present<'a>(chosen: Option<&'a Choice>, flag: &str) -> Option<&'a str> {
    let (_, value) = chosen?.present.iter().find(|(changed_by, _)| *changed_by == flag)?;
    Some(value)
}

/// Returns what an empty answer means, as a question shows it.
fn in_brackets(empty: Empty, present: Option<&str>) -> String {
    let short = |value: &str| cut(value.lines().next().unwrap_or_default(), PRESENT);
    match (empty, present) {
        (Empty::Refused, _) => String::new(),
        (Empty::Omits, _) => " (optional)".to_owned(),
        (Empty::Means(answer), _) => format!(" [{answer}]"),
        (Empty::Keeps, Some("")) => " [none]".to_owned(),
        (Empty::Keeps, Some(value)) => format!(" [{}]", short(value)),
        (Empty::Keeps, None) => " [as it is]".to_owned(),
    }
}

/// Returns the categories in use, as far as they can be known now.
async fn categories<P: Program>(reader: &Reader<'_>) -> Vec<Choice> {
    reader.choices::<P>(Source::Categories, "").await.and_then(Result::ok).unwrap_or_default()
}

async fn confirm<P: Program>(reader: &mut Reader<'_>, entry: &Entry, chosen: Option<&Choice>) -> bool {
    let what = chosen.map(|choice| format!(": {}, {}", choice.value, choice.name)).unwrap_or_default();
    let question = format!("  {}{what}. Are you sure? yes or no [no]: ", entry.label);
    matches!(reader.answer::<P>(question, &[]).await,
        Line::Typed(typed) if ["y", "yes"].contains(&typed.trim().to_lowercase().as_str()))
}

fn report(reader: &Reader<'_>, failure: &Failure) {
    for line in in_plain_words(failure) {
        say(reader, &line);
    }
}

/// Returns the lines that say in the menu what failed: without the names of flags, commands and fields.
pub(super) fn in_plain_words(failure: &Failure) -> Vec<String> {
    let mut lines = vec![format!("error: {}", plain(&without_links(&failure.to_string())))];
    // Hints are written for command lines.
    match failure.hint().filter(|hint| !hint.contains("--") && !hint.contains('`')) {
        Some(hint) => lines.push(format!("hint: {hint}")),
        None if failure.exit_code() == exit::UNAVAILABLE => {
            lines.push("hint: check that the market runs and can be reached, and try again".to_owned());
        }
        None => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_shows_what_an_empty_answer_means() {
        assert_eq!(in_brackets(Empty::Keeps, Some("12.50 GBP")), " [12.50 GBP]");
        assert_eq!(in_brackets(Empty::Means("1"), None), " [1]");
        let long =
            in_brackets(Empty::Keeps, Some("A lantern of brass that burns for hours and hours\nSecond line"));
        assert!(long.chars().count() <= PRESENT + 3 && long.ends_with("…]"), "{long}");
    }

    #[test]
    fn errors_name_no_flags() {
        let failure = Failure::usage("the amount is wrong", "pass --currency GBP");
        assert_eq!(in_plain_words(&failure), ["error: the amount is wrong"]);
    }
}
