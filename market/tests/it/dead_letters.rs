//! Dead letters in a running market: listed, redelivered and audited.

use assert_cmd::Command;
use serde_json::{Value, json};
use souk_certs::identity::Role;
use souk_proto::{
    Reason,
    v1::{self, event::Kind},
};
use souk_testkit::postgres;

use crate::{
    fixture::{Fixture, call, reason},
    trade::consumers::{caught_up, message},
};

/// Makes dead letters of the events that wait, as if they had been dropped.
const DROP_ALL: &str = "WITH gone AS (DELETE FROM delivery RETURNING recipient, body, sequence) \
     INSERT INTO dead_letter (recipient, body, reason, died_at) \
     SELECT recipient, body, 'a test', extract(epoch FROM now())::BIGINT * 1000000 FROM gone ORDER BY sequence; \
     UPDATE mailbox SET pending = 0, next_attempt = NULL";

async fn admin(fixture: &Fixture, arguments: &[&str]) -> Value {
    let operator = fixture.market.identity(Role::Operator, "olga").await.unwrap();
    let address = fixture.market.address().to_string();
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let shown = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market"));
        command.arg("admin").args(arguments).args(["--output", "json", "--market", &address, "--cert"]);
        command.arg(operator.credentials.cert).assert().success()
    })
    .await
    .unwrap();
    let shown: Value = serde_json::from_slice(&shown.get_output().stdout).unwrap();
    // A list, or a single value.
    ["mailboxes", "dead_letters"].iter().find_map(|list| shown.get(list)).unwrap_or(&shown).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_redelivered_by_operators() {
    if !postgres::is_there() {
        return;
    }
    let fixture = Fixture::on_postgres().await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(9).await;
    let orders =
        [bob.buy(lamp, 1).await.unwrap(), bob.buy(lamp, 2).await.unwrap(), bob.buy(lamp, 3).await.unwrap()];
    let listed = admin(&fixture, &["mailboxes", "--backlog"]).await;
    assert_eq!(
        (&listed[0]["owner_id"], &listed[0]["pending_count"]),
        (&json!(alice.id()), &json!(3)),
        "{listed}"
    );
    fixture.database().execute(DROP_ALL).unwrap();
    let letters = admin(&fixture, &["dead-letters", "--party", &alice.id()]).await;
    assert_eq!(letters.as_array().map(Vec::len), Some(3), "{letters}");
    assert_eq!(call!(alice, MailboxStatusRequest {}).unwrap().dead_letter_count, 3);

    let olga = fixture.stranger(Role::Operator, "olga").await;
    let first = letters[0]["dead_letter_id"].as_i64().unwrap();
    let request_id = olga.request_id();
    let redeliver = async |ids: Vec<i64>, request_id: &str| {
        call!(olga, RedeliverRequest { request_id: request_id.to_owned(), dead_letter_ids: ids })
    };
    assert_eq!(reason(redeliver(vec![first, 999_999], &olga.request_id()).await), Reason::DeadLetterNotFound);
    assert_eq!(reason(redeliver(Vec::new(), &olga.request_id()).await), Reason::InvalidField);
    assert_eq!(redeliver(vec![first], &request_id).await.unwrap().redelivered_count, 1);
    // The letter is gone, and a replay returns the first outcome.
    assert_eq!(redeliver(vec![first], &request_id).await.unwrap().redelivered_count, 1);
    assert_eq!(alice.pending().await, 1);
    let rest = admin(&fixture, &["redeliver", "--party", &alice.id()]).await;
    assert_eq!(rest["redelivered_count"], json!(2));
    let mut stream = caught_up(&alice, "shell", "").await.0;
    drop(stream);
    stream = crate::trade::consumers::subscribed(&alice, "shell-2", "").await.unwrap();
    message(&mut stream).await;
    let mut got = Vec::new();
    for _ in 0..3 {
        let v1::subscribe_response::Message::Event(event) = message(&mut stream).await else { panic!() };
        let Some(Kind::OrderPlaced(placed)) = event.kind else { panic!("{event:?}") };
        got.push((event.sequence, placed.order.unwrap()));
    }
    let expected: Vec<_> = (4..).zip(orders).collect();
    assert_eq!(got, expected, "under new sequences");
    assert_eq!(reason(call!(alice, ListDeadLettersRequest {})), Reason::RoleDenied);
    fixture.close().await;
}
