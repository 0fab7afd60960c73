//! A shop's till: reads stock changes from standard input, one `ITEM CHANGE` a line such as `7 -1`, and sends
//! them to the market, which applies each exactly once. Prints the acknowledgements and the sales in between;
//! ends with the input.
//!
//! ```sh
//! printf '1 -1\n1 +5\n' | SOUK_MARKET=127.0.0.1:7443 SOUK_CERT=alice.pem cargo run --example till
//! ```

use std::{env, error::Error};

use souk_client::{
    Identity, Souk, Till, TillNotice,
    v1::{SyncLine, sync_acknowledgement::Result as Outcome, sync_line},
};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio_stream::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let market = env::var("SOUK_MARKET").unwrap_or_else(|_| "127.0.0.1:7443".to_owned());
    let certificate = env::var("SOUK_CERT").unwrap_or_else(|_| "alice.pem".to_owned());
    let souk = Souk::connect(market, Identity::from_file(certificate)?).await?;

    // A real program stores the last sequence that it confirmed, and starts from there.
    let (till, mut notices) = souk.till("example", 0);
    let mut till = Some(till);
    while let Some(notice) = notices.next().await {
        match notice {
            TillNotice::Resumed { last_line } => {
                // Dropping the till afterwards closes the stream once every line has been acknowledged.
                if let Some(till) = till.take() {
                    tokio::spawn(send_input(till, last_line));
                }
            }
            TillNotice::Acknowledged(answer) => match answer.result {
                Some(Outcome::Stock(stock)) => {
                    println!("line {}: item {} has {}", answer.line, stock.item_id, stock.quantity);
                }
                Some(Outcome::Error(error)) => println!("line {}: {}", answer.line, error.message),
                None => println!("line {}: it was in before", answer.line),
            },
            TillNotice::Event(event) => println!("meanwhile: {:?}", event.kind),
            TillNotice::Ended(error) => return Err(error.into()),
            TillNotice::Done | TillNotice::CaughtUp { .. } | TillNotice::Interrupted { .. } => {}
        }
    }
    Ok(())
}

/// Numbers the lines of the input, starting after the last one that the market has received.
async fn send_input(till: Till, mut line: i64) {
    let mut input = BufReader::new(stdin()).lines();
    while let Ok(Some(text)) = input.next_line().await {
        let Some((item_id, units)) = parse(&text) else {
            eprintln!("not ITEM CHANGE: {text}");
            continue;
        };
        line += 1;
        let item = Some(sync_line::Item::ItemId(item_id));
        let change = Some(sync_line::Change::QuantityDelta(units));
        if till.send(SyncLine { line, item, change }).await.is_err() {
            return;
        }
    }
}

fn parse(text: &str) -> Option<(i64, i64)> {
    let (item_id, units) = text.split_once(' ')?;
    Some((item_id.parse().ok()?, units.trim().parse().ok()?))
}
