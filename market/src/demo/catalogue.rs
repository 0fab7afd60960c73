//! The demo's items: a small part of a real shop's catalogue (see `demo-data/README.md`).

use anyhow::Context as _;
use souk_proto::v1;

use super::replay::pence;

const CATALOGUE: &str = include_str!("../../demo-data/catalogue.csv");

/// The source of the items, which the licence requires to be named.
pub(super) const ATTRIBUTION: &str = "goods: UCI \"Online Retail\", Daqing Chen, 2015, doi 10.24432/C5BW33, CC BY 4.0 \
                               (a selection; categories are ours)";

/// Returns all items as drafts to list.
pub(super) fn drafts(quantity: i64) -> anyhow::Result<Vec<v1::ItemDraft>> {
    let mut reader = csv::Reader::from_reader(CATALOGUE.as_bytes());
    reader
        .records()
        .map(|record| {
            let record = record?;
            let field = |index| record.get(index).context("a field of the catalogue");
            let name = field(1)?;
            Ok(v1::ItemDraft {
                sku: None,
                name: Some(name.to_owned()),
                description: Some(format!("Stock code {}", field(0)?)),
                category: Some(field(2)?.to_owned()),
                unit_price: Some(v1::Money {
                    amount_minor: pence(field(3)?).context("a price")?,
                    currency_code: "GBP".into(),
                }),
                quantity: Some(quantity),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_catalogue_is_clean() {
        let drafts = super::drafts(5).unwrap();
        assert!(drafts.len() >= 60, "{}", drafts.len());
        assert!(drafts.iter().all(|draft| draft.unit_price.as_ref().unwrap().amount_minor > 0));
    }
}
