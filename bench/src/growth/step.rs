//! What is measured at one size.

use std::{sync::Arc, time::Duration};

use souk_client::Connection;
use souk_proto::{Timestamp, v1};
use souk_testkit::actor::pounds;

use super::crowd::{Crowd, acting, buy};
use crate::{
    figures::median,
    load::{self, Measurement, median_millis, server_time},
    search::{DEEP_PAGE, PAGE, common_word, memory, mixed_median, mixed_words, nth_page, rare_words, timed},
    stocked::StockedMarket,
    workload,
};

/// Duration of each load.
const FOR: Duration = Duration::from_secs(2);
/// Repeats of a call that is measured alone.
pub(super) const REPEATS: usize = 50;
/// Updates of the item that everybody wishes for, each of which notifies all of them.
const UPDATES: i64 = 5;
/// A day, and the longest period of a summary, in seconds.
const DAY: i64 = 86_400;
const SUMMED: i64 = 366 * DAY;

/// How a figure may change with the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// A cost, which may grow with the logarithm.
    Cost,
    /// A rate, which may fall with the logarithm.
    Rate,
    /// Disk and index, which may grow with the size.
    Free,
}

/// A figure at one size.
pub(super) type Figures = Vec<(&'static str, Growth, f64)>;

/// Measures everything. The market is running, and all its items are indexed.
pub(super) async fn measure(market: &StockedMarket, crowd: &Crowd, wished: i64) -> anyhow::Result<Figures> {
    let mut figures = Vec::new();
    let buyer = crowd.connection(0).clone();
    let server = market.server()?;
    let mut add = |name, growth, value| figures.push((name, growth, value));
    for (names, requests) in [
        (
            ["mixed words, searches/s", "mixed words, p99 ms", "mixed words, server CPU µs"],
            mixed_words(&market.catalogue, market.items),
        ),
        (
            ["rare word, searches/s", "rare word, p99 ms", "rare word, server CPU µs"],
            rare_words(&market.catalogue, market.items),
        ),
    ] {
        let before = server.cpu_seconds()?;
        let load = search(crowd, requests).await?;
        let cpu = (server.cpu_seconds()? - before) * 1e6 / load.calls.max(1) as f64;
        add(names[0], Growth::Rate, load.calls_per_second());
        add(names[1], Growth::Cost, load.millis(0.99));
        add(names[2], Growth::Cost, cpu);
    }
    add("mixed words, counts known, server ms", Growth::Cost, mixed_median(&buyer, market).await?);
    let (items, shared) = (market.items, crowd.clone());
    let (before, first) = (server.cpu_seconds()?, crowd.orders);
    let load = load::run(crowd.connections(), FOR, move |_, number| {
        let crowd = shared.clone();
        async move { buy(&crowd, first + number, items).await }
    })
    .await?;
    add("purchases/s", Growth::Rate, load.calls_per_second());
    add("purchase, p99 ms", Growth::Cost, load.millis(0.99));
    let cpu = (server.cpu_seconds()? - before) * 1e6 / load.calls.max(1) as f64;
    add("purchase, server CPU µs", Growth::Cost, cpu);
    for (name, value) in single_calls(market, &buyer, wished).await? {
        add(name, Growth::Cost, value);
    }
    // It holds columns of the index, and has a bound of its own.
    add("anonymous memory, MB", Growth::Free, memory(market)?);
    let sizes = market.sizes()?;
    add("store, MB", Growth::Free, sizes.store as f64 / 1e6);
    add("index, MB", Growth::Free, sizes.index as f64 / 1e6);
    Ok(figures)
}

async fn search(crowd: &Crowd, requests: Vec<v1::SearchItemRequest>) -> anyhow::Result<Measurement> {
    let requests: Arc<[_]> = requests.into();
    load::run(crowd.connections(), FOR, move |buyer, number| {
        workload::search_one_of(buyer, Arc::clone(&requests), number)
    })
    .await
}

/// Measures calls one at a time. Returns the median of the server time of each kind, in milliseconds.
async fn single_calls(
    market: &StockedMarket,
    buyer: &Connection,
    wished: i64,
) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let first = common_word(&market.catalogue);
    let deep = nth_page(buyer, first.clone(), DEEP_PAGE).await?;
    let seller = market.sellers().await?.swap_remove(0);
    let mut all = Vec::new();
    let mut orders = v1::ListOrdersRequest { page_size: PAGE, ..Default::default() };
    let first_orders = orders.clone();
    for _ in 1..DEEP_PAGE {
        let page = buyer.buyer().list_orders(acting(0, orders.clone())?).await?.into_inner();
        if page.next_page_token.is_empty() {
            break;
        }
        orders.page_token = page.next_page_token;
    }
    for (name, request) in [("search, page 1, server ms", first), ("search, page 100, server ms", deep)] {
        let took = median_millis(REPEATS, async || Ok(timed(buyer, request.clone()).await?.0)).await?;
        all.push((name, took));
    }
    for (name, request) in
        [("ListOrders, page 1, server ms", first_orders), ("ListOrders, page 100, server ms", orders)]
    {
        let call = async || server_time(&buyer.buyer().list_orders(acting(0, request.clone())?).await?);
        all.push((name, median_millis(REPEATS, call).await?));
    }
    let sales = v1::ListSalesRequest { page_size: PAGE, ..Default::default() };
    let call = async || server_time(&seller.seller().list_sales(sales.clone()).await?);
    all.push(("ListSales, server ms", median_millis(REPEATS, call).await?));
    let summary = last_year();
    let call = async || server_time(&seller.seller().summarize_sales(summary).await?);
    all.push(("SummarizeSales of a year, server ms", median_millis(REPEATS, call).await?));
    all.push(("UpdateItem that all wish for, server ms", update_wished(market, &seller, wished).await?));
    Ok(all)
}

/// Updates the item that everybody wishes for, and waits until all of them have been notified.
async fn update_wished(market: &StockedMarket, seller: &Connection, item_id: i64) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for number in 0..UPDATES {
        // Only a price that differs is news.
        let amount_minor = 4_711 + i64::try_from(market.items)? + number;
        let item = Some(v1::ItemDraft { unit_price: pounds(amount_minor), ..Default::default() });
        let request_id = seller.request_id();
        let request = v1::UpdateItemRequest { request_id, item_id, item, ..Default::default() };
        let took = server_time(&seller.seller().update_item(request).await?)?;
        times.push(took.as_secs_f64() * 1_000.0);
    }
    market.wait_until("souk_fan_out_events", 0.0).await?;
    Ok(median(times.into_iter()))
}

/// Returns a request for the sales of the last year, up to the next midnight.
pub(super) fn last_year() -> v1::SummarizeSalesRequest {
    let until = (souk_certs::clock::now().unix_timestamp() / DAY + 1) * DAY;
    let midnight = |seconds| Some(Timestamp { seconds, nanos: 0 });
    v1::SummarizeSalesRequest {
        from_time: midnight(until - SUMMED),
        until_time: midnight(until),
        ..Default::default()
    }
}
