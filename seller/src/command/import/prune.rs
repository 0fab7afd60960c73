//! `seller import --sync`: deletes the items that the file does not have, so that the shop is equal to the file.
//!
//! A file that was cut off, or that is of another shop, must not empty the shop. So nothing is deleted before the end of
//! the file, or if a row was refused, and much is deleted only if the user says how much.

use std::{
    collections::HashSet,
    io::{self, IsTerminal as _},
    path::Path,
};

use clap::Args;
use futures::{StreamExt as _, stream};
use souk_cli::{CliSession, Failure, ask_yes_no, plain};
use souk_client::Connection;
use souk_help::LESS_COMMON;
use souk_proto::{
    Reason,
    v1::{DeleteItemRequest, DisplaySellerItemsRequest, ImportRow, Item},
};
use unicode_normalization::UnicodeNormalization as _;

use super::{
    super::pick::counted,
    tally::{CORRECT_LINES, Tally},
};

/// The share of the shop, in percent, that is deleted without `--max-delete`.
const MAX_PERCENT: usize = 20;
/// The number of deletions in progress at a time.
const DELETIONS_AT_ONCE: usize = 8;
/// The number of items in a page, the most that a market sends.
const PAGE_SIZE: i32 = 200;
/// The maximum number of items that are printed before they are deleted.
const MAX_PRINTED: usize = 1_000;

#[derive(Args)]
pub(super) struct Prune {
    /// Make the shop equal to the file: when every row was accepted, delete the items with a sku that the file does not
    /// have. Items without a sku stay. Asks first.
    #[arg(long)]
    sync: bool,
    /// The maximum number of items to delete; without it, 20 % of the shop.
    #[arg(long, help_heading = LESS_COMMON, value_name = "N", requires = "sync")]
    max_delete: Option<usize>,
    /// Delete without asking.
    #[arg(long, requires = "sync")]
    yes: bool,
}

/// The items that the rows of a file name.
#[derive(Debug, Default)]
pub(super) struct Mentioned {
    skus: HashSet<String>,
    items: HashSet<i64>,
}

/// An item that is to be deleted.
struct Surplus {
    item_id: i64,
    sku: String,
    name: String,
}

impl Mentioned {
    pub(super) fn add(&mut self, row: &ImportRow) {
        if row.item_id != 0 {
            self.items.insert(row.item_id);
        }
        if let Some(sku) = row.item.as_ref().and_then(|item| item.sku.as_deref()) {
            self.skus.insert(normalized(sku));
        }
    }

    fn has(&self, item: &Item) -> bool {
        self.items.contains(&item.item_id) || self.skus.contains(&normalized(&item.sku))
    }
}

/// Returns a SKU in the form in which the market keeps it.
fn normalized(sku: &str) -> String {
    sku.trim().nfc().collect()
}

impl Prune {
    /// Returns whether the shop is to be made equal to the file.
    pub(super) fn is_on(&self) -> bool {
        self.sync
    }

    /// Checks, before anything is sent, that the user can be asked.
    pub(super) fn check(&self, file: &Path, dry_run: bool) -> Result<(), Failure> {
        let can_ask = file.as_os_str() != "-" && io::stdin().is_terminal();
        if !self.sync || self.yes || dry_run || can_ask {
            return Ok(());
        }
        Err(Failure::usage(
            "--sync asks before it deletes items, and standard input is not a terminal",
            "pass --yes, or see with --dry-run what it would delete",
        ))
    }

    /// Deletes the items that the file does not have, after all of its rows were sent.
    pub(super) async fn run(
        &self,
        session: &CliSession,
        mentioned: &Mentioned,
        tally: &mut Tally,
        dry_run: bool,
    ) -> Result<(), Failure> {
        if tally.failed_count > 0 {
            return Err(Failure::conflict(
                format!(
                    "nothing was deleted, because {} of {} rows were refused",
                    tally.failed_count, tally.rows
                ),
                CORRECT_LINES,
            ));
        }
        let connection = session.connection().await?;
        let (size, surplus) = surplus(connection, mentioned).await?;
        if surplus.is_empty() {
            return Ok(());
        }
        // The shop as it was: new items must not make a large deletion look small.
        let created = usize::try_from(tally.created_count).unwrap_or(0);
        let size = if dry_run { size } else { size.saturating_sub(created) };
        print(session, &surplus, if dry_run { "would delete" } else { "to delete:" });
        self.check_limit(surplus.len(), size)?;
        if dry_run {
            tally.deleted_count = i64::try_from(surplus.len()).unwrap_or(i64::MAX);
            return Ok(());
        }
        let question = format!("delete {}", counted(surplus.len(), "item"));
        if !self.yes && !ask_yes_no(&question).await? {
            return Err(Failure::conflict(
                "nothing was deleted, because you did not confirm it",
                "the rows of the file were imported; import it again to delete the other items",
            ));
        }
        delete(connection, surplus, tally).await
    }

    fn check_limit(&self, count: usize, size: usize) -> Result<(), Failure> {
        let (is_allowed, limit) = match self.max_delete {
            Some(limit) => (count <= limit, format!("--max-delete {limit}")),
            None => (count * 100 <= size * MAX_PERCENT, format!("{MAX_PERCENT} %")),
        };
        if is_allowed {
            return Ok(());
        }
        Err(Failure::conflict(
            format!(
                "nothing was deleted: the file lacks {count} of the shop's {size} items, more than {limit}"
            ),
            format!("check that the file is the whole shop's; to delete them all, pass --max-delete {count}"),
        ))
    }
}

/// Returns the number of items in the shop, and those that have a SKU and are not mentioned.
async fn surplus(connection: &Connection, mentioned: &Mentioned) -> Result<(usize, Vec<Surplus>), Failure> {
    let (mut size, mut surplus) = (0, Vec::new());
    let mut page_token = String::new();
    loop {
        let page = connection
            .call(DisplaySellerItemsRequest { page_size: PAGE_SIZE, page_token, withdrawn: false })
            .await?;
        size += page.items.len();
        let others = page.items.into_iter().filter(|item| !item.sku.is_empty() && !mentioned.has(item));
        surplus.extend(others.map(|Item { item_id, sku, name, .. }| Surplus { item_id, sku, name }));
        if page.next_page_token.is_empty() {
            return Ok((size, surplus));
        }
        page_token = page.next_page_token;
    }
}

fn print(session: &CliSession, surplus: &[Surplus], what: &str) {
    for Surplus { item_id, sku, name } in surplus.iter().take(MAX_PRINTED) {
        session.printer().say(&format!("{what} item {item_id} ({}): {}", plain(sku), plain(name)));
    }
    if surplus.len() > MAX_PRINTED {
        session.printer().say(&format!("and {} more", surplus.len() - MAX_PRINTED));
    }
}

/// Deletes items, several at a time. Each call is repeated until it is answered, and takes effect once.
async fn delete(connection: &Connection, surplus: Vec<Surplus>, tally: &mut Tally) -> Result<(), Failure> {
    let calls = surplus.into_iter().map(async |Surplus { item_id, .. }| {
        let deleted = connection.call(DeleteItemRequest { item_id, ..Default::default() }).await;
        match deleted {
            Ok(_) => Ok(true),
            // It was deleted in the meantime.
            Err(failure) if failure.reason() == Some(Reason::ItemNotFound) => Ok(false),
            Err(failure) => Err(failure),
        }
    });
    let mut deletions = stream::iter(calls).buffer_unordered(DELETIONS_AT_ONCE);
    while let Some(deleted) = deletions.next().await {
        tally.deleted_count += i64::from(deleted?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use souk_cli::exit;
    use souk_proto::v1::ItemDraft;

    use super::*;

    fn prune(max_delete: Option<usize>) -> Prune {
        Prune { sync: true, max_delete, yes: true }
    }

    #[test]
    fn more_than_a_fifth_of_the_shop_is_deleted_only_up_to_a_stated_number() {
        for (limit, count, size, is_allowed) in [
            (None, 20, 100, true),
            (None, 21, 100, false),
            (None, 1, 4, false),
            (None, 1, 0, false),
            (Some(21), 21, 100, true),
            (Some(20), 21, 100, false),
            (Some(3), 4, 100, false),
        ] {
            let checked = prune(limit).check_limit(count, size);
            assert_eq!(checked.is_ok(), is_allowed, "{limit:?}: {count} of {size}");
            assert!(checked.err().is_none_or(|failure| failure.exit_code() == exit::CONFLICT));
        }
    }

    #[test]
    fn a_sku_is_compared_as_the_market_keeps_it() {
        let mut mentioned = Mentioned::default();
        let item = ItemDraft { sku: Some(" Cafe\u{301} ".to_owned()), ..Default::default() };
        mentioned.add(&ImportRow { item: Some(item), ..Default::default() });
        mentioned.add(&ImportRow { item_id: 7, ..Default::default() });
        let item = |item_id, sku: &str| Item { item_id, sku: sku.to_owned(), ..Default::default() };
        assert!(mentioned.has(&item(1, "Caf\u{e9}")) && mentioned.has(&item(7, "A")));
        assert!(!mentioned.has(&item(2, "cafe")));
    }
}
