//! The numbered menu of the shell: each entry asks field by field and makes a command line of the answers.

/// A numbered entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it says.
    pub label: &'static str,
    /// The command, such as `&["wish", "add"]`.
    pub command: &'static [&'static str],
    /// What it asks for.
    pub fields: &'static [Field],
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The question.
    pub prompt: &'static str,
    /// The flag that the answer is for; empty: a positional argument.
    pub flag: &'static str,
    /// Whether an empty answer leaves it out.
    pub optional: bool,
}

impl Field {
    /// Returns a positional argument.
    pub const fn argument(prompt: &'static str) -> Self {
        Self { prompt, flag: "", optional: false }
    }

    /// Returns a flag.
    pub const fn flag(prompt: &'static str, flag: &'static str) -> Self {
        Self { prompt, flag, optional: false }
    }

    /// Returns the same, but an empty answer leaves it out.
    pub const fn or_nothing(self) -> Self {
        Self { optional: true, ..self }
    }
}

impl Entry {
    /// Returns the command line made of the answers, one for each field; `None` when one is missing.
    pub fn words(&self, answers: &[String]) -> Option<Vec<String>> {
        let mut words: Vec<String> = self.command.iter().map(|word| (*word).to_owned()).collect();
        let mut arguments = Vec::new();
        for (field, answer) in self.fields.iter().zip(answers) {
            match (answer.trim(), field.optional) {
                ("", true) => {}
                ("", false) => return None,
                (answer, _) if field.flag.is_empty() => arguments.push(answer.to_owned()),
                // With "=", an answer may begin with a dash.
                (answer, _) => words.push(format!("{}={answer}", field.flag)),
            }
        }
        if !arguments.is_empty() {
            words.push("--".to_owned());
            words.extend(arguments);
        }
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUY: Entry = Entry {
        label: "Buy",
        command: &["buy"],
        fields: &[Field::argument("item"), Field::flag("units", "--quantity").or_nothing()],
    };

    #[test]
    fn answers_become_a_command_line() {
        let words =
            |answers: &[&str]| BUY.words(&answers.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["3", "-2"]).unwrap(), ["buy", "--quantity=-2", "--", "3"]);
        assert_eq!(words(&["3", ""]).unwrap(), ["buy", "--", "3"]);
        assert_eq!(words(&["", "2"]), None);
    }
}
