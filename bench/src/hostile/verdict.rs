//! Whether a case is held, and what is printed about it.

use super::{
    honest::{KINDS, Served},
    round::Outcome,
};

/// Calls without which a case of the long form shows nothing.
const ENOUGH_CALLS: u64 = 400;
/// The share of calls that must be answered in time.
const ENOUGH_OK: f64 = 0.99;
/// The most that a median may be of that of the control.
const SLOWEST: f64 = 3.0;
/// The most memory that an attack may take, in bytes.
const MOST_MEMORY: u64 = 256 << 20;
/// The most file descriptors that an attack may take: those of an address's connections that wait for their handshake,
/// and some. Many systems allow a process 1,024 unless told otherwise; the units in `deploy` allow more.
const MOST_DESCRIPTORS: usize = 1_536;
/// The most that the market may log during a case, in bytes.
const MOST_LOG: u64 = 64 << 20;
const MEBIBYTE: f64 = 1_048_576.0;

/// What is printed about a case.
pub(super) struct Verdict {
    pub(super) is_held: bool,
    /// The control was too slow beside an idle market, so the case shows nothing.
    pub(super) is_invalid: bool,
    pub(super) line: String,
    pub(super) details: String,
}

impl Verdict {
    /// Judges a case. `alone` is how a market serves with nothing beside it; `None` in the short form, which looks at
    /// counts and memory only.
    pub(super) fn of(name: &str, outcome: &Outcome, alone: Option<&Served>) -> Self {
        let served = &outcome.served;
        let (p50, p99) = match &outcome.control {
            Some(control) => (Some(slowest(served, control, 0.5)), Some(slowest(served, control, 0.99))),
            None => (None, None),
        };
        let mut why = Vec::new();
        if outcome.has_ended {
            why.push("the market has ended".to_owned());
        }
        why.extend(outcome.breach.clone());
        if alone.is_some() && served.calls() < ENOUGH_CALLS {
            why.push(format!("only {} calls in {:.0} s", served.calls(), served.took.as_secs_f64()));
        }
        if served.ok() < ENOUGH_OK {
            why.push(served.failure().unwrap_or_default());
        }
        if let Some(p50) = p50.filter(|p50| *p50 > SLOWEST) {
            why.push(format!("p50 is {p50:.1} times that of the control"));
        }
        if outcome.growth > MOST_MEMORY {
            why.push("too much memory".to_owned());
        }
        if !outcome.is_back {
            why.push("the memory is not back".to_owned());
        }
        if outcome.descriptors > MOST_DESCRIPTORS {
            why.push(format!("{} descriptors", outcome.descriptors));
        }
        if outcome.logged > MOST_LOG {
            why.push(format!("the log grew by {:.0} MiB", outcome.logged as f64 / MEBIBYTE));
        }
        let mut is_invalid = false;
        if let (Some(control), Some(alone)) = (&outcome.control, alone) {
            let slowed = slowest(control, alone, 0.5);
            is_invalid = slowed > SLOWEST;
            if is_invalid {
                why.push(format!("invalid: p50 of the control is {slowed:.1} times that of an idle market"));
            }
        }
        let is_held = why.is_empty();
        let end = if is_held { "held".to_owned() } else { format!("NOT HELD ({})", why.join("; ")) };
        let times = |factor: Option<f64>| factor.map_or("–".to_owned(), |factor| format!("{factor:.2}"));
        let line = format!(
            "case {name} honest_ok={:.1} % p50 ×{} p99 ×{} memory +{:.0} MiB {end}",
            served.ok() * 100.0,
            times(p50),
            times(p99),
            outcome.growth as f64 / MEBIBYTE,
        );
        Self { is_held, is_invalid, line, details: details(outcome) }
    }
}

/// Returns the largest ratio of a quantile among the kinds of calls.
fn slowest(served: &Served, control: &Served, quantile: f64) -> f64 {
    let of =
        |served: &Served, kind: usize| served.kinds[kind].micros.value_at_quantile(quantile).max(1) as f64;
    (0..KINDS.len()).map(|kind| of(served, kind) / of(control, kind)).fold(0.0, f64::max)
}

/// Returns both medians of each kind, and what the attacker did.
fn details(outcome: &Outcome) -> String {
    let millis =
        |served: &Served, kind: usize| served.kinds[kind].micros.value_at_quantile(0.5) as f64 / 1_000.0;
    let kinds = KINDS.iter().enumerate().map(|(kind, name)| {
        let control = outcome.control.as_ref();
        let control = control.map_or("–".to_owned(), |control| format!("{:.2}", millis(control, kind)));
        format!("{name} {:.2} / {control} ms", millis(&outcome.served, kind))
    });
    format!(
        "    p50 market / control: {}; {} calls; {} hits with {:.2} cores; log +{:.1} MiB, descriptors +{}",
        kinds.collect::<Vec<_>>().join(", "),
        outcome.served.calls(),
        outcome.hits,
        outcome.share,
        outcome.logged as f64 / MEBIBYTE,
        outcome.descriptors,
    )
}
