//! The numbered menu of the shell: each entry asks for its fields one by one, checks each answer at once, and builds a
//! command line from the answers.

use crate::{Source, format_money, parse_money, plain};

/// An entry of the menu. Its number is its position in [`Program::MENU`](crate::Program::MENU).
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The label shown in the menu.
    pub label: &'static str,
    /// The command, such as `&["wish", "add"]`.
    pub command: &'static [&'static str],
    /// The fields that it asks for.
    pub fields: &'static [Field],
    /// Whether it asks for confirmation, because it can't be undone.
    pub confirm: bool,
}

/// A question for one argument.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The text of the question.
    pub question: &'static str,
    /// The flag that takes the answer; empty for a positional argument.
    pub flag: &'static str,
    /// What a correct answer looks like.
    pub kind: Kind,
    /// What an empty answer means.
    pub empty: Empty,
}

/// What a correct answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One line of at most this many characters.
    Line(usize),
    /// Any text of at most this many characters.
    Prose(usize),
    /// Words to search for.
    Words,
    /// A category; those in use are offered.
    Category,
    /// An amount.
    Price,
    /// A number from 1 to this.
    Number(i64),
    /// A stock: a number, or a signed change.
    Stock,
    /// One of the values that the market has.
    Choice(Source),
    /// Not asked for: the present value that this flag changes, of what was chosen before.
    Present(&'static str),
}

/// What an empty answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// Nothing: the question is asked again.
    Refused,
    /// The argument is omitted.
    Omits,
    /// The present value is kept: the argument is omitted.
    Keeps,
    /// This answer.
    Means(&'static str),
}

impl Field {
    /// Creates a question for a positional argument.
    pub const fn argument(question: &'static str, kind: Kind) -> Self {
        Self { question, flag: "", kind, empty: Empty::Refused }
    }

    /// Creates a question for a flag.
    pub const fn flag(question: &'static str, flag: &'static str, kind: Kind) -> Self {
        Self { question, flag, kind, empty: Empty::Refused }
    }

    /// Creates a flag that is not asked for. It takes the present value that the user was shown, which `of` changes.
    pub const fn seen(flag: &'static str, of: &'static str) -> Self {
        Self { question: "", flag, kind: Kind::Present(of), empty: Empty::Omits }
    }

    /// Sets what an empty answer means.
    #[must_use]
    pub const fn if_empty(self, empty: Empty) -> Self {
        Self { empty, ..self }
    }

    /// Checks an answer that is not empty. Returns it in the form of the command line, or what is wrong with it, in one
    /// line. An amount without a currency is in `currency`.
    ///
    /// # Errors
    /// The answer is not of the field's kind.
    pub fn check(&self, answer: &str, currency: Option<&str>) -> Result<String, String> {
        match self.kind {
            Kind::Line(most) if answer.chars().any(char::is_control) => {
                Err(format!("one line of up to {most} characters, without control characters"))
            }
            Kind::Line(most) | Kind::Prose(most) => match answer.chars().count() {
                count if count > most => Err(format!("at most {most} characters; these are {count}")),
                _ => Ok(answer.to_owned()),
            },
            Kind::Words | Kind::Choice(_) | Kind::Present(_) => Ok(answer.to_owned()),
            Kind::Category => category(answer),
            Kind::Price => price(answer, currency),
            Kind::Number(most) => match answer.parse() {
                Ok(number) if (1..=most).contains(&number) => Ok(number.to_string()),
                _ => Err(format!("{:?} is not a number from 1 to {most}", plain(answer))),
            },
            Kind::Stock => match answer.parse::<i64>() {
                Ok(units) if answer.starts_with(['+', '-']) || units >= 0 => Ok(answer.to_owned()),
                _ => Err("write 5 to set the stock, +3 to add to it, -2 to take away".to_owned()),
            },
        }
    }
}

impl Entry {
    /// Creates an entry that asks for nothing.
    pub const fn plain(label: &'static str, command: &'static [&'static str]) -> Self {
        Self { label, command, fields: &[], confirm: false }
    }

    /// Creates an entry with questions.
    pub const fn asking(
        label: &'static str,
        command: &'static [&'static str],
        fields: &'static [Field],
    ) -> Self {
        Self { label, command, fields, confirm: false }
    }

    /// Makes it ask for confirmation at the end.
    #[must_use]
    pub const fn confirmed(self) -> Self {
        Self { confirm: true, ..self }
    }

    /// Builds the command line from the answers, one for each field: `None` for an omitted argument.
    pub fn words(&self, answers: &[Option<String>]) -> Vec<String> {
        let mut words: Vec<String> = self.command.iter().map(|word| (*word).to_owned()).collect();
        let mut arguments = Vec::new();
        for (field, answer) in self.fields.iter().zip(answers) {
            match answer {
                None => {}
                Some(answer) if field.flag.is_empty() => arguments.push(answer.clone()),
                // With `=`, the answer may begin with a dash.
                Some(answer) => words.push(format!("{}={answer}", field.flag)),
            }
        }
        if !arguments.is_empty() {
            words.push("--".to_owned());
            words.extend(arguments);
        }
        words
    }

    /// Returns whether the answers would change nothing, because every field that can be kept was.
    pub fn keeps_everything(&self, answers: &[Option<String>]) -> bool {
        let mut kept =
            self.fields.iter().zip(answers).filter(|(field, _)| field.empty == Empty::Keeps).peekable();
        kept.peek().is_some() && kept.all(|(_, answer)| answer.is_none())
    }
}

/// Reads a category as people write it, and checks it as the market does: up to five slugs, separated by slashes.
fn category(answer: &str) -> Result<String, String> {
    let is_slug = |part: &str| {
        (1..=40).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let slug = |part: &str| part.to_lowercase().split_whitespace().collect::<Vec<_>>().join("-");
    let parts: Vec<_> = answer.split('/').map(slug).collect();
    if parts.len() <= 5 && parts.iter().all(|part| is_slug(part)) {
        return Ok(parts.join("/"));
    }
    Err("write words like home or home/light: letters from a to z, digits and hyphens, up to 5 parts"
        .to_owned())
}

fn price(answer: &str, currency: Option<&str>) -> Result<String, String> {
    match parse_money(answer, currency) {
        Ok(money) => Ok(format_money(Some(&money))),
        Err(failure) => Err(format!("{}; write it like 12.50 GBP", plain(&failure.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUY: Entry = Entry::asking(
        "Buy",
        &["buy"],
        &[
            Field::argument("item", Kind::Choice(Source::Items)),
            Field::flag("units", "--quantity", Kind::Number(9)).if_empty(Empty::Means("1")),
        ],
    );

    #[test]
    fn answers_become_a_command_line() {
        let words =
            |item: &str, units: Option<&str>| BUY.words(&[Some(item.to_owned()), units.map(str::to_owned)]);
        assert_eq!(words("3", Some("-2")), ["buy", "--quantity=-2", "--", "3"]);
        assert_eq!(words("3", None), ["buy", "--", "3"]);
    }

    #[test]
    fn each_kind_of_answer_is_checked() {
        let check = |kind, answer: &str| Field::argument("", kind).check(answer, Some("GBP"));
        assert_eq!(check(Kind::Price, "9.9"), Ok("9.90 GBP".to_owned()));
        assert_eq!(check(Kind::Stock, "+3"), Ok("+3".to_owned()));
        assert_eq!(check(Kind::Category, "Home/Desk lamps"), Ok("home/desk-lamps".to_owned()));
        for (kind, wrong) in [
            (Kind::Line(3), "four"),
            (Kind::Line(9), "a\tb"),
            (Kind::Number(5), "6"),
            (Kind::Number(5), "0"),
            (Kind::Number(5), "two"),
            (Kind::Stock, "many"),
            (Kind::Price, "cheap"),
            (Kind::Category, "home & light"),
        ] {
            let error = check(kind, wrong).unwrap_err();
            assert!(!error.contains("--"), "the menu knows no flags: {error}");
        }
        let error = Field::argument("", Kind::Price).check("12", None).unwrap_err();
        assert!(!error.contains("--"), "{error}");
    }

    #[test]
    fn an_update_that_keeps_all_fields_changes_nothing() {
        const UPDATE: Entry = Entry::asking(
            "Update",
            &["update"],
            &[
                Field::argument("item", Kind::Choice(Source::Items)),
                Field::flag("price", "--price", Kind::Price).if_empty(Empty::Keeps),
            ],
        );
        assert!(UPDATE.keeps_everything(&[Some("3".into()), None]));
        assert!(!UPDATE.keeps_everything(&[Some("3".into()), Some("1.00 GBP".into())]));
        assert!(!BUY.keeps_everything(&[Some("3".into()), None]), "it has nothing to keep");
    }
}
