//! Formats the results of `bench compare`.

use crate::{
    figures::{Bound, Report, Table, bounds, median},
    workload::Workload,
};

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

/// Adds the median of each workload over the rounds, and the ratios with their targets. A ratio is computed within each
/// round, so that temporary slowdowns of the machine cancel out.
pub(crate) fn judge(report: &mut Report, rounds: &[Vec<Row>]) {
    let columns = ["calls/s", "server µs/call", "p50 ms", "p99 ms", "refused %"];
    let mut table = Table::new("workloads", "medians of all rounds", &columns);
    for workload in Workload::ALL {
        let rows: Vec<_> = rounds.iter().flatten().filter(|row| row.workload == workload).collect();
        let of = |figure: fn(&Row) -> f64| Some(median(rows.iter().map(|row| figure(row))));
        let values = vec![
            of(|row| row.calls_per_second),
            of(|row| row.cpu_micros),
            of(|row| row.p50_micros as f64 / 1_000.0),
            of(|row| row.p99_micros as f64 / 1_000.0),
            of(|row| row.refused * 100.0),
        ];
        table.row(workload.as_str(), values);
    }
    report.table(table);
    for (above, below, target) in [
        (Workload::Guarded, Workload::Echo, Bound::AtMost(1.25).stretch(1.15)),
        (Workload::BuyUniform, Workload::Echo, Bound::AtMost(2.7).stretch(2.2)),
        (Workload::Search, Workload::Echo, Bound::AtMost(2.5).stretch(2.0)),
    ] {
        let ratios = ratios(rounds, (above, below), |row| row.cpu_micros);
        report.judge(format!("{} ÷ {}, server CPU", above.as_str(), below.as_str()), &ratios, target);
    }
    for (above, below, bound) in [
        (Workload::Guarded, Workload::Echo, Bound::AtLeast(0.7)),
        (Workload::BuyUniform, Workload::Guarded, Bound::AtLeast(0.3)),
        (Workload::BuyHot, Workload::BuyUniform, Bound::AtLeast(0.8)),
    ] {
        let ratios = ratios(rounds, (above, below), |row| row.calls_per_second);
        report.judge(format!("{} ÷ {}, calls/s", above.as_str(), below.as_str()), &ratios, bound);
    }
    let uniform = rounds.iter().flatten().filter(|row| row.workload == Workload::BuyUniform);
    let spread: Vec<_> = uniform.map(|row| row.p99_micros as f64 / row.p50_micros.max(1) as f64).collect();
    report.judge("buy uniform, p99 ÷ p50 under load", &spread, Bound::AtMost(2.5).stretch(2.0));
    // What is saved when the guard checks nothing.
    let unguarded = ratios(rounds, (Workload::Unguarded, Workload::Guarded), |row| row.cpu_micros);
    let shares: Vec<_> = unguarded.iter().map(|ratio| (1.0 - ratio) * 100.0).collect();
    report.judge("the guard's share of a call's server CPU, %", &shares, Bound::AtMost(GUARD_SHARE_PERCENT));
}

/// Target for the guard's share of CPU time, with a warm cache of verified tokens.
const GUARD_SHARE_PERCENT: f64 = 5.0;

/// Returns the ratio of a figure of two workloads, for each round.
fn ratios(rounds: &[Vec<Row>], (above, below): (Workload, Workload), figure: fn(&Row) -> f64) -> Vec<f64> {
    let ratio = |round: &Vec<Row>| {
        let of = |of: Workload| round.iter().find(|row| row.workload == of).map(figure);
        Some(of(above)? / of(below)?)
    };
    rounds.iter().filter_map(ratio).collect()
}
