//! Makes inputs out of others.

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

/// The longest input, in bytes: longer ones are seldom more interesting, and slower.
const MOST_BYTES: usize = 8 * 1024;
/// The most changes of one input.
const MOST_CHANGES: usize = 6;
/// Bytes and texts at which parsers go wrong.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\"",
    b"\"\"",
    b"'",
    b"\\u0000",
    b"\r\n",
    b"\r",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"1e999",
    b"NaN",
    b"{}",
    b"[[[[[[[[[[[[[[[[",
    b"-----BEGIN CERTIFICATE-----\n",
    b"..",
    b"%00",
    b"=",
];

/// Returns an input that is like one of the corpus.
pub(super) fn mutate(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = corpus.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=MOST_CHANGES) {
        change(&mut input, corpus, random);
    }
    input.truncate(MOST_BYTES);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let end = random.random_range(at..=input.len());
    match random.random_range(0..9) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => input.insert(at, random.random()),
        3 => input.truncate(at),
        4 => drop(input.drain(at..end)),
        // Repeated, so that it grows: lengths, depths and counts.
        5 => {
            let part = input[at..end].repeat(random.random_range(1..8));
            input.splice(end..end, part);
        }
        6 => drop(input.splice(at..end, TOKENS.choose(random).copied().unwrap_or_default().iter().copied())),
        7 => {
            let other = corpus.choose(random).cloned().unwrap_or_default();
            let from = random.random_range(0..=other.len());
            input.splice(at..end, other[from..].iter().copied());
        }
        _ => input[at..end].reverse(),
    }
    input.truncate(MOST_BYTES);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_all_are_bounded() {
        let corpus = [b"spiffe://souk.internal/buyer".to_vec(), vec![7; MOST_BYTES]];
        let inputs = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..200).map(|_| mutate(&corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().all(|input| input.len() <= MOST_BYTES));
    }
}
