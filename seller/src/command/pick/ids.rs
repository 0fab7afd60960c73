//! Ids as people type them: one by one, and in ranges.

use std::{collections::BTreeMap, str::FromStr};

use souk_cli::Failure;

/// The maximum number of ids in one command.
const MAX_IDS: i64 = 1_000;

/// An id such as `4`, or a range such as `9-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    first: i64,
    last: i64,
}

impl FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |text: &str| text.parse().ok().filter(|id: &i64| *id > 0);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (id(first), id(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("write an id like 12, or a range like 9-12".to_owned()),
        }
    }
}

impl IdRange {
    /// Returns whether an id is in the range.
    pub(crate) fn contains(self, id: i64) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

/// An id to carry out a command for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picked {
    pub(crate) id: i64,
    /// Whether it was only named as part of a range. The ids of all parties come from one sequence, so a range usually
    /// contains some of other parties.
    pub(crate) is_of_range: bool,
}

impl Picked {
    /// Returns the ids in the order in which they were typed, each once.
    ///
    /// # Errors
    /// There are more than [`MAX_IDS`].
    pub(crate) fn all(ranges: &[IdRange]) -> Result<Vec<Self>, Failure> {
        let sizes = ranges.iter().map(|range| (range.last - range.first).saturating_add(1));
        let count = sizes.fold(0_i64, i64::saturating_add);
        if count > MAX_IDS {
            return Err(Failure::usage(
                format!("these are {count} ids, and one command takes at most {MAX_IDS}"),
                "give fewer, or conditions with --where",
            ));
        }
        let mut places = BTreeMap::new();
        let mut picked: Vec<Self> = Vec::new();
        for range in ranges {
            let is_of_range = range.first < range.last;
            for id in range.first..=range.last {
                let place = *places.entry(id).or_insert(picked.len());
                match picked.get_mut(place) {
                    Some(before) => before.is_of_range &= is_of_range,
                    None => picked.push(Self { id, is_of_range }),
                }
            }
        }
        Ok(picked)
    }
}

/// Refuses a request id or a version for more than one id: it belongs to one call.
///
/// # Errors
/// There are several ids, and the flag was given.
pub(crate) fn only_for_one(picked: &[Picked], flag: &str, is_given: bool) -> Result<(), Failure> {
    if is_given && picked.len() > 1 {
        return Err(Failure::usage(
            format!("{flag} belongs to one call, and these are {}", picked.len()),
            format!("give one id with {flag}, or leave it out"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(words: &[&str]) -> Vec<(i64, bool)> {
        let ranges: Vec<IdRange> = words.iter().map(|word| word.parse().unwrap()).collect();
        Picked::all(&ranges).unwrap().iter().map(|picked| (picked.id, picked.is_of_range)).collect()
    }

    #[test]
    fn ids_and_ranges_are_taken_in_their_order_and_once() {
        assert_eq!(picked(&["4", "5", "9-11"]), [(4, false), (5, false), (9, true), (10, true), (11, true)]);
        assert_eq!(picked(&["9-10", "10", "3", "9-9"]), [(9, false), (10, false), (3, false)]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for wrong in ["", "0", "-4", "4-", "12-9", "seven", "1-2-3", "9223372036854775808"] {
            assert!(wrong.parse::<IdRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_bounded() {
        let most = ["1-1000".parse().unwrap()];
        assert_eq!(Picked::all(&most).unwrap().len(), 1_000);
        for ranges in [["1-1000", "7-7"], ["1-9223372036854775807", "1-9223372036854775807"]] {
            let ranges: Vec<IdRange> = ranges.iter().map(|range| range.parse().unwrap()).collect();
            assert!(Picked::all(&ranges).is_err());
        }
    }
}
