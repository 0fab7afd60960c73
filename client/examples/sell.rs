//! Lists an item for sale.
//!
//! ```sh
//! SOUK_MARKET=127.0.0.1:7443 SOUK_CERT=alice.pem cargo run --example sell
//! ```

use std::{env, error::Error};

use souk_client::{
    Identity, Souk,
    v1::{ItemDraft, Money},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let market = env::var("SOUK_MARKET").unwrap_or_else(|_| "127.0.0.1:7443".to_owned());
    let certificate = env::var("SOUK_CERT").unwrap_or_else(|_| "alice.pem".to_owned());
    let souk = Souk::connect(market, Identity::from_file(certificate)?).await?;
    // Opens the account. Registering again changes nothing.
    souk.account().register_seller("Alice", None).await?;

    let lamp = ItemDraft {
        name: Some("Brass desk lamp".to_owned()),
        category: Some("home/light".to_owned()),
        unit_price: Some(Money { amount_minor: 1_250, currency_code: "GBP".to_owned() }),
        quantity: Some(10),
        ..ItemDraft::default()
    };
    match souk.seller().sell(lamp).await {
        Ok(item) => println!("item {}: {} × {}", item.item_id, item.quantity, item.name),
        Err(error) => {
            for violation in error.violations() {
                eprintln!("{}: {}", violation.field, violation.description);
            }
            return Err(error.into());
        }
    }
    Ok(())
}
