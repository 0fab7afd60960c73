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
    // What TLS says of it instead is about how a peer should close, and helps nobody.
    if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
        return "the connection was closed at the other end".to_owned();
    }
    causes(error).last().unwrap_or(error).to_string()
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

    #[test]
    fn closed_connection_is_told_in_plain_words() {
        let closed =
            io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection without a close_notify");
        assert_eq!(innermost(&closed), "the connection was closed at the other end");
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        assert_eq!(innermost(&refused), "connection refused");
    }
}
