//! Bytes that no client library would send: invalid text, unknown fields, and ten thousand mutations of
//! every message in the contract.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use souk_certs::identity::Role;
use souk_proto::{FILE_DESCRIPTOR_SET, Reason, v1};
use souk_testkit::actor::{Actor, draft};
use tokio::time::timeout;
use tonic::Code;

use crate::{
    fixture::{Fixture, attacks, figure, reason},
    raw::{Pass, methods},
};

attacks!(text_that_is_not_utf_8, unknown_fields_are_ignored, same_field_many_times, nesting_a_thousand_deep);

/// Encodes a field number and wire type (Protocol Buffers encoding).
fn key(number: u32, wire: u32) -> Vec<u8> {
    varint(u64::from(number << 3 | wire))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn delimited(number: u32, bytes: &[u8]) -> Vec<u8> {
    [key(number, 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

const SELL: &str = "/shopping.v1.SellerService/SellItem";

async fn mallory(fixture: &Fixture) -> Pass {
    let mallory = Actor::enter(&fixture.market, Role::Seller, "Mallory").await.unwrap();
    mallory.register(None).await.unwrap();
    Pass::of(fixture, &mallory).await
}

async fn text_that_is_not_utf_8(fixture: &Fixture) {
    let pass = mallory(fixture).await;
    for text in [&[0xff, 0xfe][..], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], b"half \xe2\x82"] {
        // The request_id, and the name of the draft.
        for body in [delimited(1, text), delimited(3, &delimited(1, text))] {
            let status = pass.call(SELL, body).await.unwrap_err();
            assert_eq!(Reason::of(&status), Some(Reason::RequestMalformed), "{status:?}");
        }
    }
}

fn honest_sale() -> Vec<u8> {
    let request_id = souk_certs::random::uuid_v4().to_string();
    let item = Some(draft("Vase", "home", 900, 2));
    v1::SellItemRequest { request_id, item, ..Default::default() }.encode_to_vec()
}

async fn unknown_fields_are_ignored(fixture: &Fixture) {
    let unknown = [delimited(1_000, b"from the future"), key(2_000, 0), varint(u64::MAX)].concat();
    let body = [unknown.clone(), honest_sale(), unknown].concat();
    let answer = mallory(fixture).await.call(SELL, body).await.unwrap();
    let item = v1::SellItemResponse::decode(&*answer).unwrap().item.unwrap();
    assert_eq!((item.name.as_str(), item.quantity), ("Vase", 2));
}

async fn same_field_many_times(fixture: &Fixture) {
    // The last request_id counts, and it is not a UUID.
    let body = [honest_sale(), delimited(1, b"last")].concat();
    assert_eq!(reason(mallory(fixture).await.call(SELL, body).await), Reason::InvalidField);
}

async fn nesting_a_thousand_deep(fixture: &Fixture) {
    let mut body = Vec::new();
    for _ in 0..1_000 {
        body = delimited(3, &body);
    }
    let status = mallory(fixture).await.call(SELL, body).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::RequestMalformed), "{status:?}");
}

/// The messages of the contract, for generating values.
struct Contract {
    messages: Vec<(String, DescriptorProto)>,
    methods: Vec<(String, String)>,
}

impl Contract {
    fn load() -> Self {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let mut messages = Vec::new();
        let mut requests = Vec::new();
        for file in &files {
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                gather(&package, message, &mut messages);
            }
            for method in file.service.iter().flat_map(|service| &service.method) {
                requests.push((method.name().to_owned(), method.input_type().to_owned()));
            }
        }
        Self { messages, methods: requests }
    }

    fn request_of(&self, path: &str) -> &str {
        let method = path.rsplit('/').next().unwrap();
        &self.methods.iter().find(|(name, _)| name == method).unwrap().1
    }

    /// Generates a message whose fields have the right type and any value.
    fn value(&self, message: &str, depth: u32, chance: &mut StdRng, words: &[String]) -> Vec<u8> {
        let (_, message) = self.messages.iter().find(|(name, _)| name == message).unwrap();
        let mut bytes = Vec::new();
        for field in &message.field {
            if chance.random_bool(0.75) {
                let times = if field.label() == Label::Repeated { chance.random_range(0..4) } else { 1 };
                for _ in 0..times {
                    bytes.extend(self.field(field, depth, chance, words));
                }
            }
        }
        bytes
    }

    fn field(
        &self,
        field: &FieldDescriptorProto,
        depth: u32,
        chance: &mut StdRng,
        words: &[String],
    ) -> Vec<u8> {
        const NUMBERS: [i64; 16] = [
            0,
            1,
            2,
            3,
            4,
            5,
            6,
            -1,
            10,
            50,
            200,
            1_000_000_000,
            i32::MAX as i64,
            i32::MIN as i64,
            i64::MAX,
            i64::MIN,
        ];
        let number = u32::try_from(field.number()).unwrap();
        match field.r#type() {
            Type::Message if depth > 3 => Vec::new(),
            Type::Message => delimited(number, &self.value(field.type_name(), depth + 1, chance, words)),
            Type::String | Type::Bytes => {
                let text = plausible(field.name(), words, chance);
                delimited(number, text.unwrap_or_else(|| words.choose(chance).unwrap()).as_bytes())
            }
            Type::Double | Type::Fixed64 | Type::Sfixed64 => {
                [key(number, 1), chance.random::<u64>().to_le_bytes().to_vec()].concat()
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                [key(number, 5), chance.random::<u32>().to_le_bytes().to_vec()].concat()
            }
            // 1 is valid for many fields: an existing id, one unit, one star.
            _ if chance.random_bool(0.6) => [key(number, 0), varint(1)].concat(),
            _ => [key(number, 0), varint(NUMBERS.choose(chance).unwrap().cast_unsigned())].concat(),
        }
    }
}

/// Returns, most of the time, a plausible value for a field: a message that is refused at its first field
/// tests nothing else.
fn plausible<'a>(field: &str, words: &'a [String], chance: &mut StdRng) -> Option<&'a str> {
    if chance.random_bool(0.2) {
        return None;
    }
    match field {
        "request_id" => Some(words.iter().rev().take(REQUEST_IDS).collect::<Vec<_>>().choose(chance)?),
        "party_id" | "seller_id" => words.first().map(String::as_str),
        "currency_code" => Some("GBP"),
        "category" => Some("home/light"),
        "name" | "display_name" | "query" | "reason" => Some("Lamp"),
        "host" | "page_token" => Some(""),
        _ => None,
    }
}

/// So few request ids that they are reused.
const REQUEST_IDS: usize = 16;

fn gather(prefix: &str, message: &DescriptorProto, into: &mut Vec<(String, DescriptorProto)>) {
    let name = format!("{prefix}.{}", message.name());
    for nested in &message.nested_type {
        gather(&name, nested, into);
    }
    into.push((name, message.clone()));
}

/// Flips, truncates, repeats and replaces bytes.
fn mutate(bytes: &mut Vec<u8>, chance: &mut StdRng) {
    for _ in 0..chance.random_range(0..3) {
        let at = chance.random_range(0..=bytes.len());
        match chance.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, chance.random()),
            3 => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
            _ => bytes.extend((0..chance.random_range(0..32)).map(|_| chance.random::<u8>())),
        }
    }
    bytes.truncate(4_096);
}

/// Returns candidates for texts: an existing id first, request ids last.
fn words(known: &str) -> Vec<String> {
    let strange = [
        "",
        " ",
        "*",
        "a b c d",
        "\"quoted",
        "* OR (",
        "lam~2",
        "\u{0}",
        "\u{202e}evil",
        "İstanbul",
        "🛒",
        "home//light",
        "XXX",
        "unit_price",
        "quantity",
        "127.0.0.1",
        "localhost",
    ];
    let mut words = vec![known.to_owned(), "x".repeat(300)];
    words.extend(strange.map(str::to_owned));
    words.extend((0..REQUEST_IDS).map(|_| souk_certs::random::uuid_v4().to_string()));
    words
}

const MUTATIONS: usize = 10_000;
const AT_A_TIME: usize = 32;

/// Sends every call of the contract, by parties that may make it. Nothing may panic, which a hook detects,
/// and every status must be one that the contract knows. That includes CANCELLED: HTTP/2 may reset a stream
/// whose message could not be read before its status was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_10_000_of_every_request() {
    let fixture = Fixture::open().await;
    let contract = Contract::load();
    let enter = async |role, name| {
        let actor = Actor::enter(&fixture.market, role, name).await.unwrap();
        if role != Role::Operator {
            actor.register(None).await.unwrap();
        }
        actor
    };
    let mallory = enter(Role::Seller, "Mallory").await;
    let words = words(&mallory.id());
    let seller = Pass::of(&fixture, &mallory).await;
    let buyer = Pass::of(&fixture, &enter(Role::Buyer, "Mallet").await).await;
    let operator = Pass::of_token(&fixture, &enter(Role::Operator, "Olga").await, "none").await;
    let both = [seller.clone(), buyer.clone()];
    let services = [
        ("AccountService", &both[..]),
        ("SessionService", &both),
        ("CatalogService", &both),
        ("SellerService", &both[..1]),
        ("BuyerService", &both[1..]),
        ("EventService", &both),
        ("RideService", &both),
        ("AdminService", &[operator]),
    ];
    let panics = Arc::<AtomicUsize>::default();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new({
        let panics = Arc::clone(&panics);
        move |panic| {
            panics.fetch_add(1, Ordering::Relaxed);
            before(panic);
        }
    }));
    let seed: u64 = u64::from_le_bytes(souk_certs::random::bytes());
    println!("seed {seed}");
    for (service, passes) in services {
        for path in methods(service) {
            let chance = &mut StdRng::seed_from_u64(seed);
            let request = contract.request_of(&path);
            let bodies: Vec<_> = (0..MUTATIONS)
                .map(|_| {
                    let mut body = contract.value(request, 0, chance, &words);
                    mutate(&mut body, chance);
                    body
                })
                .collect();
            let calls = bodies.into_iter().enumerate().map(|(number, body)| {
                let (pass, path) = (passes[number % passes.len()].clone(), path.clone());
                async move {
                    let answer = timeout(Duration::from_secs(20), pass.call(&path, body.clone())).await;
                    let code = answer.unwrap_or_else(|_| panic!("{path}: no answer to {body:?}"));
                    let code = code.map_or_else(|status| status.code(), |_| Code::Ok);
                    assert!(!matches!(code, Code::Unknown | Code::Unavailable), "{path} {code:?} {body:?}");
                    code
                }
            });
            let codes: Vec<_> = stream::iter(calls).buffer_unordered(AT_A_TIME).collect().await;
            let fine = codes.iter().filter(|code| **code == Code::Ok).count();
            figure(&format!("{path}: {} mutations, {fine} of them valid, no panic", codes.len()));
        }
    }
    assert_eq!(panics.load(Ordering::Relaxed), 0, "seed {seed}");
    fixture.bob.item(fixture.lamp.item_id).await.unwrap();
    fixture.alice.sell(draft("Another lamp", "home/light", 900, 1)).await.unwrap();
    fixture.market.close().await.unwrap();
}
