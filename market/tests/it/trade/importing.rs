//! Imports and exports of many items.

use souk_client::{Connection, Error};
use souk_proto::{
    Reason,
    v1::{self, import_items_request::Message},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::fixture::{Fixture, Party, eventually, on_every_store, pounds, reason};

on_every_store!(
    import_lists_changes_and_keeps_items,
    validated_import_changes_nothing,
    wrong_rows_are_reported_and_the_others_take_effect,
    last_row_of_a_sku_counts,
    row_for_another_sellers_item_looks_like_one_for_a_missing_item,
    import_without_header_or_with_two_is_refused,
    rows_before_a_broken_stream_take_effect,
    importing_an_export_changes_nothing,
    absent_description_stays_and_an_empty_one_clears,
    absent_properties_stay_and_a_new_item_needs_them,
    sku_is_taken_once_and_never_changed,
    deleted_items_sku_is_free_again,
);

pub(super) fn row(line: i64, sku: &str, amount_minor: i64, quantity: i64) -> v1::ImportRow {
    let item = v1::ItemDraft {
        sku: Some(sku.to_owned()),
        name: Some(format!("Thing {sku}")),
        description: None,
        category: Some("things".to_owned()),
        unit_price: pounds(amount_minor),
        quantity: Some(quantity),
    };
    v1::ImportRow { line, item_id: 0, item: Some(item) }
}

fn header(validate_only: bool) -> Message {
    Message::Header(v1::ImportHeader { validate_only, ..Default::default() })
}

async fn send(connection: &Connection, messages: Vec<Message>) -> Result<v1::ImportItemsResponse, Error> {
    let messages = messages.into_iter().map(|message| v1::ImportItemsRequest { message: Some(message) });
    send_requests(connection, messages.collect()).await
}

pub(super) async fn send_requests(
    connection: &Connection,
    requests: Vec<v1::ImportItemsRequest>,
) -> Result<v1::ImportItemsResponse, Error> {
    match connection.seller().import_items(tokio_stream::iter(requests)).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(connection.explain(status).await),
    }
}

async fn import(seller: &Party, rows: Vec<v1::ImportRow>) -> v1::ImportItemsResponse {
    let messages = [header(false)].into_iter().chain(rows.into_iter().map(Message::Row)).collect();
    send(&seller.connection, messages).await.unwrap()
}

pub(super) fn counts(answer: &v1::ImportItemsResponse) -> (i64, i64, i64, i64) {
    (answer.created_count, answer.updated_count, answer.unchanged_count, answer.failed_count)
}

pub(super) async fn items(seller: &Party) -> Vec<v1::Item> {
    let stream =
        seller.connection.seller().export_items(v1::ExportItemsRequest {}).await.unwrap().into_inner();
    stream.map(|message| message.unwrap().item.unwrap()).collect().await
}

async fn import_lists_changes_and_keeps_items(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    // More rows than one batch, and more than one page.
    let rows = |price| (1..=500).map(|n| row(n, &format!("S-{n}"), price, n)).collect::<Vec<_>>();
    assert_eq!(counts(&import(&alice, rows(100)).await), (500, 0, 0, 0));
    assert_eq!(counts(&import(&alice, rows(100)).await), (0, 0, 500, 0));
    let mut mixed = rows(100);
    mixed[7] = row(8, "S-8", 90, 8);
    mixed.push(row(501, "S-501", 100, 0));
    assert_eq!(counts(&import(&alice, mixed).await), (1, 1, 499, 0));
    let listed = items(&alice).await;
    assert_eq!((listed.len(), listed[7].unit_price.clone(), listed[500].quantity), (501, pounds(90), 0));
}

async fn validated_import_changes_nothing(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let messages = vec![header(true), Message::Row(row(1, "A", 100, 1)), Message::Row(row(2, "", 100, 1))];
    assert_eq!(counts(&send(&alice.connection, messages).await.unwrap()), (1, 0, 0, 1));
    assert!(items(&alice).await.is_empty());
}

async fn wrong_rows_are_reported_and_the_others_take_effect(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let mut nameless = row(2, "B", 100, 1);
    nameless.item.as_mut().unwrap().name = None;
    let mut bare = row(5, "", 100, 1);
    bare.item.as_mut().unwrap().sku = None;
    let empty = v1::ImportRow { line: 6, item_id: 0, item: None };
    let rows = vec![row(1, "A", 100, 1), nameless, row(3, "C", -1, 1), row(4, "D", 100, -1), bare, empty];
    let answer = import(&alice, rows).await;
    assert_eq!(counts(&answer), (1, 0, 0, 5));
    let rejected: Vec<_> = answer.errors.iter().map(|error| (error.line, error.sku.as_str())).collect();
    assert_eq!(rejected, [(2, "B"), (3, "C"), (4, "D"), (5, ""), (6, "")]);
    for (error, word) in answer.errors.iter().zip(["name", "unit_price", "quantity", "sku", "sku"]) {
        assert!(error.message.contains(word), "{error:?}");
    }
}

async fn last_row_of_a_sku_counts(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let answer = import(&alice, vec![row(1, "A", 100, 1), row(2, "A", 200, 5), row(3, "A", 200, 5)]).await;
    assert_eq!(counts(&answer), (1, 1, 1, 0));
    let listed = items(&alice).await;
    assert_eq!((listed.len(), listed[0].quantity, listed[0].unit_price.clone()), (1, 5, pounds(200)));
}

async fn row_for_another_sellers_item_looks_like_one_for_a_missing_item(fixture: &Fixture) {
    let (alice, carol) = (fixture.seller("alice").await, fixture.seller("carol").await);
    let lamp = carol.lamp(5).await;
    let rows = [lamp, 999_999].map(|item_id| v1::ImportRow { item_id, ..row(item_id, "A", 1, 1) });
    let answer = import(&alice, rows.to_vec()).await;
    assert_eq!(counts(&answer), (0, 0, 0, 2));
    assert_eq!(answer.errors[0].message, answer.errors[1].message);
    assert_eq!(alice.item(lamp).await.unwrap().quantity, 5);
    // SKUs are unique per seller: another seller may use the same one.
    assert_eq!(counts(&import(&carol, vec![row(1, "A", 1, 1)]).await), (1, 0, 0, 0));
    assert_eq!(counts(&import(&alice, vec![row(1, "A", 1, 1)]).await), (1, 0, 0, 0));
}

async fn import_without_header_or_with_two_is_refused(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let row = || Message::Row(row(1, "A", 100, 1));
    for messages in [vec![], vec![row()], vec![header(false), header(false)]] {
        assert_eq!(reason(send(&alice.connection, messages).await), Reason::InvalidField);
    }
    assert!(items(&alice).await.is_empty());
}

async fn rows_before_a_broken_stream_take_effect(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (messages, stream) = mpsc::channel(1_000);
    let put = |message| messages.try_send(v1::ImportItemsRequest { message: Some(message) }).unwrap();
    put(header(false));
    for line in 1..=250 {
        put(Message::Row(row(line, &format!("S-{line}"), 100, 1)));
    }
    let connection = alice.connection.clone();
    let call =
        tokio::spawn(async move { connection.seller().import_items(ReceiverStream::new(stream)).await });
    eventually("the first batch is in", || async { items(&alice).await.len() >= 200 }).await;
    // The client disappears in the middle of its stream.
    call.abort();
    eventually("what had come is in", || async { items(&alice).await.len() == 250 }).await;
    drop(messages);
}

async fn importing_an_export_changes_nothing(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    alice.lamp(5).await;
    import(&alice, vec![row(1, "A", 100, 1), row(2, "B", 250, 0)]).await;
    let rows = items(&alice).await.into_iter().zip(1..).map(|(item, line)| v1::ImportRow {
        line,
        item_id: if item.sku.is_empty() { item.item_id } else { 0 },
        item: Some(v1::ItemDraft {
            sku: Some(item.sku).filter(|sku| !sku.is_empty()),
            name: Some(item.name),
            description: Some(item.description),
            category: Some(item.category),
            unit_price: item.unit_price,
            quantity: Some(item.quantity),
        }),
    });
    assert_eq!(counts(&import(&alice, rows.collect()).await), (0, 0, 3, 0));
}

async fn absent_description_stays_and_an_empty_one_clears(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let described = |line, sku: &str, description: Option<&str>| {
        let mut row = row(line, sku, 100, 1);
        row.item.as_mut().unwrap().description = description.map(str::to_owned);
        row
    };
    let rows = vec![described(1, "A", Some("bright\r\nand warm")), described(2, "B", None)];
    assert_eq!(counts(&import(&alice, rows).await), (2, 0, 0, 0));
    let descriptions =
        async || items(&alice).await.into_iter().map(|item| item.description).collect::<Vec<_>>();
    assert_eq!(descriptions().await, ["bright\nand warm", ""]);
    // Neither a row for the item's SKU nor one for its number erases it, also after another row of the same batch.
    let item_id = items(&alice).await[0].item_id;
    let by_number = v1::ImportRow { item_id, ..described(3, "A", None) };
    let mut dearer = described(2, "A", None);
    dearer.item.as_mut().unwrap().unit_price = pounds(200);
    let rows = vec![
        described(1, "A", None),
        dearer,
        by_number,
        described(4, "B", Some("dark")),
        described(5, "B", None),
    ];
    assert_eq!(counts(&import(&alice, rows).await), (0, 3, 2, 0));
    assert_eq!(descriptions().await, ["bright\nand warm", "dark"]);
    assert_eq!(counts(&import(&alice, vec![described(1, "A", Some(""))]).await), (0, 1, 0, 0));
    assert_eq!(descriptions().await, ["", "dark"]);
}

async fn absent_properties_stay_and_a_new_item_needs_them(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    import(&alice, vec![row(1, "A", 100, 5)]).await;
    let before = items(&alice).await.remove(0);
    let only = |line, sku: &str, item: v1::ItemDraft| {
        let item = v1::ItemDraft { sku: Some(sku.to_owned()), ..item };
        v1::ImportRow { line, item_id: 0, item: Some(item) }
    };
    let dearer = v1::ItemDraft { unit_price: pounds(200), ..Default::default() };
    let answer = import(
        &alice,
        vec![
            only(1, "A", v1::ItemDraft::default()),
            only(2, "B", dearer.clone()),
            row(3, "C", -1, 1),
            only(4, "A", dearer),
            only(5, "A", v1::ItemDraft { quantity: Some(0), ..Default::default() }),
        ],
    )
    .await;
    assert_eq!(counts(&answer), (0, 2, 1, 2));
    let rejected: Vec<_> = answer.errors.iter().map(|error| (error.line, error.sku.as_str())).collect();
    assert_eq!(rejected, [(2, "B"), (3, "C")]);
    assert!(answer.errors[0].message.contains("name, category, price and quantity"), "{answer:?}");
    let after = items(&alice).await.remove(0);
    assert_eq!((after.unit_price.clone(), after.quantity), (pounds(200), 0));
    assert_eq!((after.name, after.category), (before.name, before.category));
}

async fn sku_is_taken_once_and_never_changed(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let lamp = |sku: &str| v1::ItemDraft {
        sku: Some(sku.to_owned()),
        ..crate::fixture::draft("Lamp", "home", 1, 1)
    };
    let item_id = alice.sell(lamp("L-1")).await.unwrap().item_id;
    assert_eq!(reason(alice.sell(lamp("L-1")).await), Reason::SkuTaken);
    assert_eq!(reason(alice.sell(lamp("")).await), Reason::InvalidField);
    let change = v1::ItemDraft { sku: Some("L-2".to_owned()), ..Default::default() };
    assert_eq!(reason(alice.update(item_id, change).await), Reason::InvalidField);
}

async fn deleted_items_sku_is_free_again(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    import(&alice, vec![row(1, "A", 100, 1)]).await;
    let first = items(&alice).await.remove(0).item_id;
    alice.delete(first).await.unwrap();
    assert_eq!(counts(&import(&alice, vec![row(1, "A", 100, 1)]).await), (1, 0, 0, 0));
    let again = items(&alice).await;
    assert!(again.len() == 1 && again[0].item_id != first, "{again:?}");
}
