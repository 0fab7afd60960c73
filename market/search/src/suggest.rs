//! Suggests what was meant by a query that only other spellings match.

use souk_domain::Item;

use super::{
    ItemTerms, Leniency, SearchQuery,
    ask::{Ask, Degree, Word},
    words::{self, Wording},
};

/// Returns the words of a query for which similar ones count, each with those, the most frequent first.
pub(super) fn near_words(ask: &Ask) -> Vec<(String, Vec<String>)> {
    let is_typo = |degree: Degree| degree >= Leniency::OneTypo.degree();
    let near = |word: &Word| {
        let ways = word.ways.iter().filter(|(degree, _)| is_typo(*degree));
        (word.typed.clone(), ways.flat_map(|(_, terms)| terms.clone()).collect::<Vec<_>>())
    };
    ask.words.iter().map(near).filter(|(_, near)| !near.is_empty()).collect()
}

/// Returns a query's text in the spelling of the first item that was found, if the item has none of the words as typed
/// that it has in another spelling.
pub(super) fn did_you_mean(
    query: &SearchQuery,
    near: &[(String, Vec<String>)],
    first: Option<&Item>,
    wording: &Wording,
) -> Option<String> {
    let item = first.filter(|_| !near.is_empty())?;
    let has = ItemTerms::of(item, wording);
    let wanted = wording.wanted(query.text.as_str());
    let is_there = |word: &str| {
        let ways = wanted.iter().filter(|wanted| wanted.typed == word).flat_map(|wanted| &wanted.ways);
        ways.into_iter().any(|way| way.terms.iter().all(|term| has.contains(term)))
    };
    let corrections: Vec<(String, String)> = near
        .iter()
        .filter(|(word, _)| !is_there(word))
        .filter_map(|(word, near)| Some((word.clone(), near.iter().find(|near| has.contains(near))?.clone())))
        .collect();
    (!corrections.is_empty()).then(|| words::corrected(query.text.as_str(), &corrections))
}
