//! Listing, changing and searching items.

use anyhow::ensure;
use souk_client::error::required;
use souk_proto::{Reason, v1};
use souk_testkit::actor::{draft, pounds, refused};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step("sellers list items", &["SellerService/SellItem"], list_items(cast)).await;
    log.step("a seller displays its items", &["SellerService/DisplaySellerItems"], display(cast)).await;
    log.step("an item is shown", &["CatalogService/GetItem"], async {
        let lamp = cast.bob.item(cast.lamp).await?;
        ensure!(lamp.quantity == 10 && lamp.rating.is_none(), "{lamp:?}");
        Ok(())
    })
    .await;
    log.step("search by name and category, with a typo", &["CatalogService/SearchItem"], search(cast)).await;
    log.step("a watched search reports changes", &["CatalogService/WatchSearch"], watch(cast)).await;
    log.step("categories are counted", &["CatalogService/ListCategories"], categories(cast)).await;
    log.step("price and stock are changed", &["SellerService/UpdateItem"], update(cast)).await;
    log.step(
        "a catalogue is imported, exported, and imported again without a change",
        &["SellerService/ImportItems", "SellerService/ExportItems"],
        import(cast),
    )
    .await;
    log.step("a change with a stale version is refused", &[], stale_version(cast)).await;
    log.step("another seller's item can't be changed", &[], async {
        let cheaper = v1::ItemDraft { unit_price: pounds(1), ..Default::default() };
        refused(cast.carol.update(cast.lamp, cheaper).await, Reason::ItemNotFound)
    })
    .await;
    log.step("wrong values are refused, all at once", &[], async {
        let refusal = cast.alice.sell(draft("", "No Such", -1, 0)).await;
        let fields = match &refusal {
            Err(failure) => failure.refusal().map_or(0, |refusal| refusal.violations().len()),
            Ok(_) => 0,
        };
        ensure!(fields == 4, "{fields} fields were named");
        refused(refusal, Reason::InvalidField)
    })
    .await;
    log.step(
        "an item is withdrawn, and its number is not reused",
        &["SellerService/DeleteItem"],
        delete(cast),
    )
    .await;
    log.step("a withdrawn item is put back on sale", &["SellerService/UndeleteItem"], undelete(cast)).await;
}

async fn list_items(cast: &mut Cast) -> anyhow::Result<()> {
    let lamp = cast.alice.sell(draft("Brass lantern", "home/light", 1_250, 10)).await?;
    let oil = cast.carol.sell(draft("Lamp oil", "home", 300, 50)).await?;
    ensure!(oil.item_id > lamp.item_id, "numbers grow");
    cast.lamp = lamp.item_id;
    Ok(())
}

async fn display(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::DisplaySellerItemsRequest::default();
    let shown = cast.alice.connection.call(request).await?;
    ensure!(shown.items.len() == 1 && shown.items[0].item_id == cast.lamp, "{shown:?}");
    Ok(())
}

async fn search(cast: &Cast) -> anyhow::Result<()> {
    let request =
        v1::SearchItemRequest { query: "lanten".into(), category: "home/light".into(), ..Default::default() };
    // Alice sees her own item at once.
    let found = cast.alice.search(request.clone()).await?;
    ensure!(found.items.len() == 1 && found.total_size == 1, "{found:?}");
    let elsewhere = v1::SearchItemRequest { category: "garden".into(), ..request };
    ensure!(cast.alice.search(elsewhere).await?.items.is_empty(), "found in another category");
    Ok(())
}

async fn categories(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::ListCategoriesRequest { parent: "home".into(), ..Default::default() };
    let listed = cast.carol.connection.call(request).await?;
    let names: Vec<_> = listed.categories.iter().map(|count| count.category.as_str()).collect();
    ensure!(names == ["home", "home/light"], "{names:?}");
    Ok(())
}

async fn update(cast: &Cast) -> anyhow::Result<()> {
    let change = v1::ItemDraft { unit_price: pounds(1_000), ..Default::default() };
    let changed = cast.alice.update(cast.lamp, change).await?;
    ensure!(changed.unit_price == pounds(1_000) && changed.quantity == 10, "{changed:?}");
    let request = v1::UpdateItemRequest { item_id: cast.lamp, quantity_delta: Some(5), ..Default::default() };
    let restocked = required(cast.alice.connection.call(request).await?.item, "item")?;
    ensure!(restocked.quantity == 15, "{restocked:?}");
    Ok(())
}

async fn stale_version(cast: &Cast) -> anyhow::Result<()> {
    let request = v1::UpdateItemRequest {
        item_id: cast.lamp,
        quantity_delta: Some(1),
        expected_version: Some(1),
        ..Default::default()
    };
    refused(cast.alice.connection.call(request).await, Reason::VersionMismatch)
}

async fn delete(cast: &Cast) -> anyhow::Result<()> {
    let gone = cast.carol.sell(draft("Old chair", "home", 900, 1)).await?.item_id;
    cast.carol.delete(gone).await?;
    refused(cast.bob.item(gone).await, Reason::ItemNotFound)?;
    let next = cast.carol.sell(draft("New chair", "home", 950, 1)).await?.item_id;
    ensure!(next > gone, "{next} after {gone}");
    Ok(())
}

async fn undelete(cast: &Cast) -> anyhow::Result<()> {
    let stool = cast.carol.sell(draft("Stool", "home", 700, 3)).await?.item_id;
    cast.carol.delete(stool).await?;
    let back = cast.carol.seller().undelete(stool, 2).await?;
    ensure!((back.item_id, back.quantity) == (stool, 2), "{back:?}");
    ensure!(cast.bob.item(stool).await?.name == "Stool", "it is not on sale");
    Ok(())
}

async fn import(cast: &Cast) -> anyhow::Result<()> {
    use v1::import_items_request::Message;
    let send = async |drafts: Vec<v1::ItemDraft>| {
        let rows = drafts
            .into_iter()
            .zip(1..)
            .map(|(draft, line)| Message::Row(v1::ImportRow { line, item_id: 0, item: Some(draft) }));
        let header = Message::Header(v1::ImportHeader::default());
        let messages = [header].into_iter().chain(rows);
        let messages: Vec<_> =
            messages.map(|message| v1::ImportItemsRequest { message: Some(message) }).collect();
        cast.carol.connection.seller().import_items(futures::stream::iter(messages)).await
    };
    let numbered =
        |n: i64| v1::ItemDraft { sku: Some(format!("T-{n}")), ..draft("Tile", "home/floor", 100 + n, n) };
    let mut drafts: Vec<_> = (1..=300).map(numbered).collect();
    drafts.push(v1::ItemDraft { sku: Some("T-0".into()), ..draft("", "home/floor", 1, 1) });
    let first = send(drafts).await?.into_inner();
    ensure!((first.created_count, first.failed_count) == (300, 1), "{first:?}");
    let mut exported =
        cast.carol.connection.seller().export_items(v1::ExportItemsRequest {}).await?.into_inner();
    let mut again = Vec::new();
    while let Some(message) = exported.message().await? {
        let item = required(message.item, "item")?;
        if !item.sku.is_empty() {
            again.push(v1::ItemDraft {
                sku: Some(item.sku),
                name: Some(item.name),
                description: Some(item.description),
                category: Some(item.category),
                unit_price: item.unit_price,
                quantity: Some(item.quantity),
            });
        }
    }
    let second = send(again).await?.into_inner();
    ensure!(
        (second.unchanged_count, second.updated_count, second.created_count) == (300, 0, 0),
        "{second:?}"
    );
    Ok(())
}

async fn watch(cast: &Cast) -> anyhow::Result<()> {
    use v1::watch_search_response::Message;
    let request = v1::WatchSearchRequest { query: "candle".into(), ..Default::default() };
    let mut watched = cast.bob.connection.catalog().watch_search(request).await?.into_inner();
    let synced = watched.message().await?.and_then(|message| message.message);
    ensure!(matches!(synced, Some(Message::Synced(_))), "{synced:?}");
    let candle = cast.carol.sell(draft("Candle", "home/light", 300, 5)).await?.item_id;
    let cheaper = v1::ItemDraft { unit_price: pounds(250), ..Default::default() };
    cast.carol.update(candle, cheaper).await?;
    let mut kinds = Vec::new();
    while kinds.last() != Some(&v1::SearchChangeKind::PriceDown) {
        match watched.message().await?.and_then(|message| message.message) {
            Some(Message::Change(change)) if change.kind() == v1::SearchChangeKind::New => {
                kinds.push(change.kind());
                // Both changes may be indexed with one commit.
                if change.item.is_some_and(|item| item.unit_price == pounds(250)) {
                    return Ok(());
                }
            }
            Some(Message::Change(change)) => kinds.push(change.kind()),
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}
