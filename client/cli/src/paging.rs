//! The flags of lists, and the loop that fetches one page or all of them.

use clap::Args;

use super::{CliSession, output::Shown};
use crate::Failure;

/// Flags of every list.
#[derive(Args, Clone, Debug)]
pub struct Paging {
    /// How many rows to show at most, 1 to 200.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=200))]
    page_size: i32,
    /// Continue where an earlier page ended.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Fetch all pages, each of --page-size rows.
    #[arg(long)]
    all: bool,
}

impl Paging {
    /// Fetches and shows one page, or all. `fetch` receives the page size and token, and returns the rows and
    /// the next token.
    ///
    /// # Errors
    /// Returns the errors of `fetch`, or one if the result can't be written.
    pub async fn pages<T: Shown>(
        &self,
        session: &CliSession,
        fetch: impl AsyncFn(i32, String) -> Result<(Vec<T>, String), Failure>,
    ) -> Result<(), Failure> {
        let (mut rows, mut next) = fetch(self.page_size, self.page_token.clone()).await?;
        while self.all && !next.is_empty() {
            let (more, token) = fetch(self.page_size, next).await?;
            rows.extend(more);
            next = token;
        }
        session.printer().list(&rows)?;
        if !next.is_empty() {
            session.printer().say(&format!("there is more: --page-token {next}, or --all"));
        }
        Ok(())
    }
}
