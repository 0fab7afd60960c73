//! What the attacker's process gets to know: its parties, their tokens and some items.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};

const FILE: &str = "passes.json";

/// A party of the attacker.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) certificate: PathBuf,
}

/// Everything that the attacker knows.
#[derive(Clone, Debug)]
pub(super) struct Passes {
    pub(super) seller: Pass,
    pub(super) buyer: Pass,
    /// An item of an honest seller.
    pub(super) item: i64,
    /// An item of the attacker's seller.
    pub(super) own_item: i64,
    /// The token of a page far behind of a search for lamps, 100 items a page.
    pub(super) deep_page: String,
}

impl Passes {
    /// Writes the passes into a folder.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let of = |pass: &Pass| json!({ "id": pass.id, "token": pass.token, "certificate": pass.certificate });
        let all = json!({
            "seller": of(&self.seller),
            "buyer": of(&self.buyer),
            "item": self.item,
            "own_item": self.own_item,
            "deep_page": self.deep_page,
        });
        Ok(fs::write(dir.join(FILE), all.to_string())?)
    }

    /// Reads what [`write`](Self::write) has written.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let all: Value = serde_json::from_slice(&fs::read(dir.join(FILE))?)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
        let of = |pass: &Value| {
            let certificate = text(&pass["certificate"])?.into();
            anyhow::Ok(Pass { id: text(&pass["id"])?, token: text(&pass["token"])?, certificate })
        };
        Ok(Self {
            seller: of(&all["seller"])?,
            buyer: of(&all["buyer"])?,
            item: all["item"].as_i64().context("an item")?,
            own_item: all["own_item"].as_i64().context("an item")?,
            deep_page: text(&all["deep_page"])?,
        })
    }
}
