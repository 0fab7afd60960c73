//! The chain of an error's causes.

use std::{error::Error, io};

/// A boxed error of any kind, as a source.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Returns the error and everything that caused it. An `io::Error` does not return the error that it wraps
/// from `source`, so it is unwrapped here.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| cause(error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

/// Describes the most specific cause: the last of the chain.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    let text = causes(error).last().unwrap_or(error).to_string();
    // What TLS says of it instead is about how a peer should close, and helps nobody. HTTP/2 keeps only the text.
    if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) || text.contains(CLOSED_WITHOUT_NOTIFY)
    {
        return "the connection was closed at the other end".to_owned();
    }
    without_links(&text)
}

/// What rustls calls a connection that was closed by TCP only.
const CLOSED_WITHOUT_NOTIFY: &str = "close_notify";

/// The places where libraries document themselves.
const LIBRARY_PAGES: [&str; 4] =
    ["https://docs.rs/", "https://github.com/", "https://crates.io/", "https://rustls.dev/"];

/// Removes links to the documentation of libraries, which some of them put into their errors, from a message.
pub fn without_links(message: &str) -> String {
    let mut text = message.to_owned();
    while let Some(at) = LIBRARY_PAGES.iter().filter_map(|page| text.find(page)).min() {
        let end = text[at..].find(|c: char| c.is_whitespace() || c == ')').map_or(text.len(), |end| at + end);
        let before = text[..at].trim_end_matches([' ', ':', '(', ';', ',']);
        let see = before.strip_suffix("see").filter(|before| before.ends_with([' ', '(']));
        let before = see.unwrap_or(before).trim_end_matches([' ', ':', '(', ';', ',']);
        text = format!("{before}{}", text[end..].trim_start_matches(')'));
    }
    text
}

/// Returns an error of the same kind whose text is the most specific cause.
pub(super) fn summary(error: &(dyn Error + 'static)) -> BoxError {
    if is_timeout(error) {
        // The kind decides whether the call is retried.
        return Box::new(io::Error::new(io::ErrorKind::TimedOut, innermost(error)));
    }
    innermost(error).into()
}

/// Returns whether a step took too long, rather than failed.
pub(crate) fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut io = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.any(|io| io.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Text(&'static str);

    #[test]
    fn links_to_libraries_are_removed_and_others_kept() {
        for (message, shown) in [
            ("it broke: https://docs.rs/rustls/latest/#eof", "it broke"),
            ("it broke (see https://github.com/a/b/issues/1); try again", "it broke; try again"),
            ("it broke; see https://docs.rs/x for more", "it broke for more"),
            ("write it like http://localhost:4317", "write it like http://localhost:4317"),
            ("https://docs.rs/x", ""),
        ] {
            assert_eq!(without_links(message), shown);
        }
        assert_eq!(innermost(&Text("no: https://docs.rs/x")), "no");
    }

    #[test]
    fn closed_connection_is_told_in_plain_words() {
        let closed =
            io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection without a close_notify");
        assert_eq!(innermost(&closed), "the connection was closed at the other end");
        let kept_by_h2 = Text(
            "connection error: peer closed connection without sending TLS close_notify: \
             https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof",
        );
        assert_eq!(innermost(&kept_by_h2), "the connection was closed at the other end");
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        assert_eq!(innermost(&refused), "connection refused");
    }
}
