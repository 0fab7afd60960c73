//! `bench fuzz`: gives every parser of what comes from outside mutations of good and bad inputs. An input that makes one
//! panic, or take much memory or time, is printed.
//!
//! The inputs come from a seeded random generator and a committed corpus (`bench/corpus`), so that a failure can be
//! repeated.

mod mutator;
mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rand::{SeedableRng as _, rngs::StdRng};
use souk_server::observe::Memory;

use targets::Target;

/// Give every parser mutated inputs, and report panics and excessive use of memory or time
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Seconds for each parser.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Only parsers whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Memory that the inputs may add, in bytes: each is at most 8 KiB, and nothing may be kept.
const MOST_MEMORY: u64 = 64 << 20;
/// Time that one input may take, on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(5);
/// The memory is looked at after so many inputs.
const LOOK_EVERY: u64 = 256;
/// Bytes of a failing input that are printed.
const SHOWN_BYTES: usize = 512;

pub(crate) fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let is_chosen = |name: &str| args.only.as_ref().is_none_or(|text| name.contains(text.as_str()));
    let targets: Vec<_> =
        targets::all(&folder)?.into_iter().filter(|target| is_chosen(target.name)).collect();
    ensure!(!targets.is_empty(), "no parser has such a name");
    for target in &targets {
        let count = fuzz(target, Duration::from_secs(args.seconds), args.seed)
            .with_context(|| format!("{} failed with seed {}", target.name, args.seed))?;
        println!("fuzz {}: {count} inputs", target.name);
    }
    println!("fuzz: {} parsers, none failed", targets.len());
    Ok(())
}

/// Parses the corpus and then mutations of it, and returns the number of inputs.
fn fuzz(target: &Target, duration: Duration, seed: u64) -> anyhow::Result<u64> {
    let mut corpus = corpus(target.name)?;
    corpus.extend(target.seeds.iter().cloned());
    ensure!(!corpus.is_empty(), "there is no corpus");
    for input in &corpus {
        parse(target, input)?;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let (began, before) = (Instant::now(), Memory::own()?.anonymous);
    let mut count = 0;
    while began.elapsed() < duration {
        let input = mutator::mutate(&corpus, &mut random);
        parse(target, &input)?;
        count += 1;
        if count % LOOK_EVERY == 0 {
            let grown = Memory::own()?.anonymous.saturating_sub(before);
            ensure!(grown < MOST_MEMORY, "the memory grew by {} MiB: {}", grown >> 20, shown(&input));
        }
    }
    Ok(count)
}

fn parse(target: &Target, input: &[u8]) -> anyhow::Result<()> {
    let began = Instant::now();
    // The panic hook has printed the message.
    if catch_unwind(AssertUnwindSafe(|| (target.parse)(input))).is_err() {
        bail!("it panicked: {}", shown(input));
    }
    ensure!(began.elapsed() < MOST_TIME, "it took {:?}: {}", began.elapsed(), shown(input));
    Ok(())
}

fn shown(input: &[u8]) -> String {
    let more = if input.len() > SHOWN_BYTES { "…" } else { "" };
    format!("b\"{}\"{more}", input[..input.len().min(SHOWN_BYTES)].escape_ascii())
}

/// Reads the committed inputs of a target, in the order of their names.
fn corpus(name: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(|path| fs::read(path).with_context(|| path.display().to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parser_survives_a_second_of_mutations() {
        let folder = tempfile::tempdir().unwrap();
        for target in targets::all(&folder).unwrap() {
            fuzz(&target, Duration::from_secs(1), 1)
                .unwrap_or_else(|error| panic!("{}: {error}", target.name));
        }
    }

    #[test]
    fn a_panic_is_reported_with_its_input() {
        let target = Target {
            name: "planted",
            parse: Box::new(|input| assert_ne!(input.first(), Some(&b'!'))),
            seeds: vec![b"fine".to_vec(), b"!bad".to_vec()],
        };
        let error = fuzz(&target, Duration::from_secs(1), 1).unwrap_err().to_string();
        assert!(error.contains("!bad"), "{error}");
    }
}
