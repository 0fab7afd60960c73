//! `bench dead-callbacks`: callbacks that accept deliveries and never answer must not delay the notices of live sellers,
//! nor purchases.

mod scene;
mod silent;

use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use crate::figures::median;
use scene::Scene;

/// Measure live notices and purchases with and without callbacks that never answer
#[derive(Args)]
pub(crate) struct DeadCallbacksArgs {
    /// Number of callbacks that never answer.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    endpoints: u16,
    /// Number of pairs of phases, one with and one without them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Duration of each phase in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// With at least so many endpoints and pairs, a release build is judged by its latencies too.
const FULL_LENGTH: (u16, u32) = (1_000, 5);
/// The most by which dead callbacks may lengthen the 99th percentile of notices and of purchases (promise G7).
const MAX_RATIO: f64 = 1.1;
/// The most that the 99th percentile of live notices may take beside them.
const MAX_NOTICE: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: DeadCallbacksArgs) -> anyhow::Result<()> {
    let duration = Duration::from_secs(args.seconds);
    let with = Scene::open(usize::from(args.endpoints), true).await?;
    let without = Scene::open(usize::from(args.endpoints), false).await?;
    let (mut pairs, mut notices, mut missing) = (Vec::new(), 0, 0);
    for number in 1..=args.pairs {
        // The order alternates, so that neither always benefits from going second.
        let (dead, none) = if number % 2 == 0 {
            let dead = with.measure(duration).await?;
            (dead, without.measure(duration).await?)
        } else {
            let none = without.measure(duration).await?;
            (with.measure(duration).await?, none)
        };
        println!(
            "pair {number}: notice p99 {:.1} ms with, {:.1} ms without; purchase p99 {:.1} ms with, {:.1} ms without",
            millis(dead.notice_p99),
            millis(none.notice_p99),
            millis(dead.purchase_p99),
            millis(none.purchase_p99),
        );
        notices += dead.notices + none.notices;
        missing += dead.missing + none.missing;
        pairs.push((dead, none));
    }
    let ratio = |of: fn(&scene::Phase) -> Duration| {
        median(pairs.iter().map(|(dead, none)| millis(of(dead)) / millis(of(none))))
    };
    let (notice_ratio, purchase_ratio) = (ratio(|phase| phase.notice_p99), ratio(|phase| phase.purchase_p99));
    let notice_p99 = median(pairs.iter().map(|(dead, _)| millis(dead.notice_p99)));
    println!(
        "endpoints={} notices={notices} missing={missing}; live notice p99 {notice_p99:.1} ms, with ÷ without \
         {notice_ratio:.2}; purchase p99 with ÷ without {purchase_ratio:.2}",
        args.endpoints,
    );
    ensure!(missing == 0, "{missing} live notices did not arrive");
    let is_judged = !cfg!(debug_assertions) && args.endpoints >= FULL_LENGTH.0 && args.pairs >= FULL_LENGTH.1;
    ensure!(
        !is_judged || (notice_ratio <= MAX_RATIO && purchase_ratio <= MAX_RATIO),
        "dead callbacks slow others by more than {MAX_RATIO}"
    );
    ensure!(!is_judged || notice_p99 <= millis(MAX_NOTICE), "live notices take longer than {MAX_NOTICE:?}");
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
