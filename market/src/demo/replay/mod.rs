//! `market demo --replay FILE`: replays a real order log line by line, over gRPC.
//!
//! Every stock code becomes an item with its latest description and price, listed by one of a few sellers.
//! Every valid line with a customer becomes a purchase by that customer, in the order of the file and at the
//! price of the line; where that differs from the item's price, the seller changes it first. Lines that
//! can't be traded are reported with number and reason. At the end the totals of the market must equal those
//! of the file.

mod log;
mod trade;

use std::{collections::BTreeMap, path::Path, time::Instant};

use anyhow::{Context as _, ensure};

pub use log::pence;
use log::{Books, OrderLog};
use trade::Trade;

/// Replays a log, and returns whether the totals agree.
pub async fn run(file: &Path) -> anyhow::Result<bool> {
    let text =
        std::fs::read(file).with_context(|| format!("can't read {}; check the path", file.display()))?;
    let log = OrderLog::read(&text)?;
    report_dirt(&log);
    ensure!(!log.purchases.is_empty(), "{} holds no line that can be traded", file.display());
    say!(
        "{} lines: {} items to list, {} purchases by {} customers",
        log.lines,
        log.items.len(),
        log.purchases.len(),
        log.customers()
    );
    let mut trade = Trade::open().await?;
    let began = Instant::now();
    trade.list(&log).await?;
    say!("listed {} items in {:.1?}", log.items.len(), began.elapsed());
    let began = Instant::now();
    let bought = trade.buy_all(&log).await?;
    let elapsed = began.elapsed();
    say!(
        "bought {} lines in {elapsed:.1?} ({:.0} a second, one after the other, each durable)",
        bought.orders,
        bought.orders as f64 / elapsed.as_secs_f64()
    );
    let sold = trade.sales().await?;
    let remaining = trade.remaining().await?;
    trade.close().await?;
    Ok(compare(&log.books(), &bought, &sold, remaining))
}

fn report_dirt(log: &OrderLog) {
    let mut by_reason: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for dirty in &log.dirt {
        by_reason.entry(dirty.reason).or_default().push(dirty.line);
    }
    for (reason, lines) in by_reason {
        let numbers: Vec<_> = lines.iter().map(u64::to_string).collect();
        say!("{} lines: {reason}: line {}", lines.len(), numbers.join(", "));
    }
}

fn compare(file: &Books, bought: &Books, sold: &Books, remaining: i64) -> bool {
    say!("{:<28} {:>8} {:>10} {:>16}", "", "orders", "units", "revenue");
    for (what, books) in [("the file", file), ("the buyers' orders", bought), ("the sellers' sales", sold)] {
        let revenue = format!("{}.{:02} GBP", books.pence / 100, books.pence % 100);
        say!("{what:<28} {:>8} {:>10} {revenue:>16}", books.orders, books.units);
    }
    say!("units left over: {remaining}");
    let equal = file == bought && file == sold && remaining == 0;
    say!("replay: {}", if equal { "the books agree" } else { "THE BOOKS DISAGREE" });
    equal
}
