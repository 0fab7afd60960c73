//! Lines of the shell: quotation as in a POSIX shell, without its pipes, redirections and lists.

use crate::Failure;

/// What was typed, possibly over several lines.
#[derive(Debug, PartialEq)]
pub(super) enum Typed {
    /// Commands, one for each line: pasted text may contain several.
    Commands(Vec<Vec<String>>),
    /// A quotation mark or a backslash at the end asks for another line.
    Unfinished,
}

/// Splits what was typed into commands and their words. Empty lines and comments (`#`) are left out.
///
/// # Errors
/// A line has a pipe, a redirection or `!`.
pub(super) fn read(text: &str) -> Result<Typed, Failure> {
    let mut commands = Vec::new();
    let mut line = String::new();
    for part in text.lines() {
        line.push_str(part);
        let Some(words) = shlex::split(&line) else {
            // Within quotation marks, the line break belongs to the word.
            line.push('\n');
            continue;
        };
        if let Some(operator) = operator(&line) {
            return Err(out_of_scope(operator));
        }
        if !words.is_empty() {
            commands.push(words);
        }
        line.clear();
    }
    Ok(if line.is_empty() { Typed::Commands(commands) } else { Typed::Unfinished })
}

/// Returns whether the shell needs no more lines to carry out what was typed.
pub(super) fn is_complete(text: &str) -> bool {
    !matches!(read(text), Ok(Typed::Unfinished))
}

/// Returns the beginning of the word at the end of a line, in bytes, and the word itself without its quotation marks.
pub(super) fn last_word(line: &str) -> (usize, String) {
    let mut start = line.len();
    let mut word = String::new();
    scan(line, |index, c, is_quoted| match c {
        Some(c) if c.is_whitespace() && !is_quoted => {
            start = line.len();
            word.clear();
        }
        c => {
            start = start.min(index);
            word.extend(c);
        }
    });
    (start, word)
}

/// Returns the first operator of the system's shell outside of quotation marks.
fn operator(line: &str) -> Option<char> {
    let mut found = None;
    let mut is_first_of_word = true;
    let mut is_first_of_line = true;
    let mut is_comment = false;
    scan(line, |_, c, is_quoted| {
        let Some(c) = c.filter(|_| !is_quoted) else {
            (is_first_of_word, is_first_of_line) = (false, false);
            return;
        };
        is_comment = (is_comment && c != '\n') || (is_first_of_word && c == '#');
        let is_operator = match c {
            '|' | ';' => true,
            '<' | '>' | '&' => is_first_of_word,
            '!' => is_first_of_line,
            _ => false,
        };
        if is_operator && !is_comment {
            found = found.or(Some(c));
        }
        is_first_of_word = c.is_whitespace();
        is_first_of_line = is_first_of_line && c.is_whitespace();
    });
    found
}

/// Calls `visit` with the position of each character, the character itself, and whether it is quoted. Quotation marks and
/// backslashes are `None`.
fn scan(line: &str, mut visit: impl FnMut(usize, Option<char>, bool)) {
    let mut quote = None;
    let mut is_escaped = false;
    for (index, c) in line.char_indices() {
        if is_escaped {
            is_escaped = false;
            visit(index, Some(c), true);
            continue;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => is_escaped = true,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {
                visit(index, Some(c), quote.is_some());
                continue;
            }
        }
        visit(index, None, true);
    }
}

fn out_of_scope(operator: char) -> Failure {
    Failure::usage(
        format!(
            "this shell has no pipes, redirections, lists or `!`, and the line has an unquoted `{operator}`"
        ),
        "quote it if it belongs to a value; otherwise type the command in your system's shell, where it has its pipes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<Vec<String>> {
        match read(text).unwrap() {
            Typed::Commands(commands) => commands,
            Typed::Unfinished => panic!("{text}"),
        }
    }

    #[test]
    fn open_quotation_marks_ask_for_another_line() {
        for open in ["sell --name 'Brass", "sell --name \"Brass", "items \\", "sell --name 'a\nb"] {
            assert!(!is_complete(open), "{open}");
        }
        assert_eq!(commands("sell --description 'one\ntwo'"), [["sell", "--description", "one\ntwo"]]);
        assert_eq!(commands("items \\\n--all"), [["items", "--all"]]);
    }

    #[test]
    fn pasted_lines_are_commands_of_their_own() {
        assert_eq!(commands("items\n\n# it's a comment\nship 4\n"), [vec!["items"], vec!["ship", "4"]]);
    }

    #[test]
    fn operators_of_the_systems_shell_are_refused_unless_quoted() {
        for line in ["items | less", "items|less", "items > a.txt", "!ls", "items; sales", "items && sales"] {
            let failure = read(line).unwrap_err();
            assert!(failure.to_string().contains("no pipes"), "{line}: {failure}");
        }
        for line in
            ["search 'a|b'", "sell --name \"50% off!\"", "search salt&pepper", "search a\\|b", "items # a|b"]
        {
            assert!(read(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn last_word_begins_after_the_last_unquoted_blank() {
        for (line, start, word) in [
            ("", 0, ""),
            ("del", 0, "del"),
            ("delete ", 7, ""),
            ("delete la", 7, "la"),
            ("delete 'brass la", 7, "brass la"),
            ("sell --category=ho", 5, "--category=ho"),
            ("é é", 3, "é"),
        ] {
            assert_eq!(last_word(line), (start, word.to_owned()), "{line}");
        }
    }
}
