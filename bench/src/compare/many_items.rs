//! A market with many items: how fast they are imported, and searches for rare words beside guarded calls.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{load, made_up::Catalogue, search::rare_words, stocked::StockedMarket, workload};

/// Searches for rare words ÷ guarded calls, in calls per second, for each round. Also returns imported rows per second.
pub(super) async fn search_to_guarded(
    program: &Path,
    threads: usize,
    items: u64,
    (rounds, duration): (u32, Duration),
) -> anyhow::Result<(Vec<f64>, f64)> {
    let catalogue = Arc::new(Catalogue::new());
    let mut market = StockedMarket::open(program, "serve-market", threads, Arc::clone(&catalogue)).await?;
    let imported = items as f64 / market.stock(items).await?.as_secs_f64();
    // Merges of the index end with the market.
    market.stop().await?;
    market.start().await?;
    let buyers = market.buyers().await?;
    let requests: Arc<[_]> = rare_words(&catalogue, items).into();
    let mut ratios = Vec::new();
    // The first round opens connections and fills caches.
    for round in 0..=rounds {
        let guarded = load::run(&buyers, duration, |buyer, _| workload::who_am_i(buyer)).await?;
        let requests = Arc::clone(&requests);
        let search = load::run(&buyers, duration, move |buyer, number| {
            workload::search_one_of(buyer, Arc::clone(&requests), number)
        })
        .await?;
        let (search, guarded) = (search.calls_per_second(), guarded.calls_per_second());
        if round > 0 {
            println!("round {round}: {items} items: rare word {search:.0}/s, guarded {guarded:.0}/s");
            ratios.push(search / guarded);
        }
    }
    market.stop().await?;
    Ok((ratios, imported))
}

/// Imports the same rows at an empty market of each build, in pairs. Returns rows per second, this build ÷ the older one.
pub(super) async fn import_to_older(
    (program, older): (&Path, &Path),
    threads: usize,
    (rows, pairs): (u64, u32),
) -> anyhow::Result<Vec<f64>> {
    let catalogue = Arc::new(Catalogue::new());
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        let mut rates = [0.0; 2];
        // The order alternates, so that neither build always benefits from going second.
        for turn in 0..2 {
            let which = usize::from((pair + turn) % 2 == 1);
            let (build, catalogue) = ([program, older][which], Arc::clone(&catalogue));
            let mut market = StockedMarket::open(build, "serve-market", threads, catalogue).await?;
            rates[which] = rows as f64 / market.stock(rows).await?.as_secs_f64();
        }
        let [now, before] = rates;
        println!("pair {}: imported {now:.0} rows/s, older {before:.0} rows/s", pair + 1);
        ratios.push(now / before);
    }
    Ok(ratios)
}
