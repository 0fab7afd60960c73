//! Asks for a confirmation.

use std::io;

use crate::Failure;

/// Asks a yes-or-no question on standard error, and reads the answer from standard input. Anything but "y" or "yes"
/// means no. `question` has no question mark.
///
/// # Errors
/// Standard input can't be read.
pub async fn ask_yes_no(question: &str) -> Result<bool, Failure> {
    souk_stdio::report(format_args!("{question}? [y/N] "));
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    let answer = answer.map_err(|error| Failure::io("read the answer", error))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
