//! Prints events as they happen. With a number, exits after that many.
//!
//! ```sh
//! SOUK_MARKET=127.0.0.1:7443 SOUK_CERT=alice.pem cargo run --example listen -- 1
//! ```

use std::{env, error::Error};

use souk_client::{
    Identity, Souk,
    v1::{Event, event::Kind},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let market = env::var("SOUK_MARKET").unwrap_or_else(|_| "127.0.0.1:7443".to_owned());
    let certificate = env::var("SOUK_CERT").unwrap_or_else(|_| "alice.pem".to_owned());
    let souk = Souk::connect(market, Identity::from_file(certificate)?).await?;

    let mut left = env::args().nth(1).map_or(Ok(u64::MAX), |count| count.parse())?;
    let mut events = souk.events();
    while left > 0
        && let Some(delivery) = events.next().await
    {
        let delivery = delivery?;
        println!("{}", in_words(delivery.event()));
        // Show first, then take: after a crash in between, the event is shown again instead of lost.
        delivery.take();
        left -= 1;
    }
    events.close().await;
    Ok(())
}

fn in_words(event: &Event) -> String {
    match &event.kind {
        Some(Kind::OrderPlaced(placed)) => match &placed.order {
            Some(order) => format!("sold {} × {} to {}", order.quantity, order.item_name, order.buyer_name),
            None => "sold something".to_owned(),
        },
        Some(other) => format!("{other:?}"),
        None => "an event that this version does not know".to_owned(),
    }
}
