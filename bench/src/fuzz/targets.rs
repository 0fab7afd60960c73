//! The parsers of everything that comes from outside.

use std::{fs, path::Path};

use prost::Message;
use souk_authority::pki::{InitOptions, IssueOptions, Pki};
use souk_certs::{
    clock,
    credentials::{CredentialFiles, Credentials, StaleLists},
    identity::{Identity, PeerCertificate, Role, TrustDomain},
};
use souk_domain::{PartyId, Timestamp};
use souk_proto::v1;
use souk_server::{
    access::{TokenKeys, Tokens},
    config::Config,
    wire::{PageToken, command, query},
};
use tempfile::TempDir;
use uuid::Uuid;

pub(super) type Parse = Box<dyn Fn(&[u8])>;

/// A parser, which must neither panic nor take much time or memory, whatever it is given.
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) parse: Parse,
    /// Inputs beside those of the corpus: what can't be committed, such as certificates of this run.
    pub(super) seeds: Vec<Vec<u8>>,
}

/// Returns all targets. The folder holds the files of those that parse files.
pub(super) fn all(folder: &TempDir) -> anyhow::Result<Vec<Target>> {
    let mut pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now())?;
    let party = pki.issue("alice", Role::Seller, &IssueOptions::default(), clock::now())?;
    let files = party.files();
    let plain = |name, parse: fn(&[u8])| Target { name, parse: Box::new(parse), seeds: Vec::new() };
    Ok(vec![
        plain("requests", requests),
        plain("page-tokens", page_tokens),
        plain("spiffe-ids", spiffe_ids),
        tokens(&folder.path().join("pki"), &files)?,
        pem(folder.path(), &files)?,
        revocation_lists(folder.path(), &files)?,
        certificates(&files)?,
        items(folder.path(), "items.csv", "csv"),
        items(folder.path(), "items.ndjson", "ndjson"),
        settings(folder.path()),
    ])
}

/// Decodes the rest of an input as one of these messages, by its first byte, and converts it.
macro_rules! messages {
    ($input:ident: $($request:ident $convert:expr),+ $(,)?) => {{
        let readers: &[fn(&[u8])] = &[$(|bytes| {
            if let Ok(request) = v1::$request::decode(bytes) {
                let convert = $convert;
                let _ = convert(request);
            }
        }),+];
        if let Some((first, rest)) = $input.split_first() {
            readers[usize::from(*first) % readers.len()](rest);
        }
    }};
}

const PARTY: PartyId = PartyId(Uuid::nil());

fn requests(input: &[u8]) {
    messages!(input:
        RegisterSellerRequest command::register_seller,
        RegisterBuyerRequest command::register_buyer,
        SellItemRequest command::sell_item,
        UpdateItemRequest command::update_item,
        DeleteItemRequest command::delete_item,
        UndeleteItemRequest command::undelete_item,
        BuyItemRequest command::buy_item,
        PlaceOrderRequest command::place_order,
        CancelOrderRequest command::cancel_order,
        ShipSaleRequest command::ship_sale,
        DeliverSaleRequest command::deliver_sale,
        CancelSaleRequest command::cancel_sale,
        AddToWishlistRequest command::add_to_wishlist,
        RemoveFromWishlistRequest command::remove_from_wishlist,
        RateItemRequest command::rate_item,
        TestEventRequest command::test_event,
        SuspendRequest command::suspend,
        ReinstateRequest command::reinstate,
        RedeliverRequest command::redeliver,
        ImportRow |row: v1::ImportRow| command::import_row(&row),
        SearchItemRequest |request: v1::SearchItemRequest| query::search_item(&request),
        WatchSearchRequest query::watch_search,
        ListCategoriesRequest |request: v1::ListCategoriesRequest| query::list_categories(&request),
        SummarizeSalesRequest |request: v1::SummarizeSalesRequest| query::summarize_sales(&request),
        ListOrdersRequest |request: v1::ListOrdersRequest| query::list_orders(PARTY, request),
        ListSalesRequest |request: v1::ListSalesRequest| query::list_sales(PARTY, request),
        ListDeadLettersRequest |request: v1::ListDeadLettersRequest| query::list_dead_letters(&request),
        SubscribeRequest |request: v1::SubscribeRequest| query::subscribe(&request),
        AcknowledgeRequest |request: v1::AcknowledgeRequest| query::acknowledge(&request),
        WatchRideRequest |request: v1::WatchRideRequest| query::watch_ride(&request),
        ListRidesRequest |request: v1::ListRidesRequest| query::list_rides(PARTY, &request),
    );
}

/// Reads an input as a page token, and as the position in one that belongs to the query: everybody can make such tokens.
fn page_tokens(input: &[u8]) {
    let search = v1::SearchItemRequest { query: "lamp".into(), ..Default::default() };
    let mut tokens = vec![String::from_utf8_lossy(input).into_owned()];
    if let Ok(position) = serde_json::from_slice::<serde_json::Value>(input) {
        tokens.push(PageToken::of(&[b"SearchItem", &search.encode_to_vec()]).write(&position));
        tokens.push(PageToken::of(&[b"ListParties", &[0]]).write(&position));
        tokens.push(PageToken::of(&[b"ListCategories", b""]).write(&position));
    }
    for page_token in tokens {
        let _ =
            query::search_item(&v1::SearchItemRequest { page_token: page_token.clone(), ..search.clone() });
        let parties = v1::ListPartiesRequest { page_token: page_token.clone(), ..Default::default() };
        let _ = query::list_parties(&parties);
        let _ = query::list_categories(&v1::ListCategoriesRequest { page_token, ..Default::default() });
    }
}

fn spiffe_ids(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let domain = TrustDomain::default();
    if let Ok(identity) = Identity::parse(&text, &domain) {
        assert_eq!(identity.spiffe_id(&domain), text, "an identity has one spelling");
    }
    let _ = text.parse::<TrustDomain>();
}

fn tokens(pki: &Path, files: &CredentialFiles) -> anyhow::Result<Target> {
    let domain = TrustDomain::default();
    let mut config = Config::load(None)?;
    config.tls.cert = pki.join("market.pem");
    let tokens = Tokens::new(TokenKeys::load(&config.tls.token_key_files(), Uuid::nil())?, &domain);
    let certificate = Credentials::load(files, &domain, clock::now())?.identity().clone();
    let party = PartyId(certificate.identity().uuid().unwrap_or_default());
    let now = (Timestamp(1_700_000_000_000_000), Uuid::nil());
    let issued = tokens.issue(&certificate, party, souk_domain::Role::Seller, 1, now)?;
    let seeds = vec![issued.token.reveal().as_bytes().to_vec()];
    let own = seeds[0].clone();
    let parse = move |input: &[u8]| {
        let is_good = tokens.verify(&String::from_utf8_lossy(input), &certificate).is_ok();
        assert!(!is_good || input == own, "a token that nobody issued is accepted");
    };
    Ok(Target { name: "tokens", parse: Box::new(parse), seeds })
}

/// Loads credentials, one file of which is the input.
fn pem(folder: &Path, files: &CredentialFiles) -> anyhow::Result<Target> {
    let path = folder.join("input.pem");
    let seeds = vec![fs::read(&files.cert)?, fs::read(files.ca_path())?, fs::read(files.key_path())?];
    let files = files.clone();
    let parse = move |input: &[u8]| {
        if fs::write(&path, input).is_err() {
            return;
        }
        for changed in [
            CredentialFiles {
                cert: path.clone(),
                key: Some(files.key_path()),
                ca: Some(files.ca_path()),
                crl: None,
            },
            CredentialFiles { ca: Some(path.clone()), ..files.clone() },
            CredentialFiles { key: Some(path.clone()), ..files.clone() },
        ] {
            let _ = Credentials::load(&changed, &TrustDomain::default(), clock::now());
        }
    };
    Ok(Target { name: "pem", parse: Box::new(parse), seeds })
}

fn revocation_lists(folder: &Path, files: &CredentialFiles) -> anyhow::Result<Target> {
    let path = folder.join("input.crl.pem");
    let seeds = vec![fs::read(files.crl_path())?];
    let changed = CredentialFiles { crl: Some(path.clone()), ..files.clone() };
    let parse = move |input: &[u8]| {
        if fs::write(&path, input).is_ok() {
            let _ =
                Credentials::load_with(&changed, &TrustDomain::default(), StaleLists::Refuse, clock::now());
        }
    };
    Ok(Target { name: "revocation-lists", parse: Box::new(parse), seeds })
}

/// Reads an input as the certificate that a peer presents.
fn certificates(files: &CredentialFiles) -> anyhow::Result<Target> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    let der = CertificateDer::from_pem_file(&files.cert)?;
    let parse = |input: &[u8]| {
        let _ = PeerCertificate::from_der(&CertificateDer::from(input), &TrustDomain::default());
    };
    Ok(Target { name: "certificates", parse: Box::new(parse), seeds: vec![der.to_vec()] })
}

fn items(folder: &Path, file: &str, name: &'static str) -> Target {
    let path = folder.join(file);
    let parse = move |input: &[u8]| {
        if fs::write(&path, input).is_ok() {
            let _ = seller::count_items(&path);
        }
    };
    Target { name, parse: Box::new(parse), seeds: Vec::new() }
}

fn settings(folder: &Path) -> Target {
    let path = folder.join("market.toml");
    let parse = move |input: &[u8]| {
        if fs::write(&path, input).is_ok() {
            let _ = Config::load(Some(&path));
        }
    };
    Target { name: "settings", parse: Box::new(parse), seeds: vec![Config::DEFAULTS.as_bytes().to_vec()] }
}
