//! The error for an invalid value in a request.

use std::{borrow::Cow, fmt};

/// What is wrong with one value, worded to follow the field's name: "is empty; give it some text". The text
/// goes to the client as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// Creates a message, which should say what is wrong and what to do about it.
    pub fn new(problem: impl Into<Cow<'static, str>>) -> Self {
        Self(problem.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}
