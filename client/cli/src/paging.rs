//! The flags of lists, and the loop that fetches one page or all of them, once or repeatedly.

use std::{collections::HashSet, time::Duration};

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    CliSession, Persistence,
    confirm::accepts,
    output::{Output, Printer, Shown},
};
use crate::Failure;

/// The rows of a page, unless others are asked for.
const PAGE: i32 = 50;
/// The rows of a page when all pages are fetched: the market's maximum.
const PAGE_OF_ALL: i32 = 200;
/// The time between two requests for a result that is watched, for each call that a request takes: a result of many pages
/// costs the market no more than one of a single page.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// The maximum time between two requests, so that the result does not get old.
const WATCH_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Flags of every list.
#[derive(Args, Clone, Debug)]
pub struct Paging {
    /// How many rows to show at most, 1 to 200 [default: 50; with --all, 200].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=200))]
    page_size: Option<i32>,
    /// Continue where an earlier page ended.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Fetch all pages, and print each as it arrives.
    #[arg(long)]
    all: bool,
}

/// Flags of lists that can be watched.
#[derive(Args, Clone, Debug)]
pub struct LivePaging {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    live: Live,
}

/// The flag of commands whose result can be watched.
#[derive(Args, Clone, Copy, Debug)]
pub struct Live {
    /// Show the result again whenever it changes, until Ctrl-C. Without a terminal, print each new or changed row.
    #[arg(long, short)]
    watch: bool,
}

impl Paging {
    /// Fetches one page, or all, and shows each as it arrives. `fetch` receives the page size and token, and returns
    /// the rows and the next token. A user of the menu is asked after each page whether to go on.
    ///
    /// # Errors
    /// Returns the errors of `fetch`, or one if the result can't be written.
    pub async fn pages<T: Shown>(
        &self,
        session: &CliSession,
        fetch: impl AsyncFn(i32, String) -> Result<(Vec<T>, String), Failure>,
    ) -> Result<(), Failure> {
        let mut listing = session.printer().listing::<T>()?;
        let mut next = self.each(&fetch, |rows| listing.add(&rows)).await?;
        if session.is_of_menu() {
            while !next.is_empty() && accepts("Show more").await? {
                let (rows, after) = fetch(self.size(), next).await?;
                listing.add(&rows)?;
                next = after;
            }
            return listing.end("");
        }
        listing.end(&next)?;
        if !next.is_empty() {
            session.printer().say(&format!("there is more: --page-token {next}, or --all"));
        }
        Ok(())
    }

    fn size(&self) -> i32 {
        self.page_size.unwrap_or(if self.all { PAGE_OF_ALL } else { PAGE })
    }

    /// Fetches one page, or all, as a whole.
    async fn gather<T>(
        &self,
        fetch: &impl AsyncFn(i32, String) -> Result<(Vec<T>, String), Failure>,
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        self.each(fetch, |rows| {
            all.extend(rows);
            Ok(())
        })
        .await?;
        Ok(all)
    }

    /// Fetches one page, or all, and passes each on as it arrives. Returns the token of the next page; empty if there is
    /// none.
    async fn each<T>(
        &self,
        fetch: &impl AsyncFn(i32, String) -> Result<(Vec<T>, String), Failure>,
        mut add: impl FnMut(Vec<T>) -> Result<(), Failure>,
    ) -> Result<String, Failure> {
        let mut token = self.page_token.clone();
        loop {
            let (rows, next) = fetch(self.size(), token).await?;
            add(rows)?;
            if !self.all || next.is_empty() {
                return Ok(next);
            }
            token = next;
        }
    }
}

impl LivePaging {
    /// Like [`Paging::pages`], and with `--watch` again whenever the list changes.
    ///
    /// # Errors
    /// Returns the errors of `fetch`, or one if the result can't be written. While a list is watched, the market may be
    /// out of reach for a while.
    pub async fn pages<T: Shown>(
        &self,
        session: &CliSession,
        fetch: impl AsyncFn(i32, String) -> Result<(Vec<T>, String), Failure>,
    ) -> Result<(), Failure> {
        if !self.live.watch {
            return self.paging.pages(session, fetch).await;
        }
        watch(session, async || self.paging.gather(&fetch).await, |printer, rows| printer.list(rows)).await
    }
}

impl Live {
    /// Shows a card, and with `--watch` again whenever it changes.
    ///
    /// # Errors
    /// As for [`LivePaging::pages`].
    pub async fn card<T: Shown>(
        self,
        session: &CliSession,
        fetch: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<(), Failure> {
        if !self.watch {
            return session.printer().card(&fetch().await?);
        }
        let show = |printer: &Printer, rows: &[T]| rows.iter().try_for_each(|card| printer.card(card));
        watch(session, async || Ok(vec![fetch().await?]), show).await
    }
}

/// Shows rows repeatedly, until Ctrl-C.
async fn watch<T: Shown>(
    session: &CliSession,
    fetch: impl AsyncFn() -> Result<Vec<T>, Failure>,
    show: impl Fn(&Printer, &[T]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut interrupted = session.interrupt()?;
    let _renewal = session.take_up_renewals(None).await?;
    tokio::select! {
        watched = follow(session, fetch, show) => watched,
        () = interrupted.came() => Ok(()),
    }
}

async fn follow<T: Shown>(
    session: &CliSession,
    fetch: impl AsyncFn() -> Result<Vec<T>, Failure>,
    show: impl Fn(&Printer, &[T]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let say = |news: &str| session.printer().say(news);
    let printer = session.printer();
    let is_screen = printer.output() == Output::Table && printer.is_terminal();
    let mut stream = printer.stream()?;
    let mut persistence = Persistence::default();
    let mut has_come = false;
    let mut shown = HashSet::new();
    loop {
        let calls_before = session.calls();
        let rows = match fetch().await {
            Ok(rows) => rows,
            Err(Failure::Client(error)) => {
                persistence.wait(session, error, std::mem::take(&mut has_come), say).await?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        persistence.came(say);
        has_come = true;
        let keys: Result<Vec<_>, _> = rows.iter().map(key).collect();
        let keys = keys.map_err(|error| Failure::io("write JSON", error.into()))?;
        let before: HashSet<String> = std::mem::take(&mut shown);
        let is_same = keys.len() == before.len() && keys.iter().all(|key| before.contains(key));
        if is_screen {
            // Again even if nothing has changed: the times are relative.
            printer.screen(|sheet| show(sheet, &rows))?;
        } else if !is_same {
            let news = rows.into_iter().zip(&keys).filter(|(_, key)| !before.contains(*key));
            stream.add(&news.map(|(row, _)| row).collect::<Vec<_>>())?;
        }
        shown = keys.into_iter().collect();
        sleep(interval(session.calls() - calls_before)).await;
    }
}

/// Returns the time until a result that took so many calls is requested again.
fn interval(calls: u32) -> Duration {
    WATCH_INTERVAL.saturating_mul(calls.max(1)).min(WATCH_INTERVAL_MAX)
}

/// Returns the content of a row without the fields that change as time passes.
fn key<T: Shown>(row: &T) -> serde_json::Result<String> {
    fn drop_passing(value: &mut Value, passing: &[&str]) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !passing.contains(&name.as_str()));
                fields.values_mut().for_each(|value| drop_passing(value, passing));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| drop_passing(value, passing)),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(row)?;
    drop_passing(&mut value, T::PASSING);
    Ok(value.to_string())
}
