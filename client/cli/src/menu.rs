//! The numbered menu of the shell: each entry asks for its fields one by one and builds a command line from
//! the answers.

/// An entry of the menu. Its number is its position in [`Program::MENU`](crate::Program::MENU).
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The label shown in the menu.
    pub label: &'static str,
    /// The command, such as `&["wish", "add"]`.
    pub command: &'static [&'static str],
    /// The fields that it asks for.
    pub fields: &'static [Field],
}

/// A question for one argument.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The text of the question.
    pub prompt: &'static str,
    /// The flag that takes the answer; empty for a positional argument.
    pub flag: &'static str,
    /// Whether the argument is omitted if the answer is empty.
    pub optional: bool,
}

impl Field {
    /// Creates a question for a positional argument.
    pub const fn argument(prompt: &'static str) -> Self {
        Self { prompt, flag: "", optional: false }
    }

    /// Creates a question for a flag.
    pub const fn flag(prompt: &'static str, flag: &'static str) -> Self {
        Self { prompt, flag, optional: false }
    }

    /// Makes the answer optional: an empty one omits the argument.
    pub const fn or_nothing(self) -> Self {
        Self { optional: true, ..self }
    }
}

impl Entry {
    /// Builds the command line from the answers, one for each field; `None` if one is missing.
    pub fn words(&self, answers: &[String]) -> Option<Vec<String>> {
        let mut words: Vec<String> = self.command.iter().map(|word| (*word).to_owned()).collect();
        let mut arguments = Vec::new();
        for (field, answer) in self.fields.iter().zip(answers) {
            match (answer.trim(), field.optional) {
                ("", true) => {}
                ("", false) => return None,
                (answer, _) if field.flag.is_empty() => arguments.push(answer.to_owned()),
                // With `=`, the answer may begin with a dash.
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
