//! Buys units of an item.
//!
//! ```sh
//! SOUK_MARKET=127.0.0.1:7443 SOUK_CERT=bob.pem cargo run --example buy -- 1 2
//! ```

use std::{env, error::Error};

use souk_client::{Identity, Reason, Souk};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let market = env::var("SOUK_MARKET").unwrap_or_else(|_| "127.0.0.1:7443".to_owned());
    let certificate = env::var("SOUK_CERT").unwrap_or_else(|_| "bob.pem".to_owned());
    let souk = Souk::connect(market, Identity::from_file(certificate)?).await?;
    souk.account().register_buyer("Bob", None).await?;

    let numbers: Vec<i64> = env::args().skip(1).map(|number| number.parse()).collect::<Result<_, _>>()?;
    let (item_id, quantity) = match numbers[..] {
        [item_id] => (item_id, 1),
        [item_id, quantity] => (item_id, quantity),
        _ => return Err("usage: buy ITEM [QUANTITY]".into()),
    };
    match souk.buyer().buy(item_id, quantity).await {
        Ok(order) => println!("order {}: {} × {}", order.order_id, order.quantity, order.item_name),
        Err(error) if error.reason() == Some(Reason::OutOfStock) => println!("sold out: {error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
