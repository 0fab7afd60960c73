//! Compressed requests and answers. `limits` has the bombs.

use std::io::Write as _;

use prost::Message as _;
use souk_proto::v1::{self, catalog_service_client::CatalogServiceClient};
use souk_testkit::actor::draft;
use tonic::codec::CompressionEncoding;

use crate::{
    fixture::{Fixture, attacks},
    raw::Pass,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn compress(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(message).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::bulk::compress(message, 3).unwrap(),
        }
    }

    fn of_tonic(self) -> CompressionEncoding {
        match self {
            Self::Gzip => CompressionEncoding::Gzip,
            Self::Zstd => CompressionEncoding::Zstd,
        }
    }
}

attacks!(compressed_calls_are_served, answers_are_compressed_if_they_are_large);

/// Some clients compress every message.
async fn compressed_calls_are_served(fixture: &Fixture) {
    let pass = Pass::of(fixture, &fixture.bob).await;
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let mut client = CatalogServiceClient::new(pass.channel()).send_compressed(encoding.of_tonic());
        let request = v1::GetItemRequest { item_id: fixture.lamp.item_id };
        let item = client.get_item(pass.request(request)).await.unwrap().into_inner().item;
        assert_eq!(item, Some(fixture.lamp.clone()), "{encoding:?}");
    }
}

async fn answers_are_compressed_if_they_are_large(fixture: &Fixture) {
    let mallory = fixture.seller("Mallory").await;
    for number in 0..20 {
        let description = Some("A lamp that gives a warm light. ".repeat(100));
        let item = draft(&format!("Floodlight {number}"), "home", 100, 1);
        mallory.sell(v1::ItemDraft { description, ..item }).await.unwrap();
    }
    let pass = Pass::of(fixture, &mallory).await;
    let plain = CatalogServiceClient::new(pass.channel());
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let mut client = plain.clone().accept_compressed(encoding.of_tonic());
        for (query, items, compressed) in [("floodlight", 20, Some(encoding.name())), ("lamp", 1, None)] {
            let request =
                v1::SearchItemRequest { query: query.to_owned(), page_size: items, ..Default::default() };
            let answer = client.search_item(pass.request(request)).await.unwrap();
            let named = answer.metadata().get("grpc-encoding").map(|name| name.to_str().unwrap());
            assert_eq!(named, compressed, "{query}: {} bytes", answer.get_ref().encoded_len());
            assert_eq!(answer.get_ref().items.len(), items as usize);
        }
    }
    let request = v1::SearchItemRequest { query: "floodlight".to_owned(), ..Default::default() };
    let answer = plain.clone().search_item(pass.request(request)).await.unwrap();
    assert!(answer.metadata().get("grpc-encoding").is_none(), "the client does not accept any");
}
