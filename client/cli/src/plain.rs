//! Escaping of untrusted text for terminals.

/// Replaces control characters, which a terminal would obey, by `\u{…}`. The market rejects names that
/// contain them, but a client need not rely on that.
pub fn plain(text: &str) -> String {
    if !text.chars().any(is_harmful) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| if is_harmful(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(plain("Lamp \u{1b}[2J\u{7}"), "Lamp \\u{1b}[2J\\u{7}");
        assert_eq!(plain("Lampe à huile"), "Lampe à huile");
    }
}
