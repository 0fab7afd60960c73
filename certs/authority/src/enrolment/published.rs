//! The trust bundles of the folder, in memory: strangers ask for them, and must not make the service read files.

use prost::Message as _;
use souk_enrolment::trust::MAX_WALK;
use souk_proto::v1;

use super::error::ServeError;
use super::limits::ANSWER_BYTES;
use crate::pki::{Pki, PkiError};

/// The bundles that lead to the newest one: those at which the roots changed, and the newest.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// With their sequences, in ascending order.
    bundles: Vec<(i64, v1::SignedTrustBundle)>,
    /// The sequence at which the chain begins.
    floor: i64,
}

impl Published {
    /// Reads those of a folder. Blocks on files.
    pub(super) fn read(pki: &Pki) -> Result<Self, ServeError> {
        let bundles = pki.bundles().all().map_err(PkiError::from)?;
        let bundles = bundles.into_iter().map(|(sequence, bundle)| (sequence, bundle.into())).collect();
        Ok(Published { bundles, floor: pki.trust_floor() })
    }

    /// Returns the sequence of the newest bundle; 0 before the first.
    pub(super) fn newest(&self) -> i64 {
        self.bundles.last().map_or(0, |(sequence, _)| *sequence)
    }

    /// Returns the bundles that lead from `known` to the newest one, oldest first, as many as fit into an answer. With
    /// `known` 0, the newest alone. `None` if they don't lead there: more than [`MAX_WALK`] changes, or a chain that begins
    /// later.
    pub(super) fn since(&self, known: i64) -> Option<Vec<v1::SignedTrustBundle>> {
        if known == 0 {
            return Some(self.newest_alone());
        }
        let later = self.later(known).filter(|_| known >= self.floor)?;
        let mut bytes = 0;
        let fits = |bundle: &&&v1::SignedTrustBundle| {
            bytes += bundle.encoded_len();
            bytes <= ANSWER_BYTES
        };
        let fitting = later.iter().take_while(fits).count().max(1);
        Some(later.into_iter().take(fitting).cloned().collect())
    }

    /// Returns what a market gets that begins to follow with `known`, oldest first. It gets the newest bundle also if it
    /// has that, or a later one: so it notices that the authority was restored from a backup. It gets it also if the
    /// chain begins later, because it may trust a root that has outlived the compromised one.
    pub(super) fn for_market(&self, known: i64) -> Option<Vec<v1::SignedTrustBundle>> {
        if known == 0 || known >= self.newest() || known < self.floor {
            return Some(self.newest_alone());
        }
        Some(self.later(known)?.into_iter().cloned().collect())
    }

    /// Returns the bundles after `known`; `None` if nobody walks along so many.
    fn later(&self, known: i64) -> Option<Vec<&v1::SignedTrustBundle>> {
        let later = self.bundles.iter().filter(|(sequence, _)| *sequence > known);
        let later: Vec<_> = later.map(|(_, bundle)| bundle).collect();
        // The newest bundle comes after those at which roots changed.
        (later.len() <= MAX_WALK + 1).then_some(later)
    }

    fn newest_alone(&self) -> Vec<v1::SignedTrustBundle> {
        self.bundles.last().map(|(_, bundle)| bundle.clone()).into_iter().collect()
    }
}
