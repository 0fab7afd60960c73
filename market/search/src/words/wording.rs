//! The operator's choices about words.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    indexed::indexed,
    languages::Languages,
    synonyms::Synonyms,
    terms::{Indexed, Wanted},
    wanted::wanted,
};

/// How words are understood: the languages of a market and its synonyms. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Wording {
    languages: Languages,
    synonyms: Arc<ArcSwap<Synonyms>>,
}

impl Wording {
    /// Chooses languages and synonyms. An index belongs to its languages, and is rebuilt for others.
    pub fn new(languages: Languages, synonyms: Synonyms) -> Self {
        Self { languages, synonyms: Arc::new(ArcSwap::from_pointee(synonyms)) }
    }

    /// Replaces the synonyms for all searches from now on.
    pub fn replace_synonyms(&self, synonyms: Synonyms) {
        self.synonyms.store(Arc::new(synonyms));
    }

    /// Returns the languages.
    pub(crate) fn languages(&self) -> &Languages {
        &self.languages
    }

    /// Returns the terms under which a name, description or sku is indexed.
    pub(crate) fn indexed(&self, text: &str) -> Indexed {
        indexed(text, &self.languages)
    }

    /// Returns what a query asks for.
    pub(crate) fn wanted(&self, text: &str) -> Vec<Wanted> {
        wanted(text, &self.languages, &self.synonyms.load())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::terms::Phase, *};

    #[test]
    fn replaced_synonyms_apply_to_all_clones() {
        let wording = Wording::new(Languages::default(), Synonyms::parse("sofa, couch").unwrap());
        let clone = wording.clone();
        let synonyms = |wording: &Wording| {
            let ways = wording.wanted("sofa").remove(0).ways;
            ways.into_iter()
                .filter(|way| way.phase == Phase::Synonym)
                .flat_map(|way| way.terms)
                .collect::<Vec<_>>()
        };
        assert_eq!(synonyms(&clone), ["couch"]);
        wording.replace_synonyms(Synonyms::parse("sofa, settee").unwrap());
        assert_eq!(synonyms(&clone), ["settee"]);
    }
}
