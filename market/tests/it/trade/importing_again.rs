//! Imports that are sent again under their `request_id`, because the client does not know what the first call did.

use souk_client::{Connection, Error};
use souk_proto::{
    Reason,
    v1::{self, import_items_request::Message},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::importing::{self, counts, items, send_requests};
use crate::fixture::{Fixture, Party, eventually, on_every_store, reason};

on_every_store!(
    import_sent_again_returns_what_the_first_call_did,
    broken_import_sent_again_counts_every_row_once,
    import_sent_again_with_other_rows_is_refused,
    interrupted_import_reports_the_tally_of_the_rows_that_are_in,
    broken_import_counts_its_last_rejected_rows_once,
    request_id_of_an_import_must_be_a_uuid,
    import_with_an_id_must_state_its_end,
);

/// Two batches and a part of one.
const ROWS: i64 = 450;

fn row(line: i64, amount_minor: i64) -> v1::ImportRow {
    importing::row(line, &format!("S-{line}"), amount_minor, 1)
}

/// The rows of an import: new ones, one that names an item which does not exist, and one that is wrong.
fn rows() -> Vec<v1::ImportRow> {
    let mut rows: Vec<_> = (1..=ROWS).map(|line| row(line, 100)).collect();
    rows[9].item_id = 999_999;
    rows[209] = row(210, -1);
    rows
}

fn messages(request_id: &str, rows: Vec<v1::ImportRow>) -> Vec<v1::ImportItemsRequest> {
    let header = v1::ImportHeader { request_id: request_id.to_owned(), ..Default::default() };
    let rows = rows.into_iter().map(Message::Row);
    let messages = [Message::Header(header)].into_iter().chain(rows).chain([Message::End(v1::ImportEnd {})]);
    messages.map(|message| v1::ImportItemsRequest { message: Some(message) }).collect()
}

async fn send(
    connection: &Connection,
    request_id: &str,
    rows: Vec<v1::ImportRow>,
) -> Result<v1::ImportItemsResponse, Error> {
    send_requests(connection, messages(request_id, rows)).await
}

async fn item_count(seller: &Party) -> usize {
    items(seller).await.len()
}

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

async fn import_sent_again_returns_what_the_first_call_did(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (first_id, other_id) = (id(1), id(2));
    let first = send(&alice.connection, &first_id, rows()).await.unwrap();
    assert_eq!(counts(&first), (ROWS - 2, 0, 0, 2));
    assert_eq!(send(&alice.connection, &first_id, rows()).await.unwrap(), first);
    // Another import finds nothing left to do.
    assert_eq!(counts(&send(&alice.connection, &other_id, rows()).await.unwrap()), (0, 0, ROWS - 2, 2));
    assert_eq!(counts(&send(&alice.connection, "", rows()).await.unwrap()), (0, 0, ROWS - 2, 2));
    assert_eq!(item_count(&alice).await as i64, ROWS - 2);
}

async fn broken_import_sent_again_counts_every_row_once(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let (id, all) = (id(1), rows());
    let (sender, stream) = mpsc::channel(1_000);
    // In the middle of the third batch.
    let mut part = messages(&id, all[..440].to_vec());
    part.pop();
    for message in part {
        sender.try_send(message).unwrap();
    }
    let connection = alice.connection.clone();
    let call =
        tokio::spawn(async move { connection.seller().import_items(ReceiverStream::new(stream)).await });
    eventually("the first batches are in", || async { item_count(&alice).await >= 399 }).await;
    // The client disappears, and comes back without an answer.
    call.abort();
    let answer = send(&alice.connection, &id, all).await.unwrap();
    drop(sender);
    assert_eq!(counts(&answer), (ROWS - 2, 0, 0, 2));
    let lines: Vec<_> = answer.errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [10, 210]);
}

async fn import_sent_again_with_other_rows_is_refused(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let id = id(1);
    send(&alice.connection, &id, rows()).await.unwrap();
    let mut others = rows();
    others[300] = row(301, 200);
    assert_eq!(reason(send(&alice.connection, &id, others).await), Reason::RequestIdReused);
    // Ids are the caller's own.
    let carol = fixture.seller("carol").await;
    assert_eq!(counts(&send(&carol.connection, &id, rows()).await.unwrap()), (ROWS - 2, 0, 0, 2));
}

async fn interrupted_import_reports_the_tally_of_the_rows_that_are_in(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let mut messages = messages(&id(1), rows());
    messages.pop();
    // The second header ends the import, after a row of the third batch that is rejected.
    messages.push(v1::ImportItemsRequest { message: Some(Message::Row(row(ROWS + 1, -1))) });
    messages.push(messages[0].clone());
    let failure = send_requests(&alice.connection, messages).await.unwrap_err();
    let metadata = failure.refusal().unwrap().metadata().clone();
    let value = |key: &str| metadata[key].parse::<i64>().unwrap();
    // 401 rows, because the rejected one of the first 400 is in no batch.
    assert_eq!((value("rows"), value("line")), (401, 401), "{metadata:?}");
    let keys = ["created_count", "updated_count", "unchanged_count", "failed_count"];
    assert_eq!(keys.map(value), [399, 0, 0, 2], "{metadata:?}");
    assert_eq!(item_count(&alice).await, 399);
}

async fn broken_import_counts_its_last_rejected_rows_once(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let mut messages = messages("", vec![row(1, 100), row(2, -1), row(3, -1), row(4, 100)]);
    messages.pop();
    // A message above the limit breaks the stream.
    let Some(Message::Row(row)) = &mut messages[4].message else { panic!("no row") };
    row.item.as_mut().unwrap().description = Some("x".repeat(8 << 20));
    let failure = send_requests(&alice.connection, messages).await.unwrap_err();
    let metadata = failure.refusal().unwrap().metadata().clone();
    let value = |key: &str| metadata[key].parse::<i64>().unwrap();
    // A client that continues after the third row does not send the rows again that are counted as failed.
    assert_eq!((value("rows"), value("failed_count")), (3, 2), "{metadata:?}");
    assert_eq!(item_count(&alice).await, 1);
}

async fn request_id_of_an_import_must_be_a_uuid(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    assert_eq!(reason(send(&alice.connection, "seven", rows()).await), Reason::InvalidField);
    assert_eq!(item_count(&alice).await, 0);
}

async fn import_with_an_id_must_state_its_end(fixture: &Fixture) {
    let alice = fixture.seller("alice").await;
    let mut messages = messages(&id(1), vec![row(1, 100)]);
    messages.pop();
    let status = alice.connection.seller().import_items(tokio_stream::iter(messages)).await.unwrap_err();
    assert!(status.message().contains("`end`"), "{status:?}");
    assert_eq!(item_count(&alice).await, 0);
}
