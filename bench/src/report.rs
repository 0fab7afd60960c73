//! The table.

use crate::workload::Workload;

/// One stretch of load, as the table shows it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) calls_per_second: f64,
    /// The share of calls that were refused for overload.
    pub(crate) refused: f64,
    /// Server CPU time, user and system, per call.
    pub(crate) cpu_micros: f64,
    pub(crate) p50_micros: u64,
    pub(crate) p99_micros: u64,
}

/// Prints the median of each workload over the rounds, and the ratios that the design is held to.
pub(crate) fn print(rounds: &[Vec<Row>]) {
    println!(
        "\n{:<12} {:>10} {:>14} {:>10} {:>10}",
        "workload", "calls/s", "server µs/call", "p50 ms", "p99 ms"
    );
    for workload in Workload::ALL {
        let rows: Vec<_> = rounds.iter().flatten().filter(|row| row.workload == workload).collect();
        println!(
            "{:<12} {:>10.0} {:>14.1} {:>10.2} {:>10.2} {:>9.1}%",
            workload.as_str(),
            median(rows.iter().map(|row| row.calls_per_second)),
            median(rows.iter().map(|row| row.cpu_micros)),
            median(rows.iter().map(|row| row.p50_micros as f64)) / 1_000.0,
            median(rows.iter().map(|row| row.p99_micros as f64)) / 1_000.0,
            median(rows.iter().map(|row| row.refused)) * 100.0,
        );
    }
    println!("\n{:<22} {:>8} {:>8} {:>8}   target", "ratio of calls/s", "median", "min", "max");
    for (above, below, target) in [
        (Workload::Guarded, Workload::Echo, 0.7),
        (Workload::BuyUniform, Workload::Guarded, 0.3),
        (Workload::BuyHot, Workload::BuyUniform, 0.8),
    ] {
        // Paired by round: what slows the machine down for a while slows both.
        let ratios: Vec<_> = rounds.iter().filter_map(|round| ratio(round, above, below)).collect();
        let name = format!("{} / {}", above.as_str(), below.as_str());
        let (least, most) = ratios.iter().fold((f64::MAX, f64::MIN), |(l, m), r| (l.min(*r), m.max(*r)));
        let median = median(ratios.iter().copied());
        let verdict = if median >= target { "reached" } else { "missed" };
        println!("{name:<22} {median:>8.2} {least:>8.2} {most:>8.2}   ≥ {target}: {verdict}");
    }
    let shares: Vec<_> = rounds.iter().filter_map(|round| guards_share(round)).collect();
    let share = median(shares.iter().copied()) * 100.0;
    let verdict = if share <= GUARD_SHARE_PERCENT { "reached" } else { "missed" };
    println!(
        "\nthe guard's share of a call's server CPU: {share:.1} % (≤ {GUARD_SHARE_PERCENT} %: {verdict})"
    );
}

/// What the design allows the guard, with its cache of verified tokens warm.
const GUARD_SHARE_PERCENT: f64 = 5.0;

/// How much of a guarded call is gone when the guard checks nothing.
fn guards_share(round: &[Row]) -> Option<f64> {
    let cpu = |of: Workload| round.iter().find(|row| row.workload == of).map(|row| row.cpu_micros);
    let (guarded, unguarded) = (cpu(Workload::Guarded)?, cpu(Workload::Unguarded)?);
    Some((guarded - unguarded) / guarded)
}

fn ratio(round: &[Row], above: Workload, below: Workload) -> Option<f64> {
    let rate = |of: Workload| round.iter().find(|row| row.workload == of).map(|row| row.calls_per_second);
    Some(rate(above)? / rate(below)?)
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }
}
