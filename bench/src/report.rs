//! Formats the results of `bench compare`.

use crate::workload::Workload;

/// The result of one workload in one round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) calls_per_second: f64,
    /// Share of calls rejected because of overload, 0 to 1.
    pub(crate) refused: f64,
    /// CPU time of the server, user and system, per successful call.
    pub(crate) cpu_micros: f64,
    pub(crate) p50_micros: u64,
    pub(crate) p99_micros: u64,
}

impl Row {
    /// Formats the row as one line for the progress output.
    pub(crate) fn in_words(&self) -> String {
        let name = self.workload.as_str();
        format!("{name:<12} {:>8.0} calls/s, {:>6.1} µs/call", self.calls_per_second, self.cpu_micros)
    }
}

/// Prints, for each workload, the median of the ratios of server CPU time per call: this build divided by the older
/// one, within each round.
pub(crate) fn print_pairs(pairs: &[(Row, Row)]) {
    println!(
        "\n{:<12} {:>12} {:>12} {:>8} {:>8} {:>8} {:>9}",
        "workload", "now µs/call", "then µs/call", "median", "min", "max", "calls/s"
    );
    for workload in Workload::ALL {
        let pairs: Vec<_> = pairs.iter().filter(|(now, _)| now.workload == workload).collect();
        let ratios: Vec<_> = pairs.iter().map(|(now, before)| now.cpu_micros / before.cpu_micros).collect();
        let (least, most) = bounds(&ratios);
        println!(
            "{:<12} {:>12.1} {:>12.1} {:>8.3} {least:>8.3} {most:>8.3} {:>9.3}",
            workload.as_str(),
            median(pairs.iter().map(|(now, _)| now.cpu_micros)),
            median(pairs.iter().map(|(_, before)| before.cpu_micros)),
            median(ratios.iter().copied()),
            median(pairs.iter().map(|(now, before)| now.calls_per_second / before.calls_per_second)),
        );
    }
    println!("\nratios are this build / older build; median, min and max are of server CPU time per call");
}

/// Prints the median of each workload over the rounds, and the ratios with their targets.
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
        // The ratio is computed within each round, so that temporary slowdowns of the machine cancel out.
        let ratios: Vec<_> = rounds.iter().filter_map(|round| ratio(round, above, below)).collect();
        let name = format!("{} / {}", above.as_str(), below.as_str());
        let (least, most) = bounds(&ratios);
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

/// Target for the guard's share of CPU time, with a warm cache of verified tokens.
const GUARD_SHARE_PERCENT: f64 = 5.0;

/// Returns the guard's share of a guarded call's CPU time, 0 to 1: what is saved when the guard checks nothing.
fn guards_share(round: &[Row]) -> Option<f64> {
    let cpu = |of: Workload| round.iter().find(|row| row.workload == of).map(|row| row.cpu_micros);
    let (guarded, unguarded) = (cpu(Workload::Guarded)?, cpu(Workload::Unguarded)?);
    Some((guarded - unguarded) / guarded)
}

fn ratio(round: &[Row], above: Workload, below: Workload) -> Option<f64> {
    let rate = |of: Workload| round.iter().find(|row| row.workload == of).map(|row| row.calls_per_second);
    Some(rate(above)? / rate(below)?)
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)))
}

/// Returns the median, which is the mean of the two middle values if their number is even, and NaN if there are none.
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
