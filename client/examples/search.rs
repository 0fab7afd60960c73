//! Finds items by words, page by page.
//!
//! ```sh
//! SOUK_MARKET=127.0.0.1:7443 SOUK_CERT=bob.pem cargo run --example search -- brass lamp
//! ```

use std::{env, error::Error};

use souk_client::{Identity, Souk};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let market = env::var("SOUK_MARKET").unwrap_or_else(|_| "127.0.0.1:7443".to_owned());
    let certificate = env::var("SOUK_CERT").unwrap_or_else(|_| "bob.pem".to_owned());
    let souk = Souk::connect(market, Identity::from_file(certificate)?).await?;
    souk.account().register_buyer("Bob", None).await?;

    let words: Vec<String> = env::args().skip(1).collect();
    let mut items = souk.catalog().search(words.join(" "));
    while let Some(item) = items.next().await {
        let item = item?;
        println!("item {}: {} in {}, {} left", item.item_id, item.name, item.category, item.quantity);
    }
    Ok(())
}
