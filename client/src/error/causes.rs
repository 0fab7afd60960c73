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

/// Returns the most specific cause: the last of the chain.
pub(super) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}
