//! What a registered party says about itself.

use std::time::Duration;

use prost::Message as _;
use souk_client::{ClientConfig, Connection, CredentialFiles};
use souk_proto::v1;
use tokio::time::sleep;

use super::flood;
use crate::hostile::{
    attacker::{Attacker, Who},
    case::cases,
};

cases!(
    Market 4 slow_callback_names "callback host names that take long to resolve",
    Market 4 forbidden_callbacks "callback addresses that the market must not call",
    Market 1 names_of_others "the honest seller's name with characters that nobody sees",
);

/// Names that look like that of the honest seller.
const LOOKALIKES: [&str; 8] = [
    "alice\u{200b}",
    "\u{200b}alice",
    "ali\u{ad}ce",
    "alice\u{2060}",
    "alice\u{e0041}",
    "a\u{3164}lice",
    "\u{0430}lice",
    "alice",
];
const PAUSE: Duration = Duration::from_millis(20);

/// Registers with one callback address after another.
async fn register(attacker: Attacker, host: impl Fn(u32) -> String) -> anyhow::Result<()> {
    flood(attacker, Who::Seller, "AccountService/RegisterSeller", |stream| {
        v1::RegisterSellerRequest {
            request_id: souk_certs::random::uuid_v4().to_string(),
            display_name: "mallory".into(),
            callback: Some(v1::CallbackAddress { host: host(stream), port: 7_444 }),
            ..Default::default()
        }
        .encode_to_vec()
    })
    .await
}

async fn slow_callback_names(attacker: Attacker) -> anyhow::Result<()> {
    // Each is another name, so that no cache answers.
    register(attacker, |stream| format!("n{stream}.slow.example.invalid")).await
}

async fn forbidden_callbacks(attacker: Attacker) -> anyhow::Result<()> {
    register(attacker, |stream| format!("10.66.{}.{}", stream >> 8 & 0xff, stream & 0xff)).await
}

async fn names_of_others(attacker: Attacker) -> anyhow::Result<()> {
    if !attacker.answers() {
        attacker.hit().await;
        sleep(PAUSE).await;
        return Ok(());
    }
    let files = CredentialFiles::beside(&attacker.passes.seller.certificate);
    let connection = Connection::open(&ClientConfig::new(attacker.target().into(), files)).await?;
    for name in LOOKALIKES {
        let display_name = name.to_owned();
        let request = v1::RegisterSellerRequest { display_name, ..Default::default() };
        if connection.call(request).await.is_ok() {
            attacker.breach(&format!("{:?} is a name beside \"alice\"", name));
        }
        attacker.hit().await;
        sleep(PAUSE).await;
    }
    Ok(())
}
