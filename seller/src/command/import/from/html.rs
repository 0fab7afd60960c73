//! Descriptions in HTML, as plain text.
//!
//! This is not an HTML parser: it removes tags, and keeps paragraphs, line breaks and lists apart. It accepts any text,
//! including text that contains `<` but is not HTML.

use html_escape::decode_html_entities;

/// Elements that begin and end on lines of their own.
const BLOCKS: [&str; 25] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "div",
    "dl",
    "dt",
    "dd",
    "fieldset",
    "figure",
    "footer",
    "form",
    "header",
    "li",
    "main",
    "nav",
    "ol",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
    "option",
    "hr",
    "caption",
];
/// Elements that an empty line sets apart.
const PARAGRAPHS: [&str; 7] = ["p", "h1", "h2", "h3", "h4", "h5", "h6"];
/// Elements whose content is not text.
const SILENT: [&str; 5] = ["script", "style", "head", "template", "noscript"];

/// Returns the text of HTML, or a plain text as it is. Line breaks are LF.
pub(super) fn plain(html: &str) -> String {
    let html = html.replace("\r\n", "\n").replace('\r', "\n");
    let mut text = Text::default();
    let mut rest = html.as_str();
    let mut has_tags = false;
    while let Some((before, tag, after)) = next_tag(rest) {
        text.add(before);
        has_tags = true;
        rest = match tag.name.as_str() {
            silent if SILENT.contains(&silent) && !tag.is_end => after_end_of(silent, after),
            _ => {
                text.mark(&tag);
                after
            }
        };
    }
    if !has_tags {
        return visible(&decode_html_entities(&html)).trim().to_owned();
    }
    text.add(rest);
    text.text
}

struct Tag {
    name: String,
    is_end: bool,
}

/// Returns the text before the next tag or comment, the tag, and what follows.
fn next_tag(text: &str) -> Option<(&str, Tag, &str)> {
    let mut from = 0;
    loop {
        let begin = from + text[from..].find('<')?;
        let (before, tag) = text.split_at(begin);
        if let Some(comment) = tag.strip_prefix("<!--") {
            let after = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            return Some((before, Tag { name: String::new(), is_end: false }, after));
        }
        let inner = &tag[1..];
        let (is_end, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
        // As in HTML, `<` begins a tag only before a letter (or `!`); otherwise it is text.
        if inner.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?'))
            && let Some(end) = end_of_tag(inner)
        {
            let name = inner.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            let tag = Tag { name: name.to_ascii_lowercase(), is_end };
            return Some((before, tag, &inner[end + 1..]));
        }
        from = begin + 1;
    }
}

/// Returns the place of the `>` that ends a tag: not one in a quoted value.
fn end_of_tag(inner: &str) -> Option<usize> {
    let mut quote = None;
    inner.bytes().position(|byte| match (quote, byte) {
        (None, b'>') => true,
        (None, b'"' | b'\'') => {
            quote = Some(byte);
            false
        }
        (Some(open), byte) => {
            if open == byte {
                quote = None;
            }
            false
        }
        (None, _) => false,
    })
}

fn after_end_of<'a>(name: &str, text: &'a str) -> &'a str {
    let end = format!("</{name}");
    // Bytes, because lower case may have another length than upper case.
    let place =
        text.as_bytes().windows(end.len()).position(|found| found.eq_ignore_ascii_case(end.as_bytes()));
    place.map_or("", |place| text[place..].split_once('>').map_or("", |(_, after)| after))
}

/// A text that grows, in which white space is one space, and line breaks are those of the elements.
#[derive(Default)]
struct Text {
    text: String,
    /// The number of line breaks before the next word.
    breaks: usize,
    has_space: bool,
    /// Whether the next word is the first one of an item of a list.
    is_listed: bool,
}

impl Text {
    fn add(&mut self, html: &str) {
        let decoded = decode_html_entities(html);
        for c in visible(&decoded).chars() {
            if c.is_whitespace() {
                self.has_space = true;
                continue;
            }
            self.separate();
            self.text.push(c);
        }
    }

    fn separate(&mut self) {
        if self.text.is_empty() {
            // Nothing to separate from.
        } else if self.breaks > 0 {
            self.text.extend(std::iter::repeat_n('\n', self.breaks.min(2)));
        } else if self.has_space {
            self.text.push(' ');
        }
        self.breaks = 0;
        self.has_space = false;
        if std::mem::take(&mut self.is_listed) {
            self.text.push_str("- ");
        }
    }

    fn mark(&mut self, tag: &Tag) {
        match tag.name.as_str() {
            "br" => self.breaks += 1,
            "li" if !tag.is_end => {
                self.breaks = self.breaks.max(1);
                self.is_listed = true;
            }
            "td" | "th" => self.has_space = true,
            name if PARAGRAPHS.contains(&name) => self.breaks = self.breaks.max(2),
            name if BLOCKS.contains(&name) => self.breaks = self.breaks.max(1),
            _ => {}
        }
    }
}

/// Leaves out characters that the market refuses in a text: control characters, and those that change its direction.
fn visible(text: &str) -> String {
    let is_refused = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(|c| !is_refused(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_paragraphs_lines_and_lists() {
        for (html, expected) in [
            ("<p>A lamp.</p>\n<p>It is <b>bright</b>.</p>", "A lamp.\n\nIt is bright."),
            ("One<br>two<br/>\nthree<BR />four", "One\ntwo\nthree\nfour"),
            ("<ul>\n  <li>Oak</li>\n  <li>Ash &amp; elm</li>\n</ul>After", "- Oak\n- Ash & elm\nAfter"),
            ("<h2>Care</h2><div>Wash   at\n30&deg;</div>", "Care\n\nWash at 30°"),
            (
                "<table><tr><td>Size</td><td>M</td></tr><tr><td>Fit</td><td>Slim</td></tr></table>",
                "Size M\nFit Slim",
            ),
            ("<style>p { color: red }</style><p>Red</p><script>alert('<p>')</script>", "Red"),
            ("<!-- old --><p title=\"a > b\">New</p>", "New"),
            ("<p>&nbsp;</p><p>Text</p><p></p>", "Text"),
            ("Caf&eacute; &#8220;Noir&#x201d;<br>", "Café “Noir”"),
            ("<span>No</span> <em>blocks</em>", "No blocks"),
            ("<p>Unclosed <b>tag", "Unclosed tag"),
            ("<ul><li></li><li>One -</li><li></li></ul>", "- One -"),
        ] {
            assert_eq!(plain(html), expected, "{html}");
        }
    }

    #[test]
    fn a_plain_text_stays_as_it_is() {
        for text in ["Fits 2 < 3 people", "One\n\nTwo\n  three", "a <3 b", "x < y > z", "5 <"] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(plain("Salt &amp; pepper\r\nmill"), "Salt & pepper\nmill");
        assert_eq!(plain("bell\u{7}&#7;"), "bell&#7;");
    }
}
