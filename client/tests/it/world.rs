//! A separate authority for each test, with a market and any number of parties.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use souk_authority::{Authority, LeafOptions, Revocation};
use souk_certs::{
    client::ClientTls,
    clock,
    connector::{self, ConnectOptions, Dial},
    credentials::{CredentialFiles, Credentials},
    identity::{Identity, Role, TrustDomain},
    random::Random,
};
use souk_client::{ClientConfig, Connection, Delivery, Notice};
use souk_proto::v1::{Event, TestNotice, event::Kind};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::market::Market;

pub(crate) struct World {
    folder: TempDir,
    authority: Authority,
    parties: Mutex<HashMap<String, Party>>,
    pub(crate) market_party: Party,
    pub(crate) market: Market,
}

/// A party with a certificate.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) id: Uuid,
    pub(crate) identity: Identity,
    pub(crate) files: CredentialFiles,
    pub(crate) credentials: Arc<Credentials>,
}

impl World {
    pub(crate) async fn open() -> Self {
        Self::prepare(None).await
    }

    /// Like [`Self::open`], with the certificate of a party, such as `seller/mallory`, revoked.
    pub(crate) async fn open_with_revoked(name: &str) -> Self {
        Self::prepare(Some(name)).await
    }

    async fn prepare(revoked: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority =
            Authority::create(&TrustDomain::default(), clock::now(), Random::SYSTEM).expect("an authority");
        fs::write(folder.path().join("ca.pem"), authority.certificate_pem()).expect("written");
        write_crl(&folder, &authority, &[]);
        let mut parties = HashMap::new();
        if let Some(name) = revoked {
            let mut party = mint(&folder, &authority, name);
            // The party does not know of it yet: its own list is older than the market's.
            let old_list = folder.path().join("old-crl.pem");
            fs::copy(folder.path().join("crl.pem"), &old_list).expect("copied");
            party.files.crl = Some(old_list);
            let serial = party.credentials.identity().serial().to_vec();
            write_crl(&folder, &authority, &[Revocation { serial, at: clock::now() }]);
            parties.insert(name.to_owned(), party);
        }
        let market_party = mint(&folder, &authority, "market");
        let market = Market::open(&market_party.credentials).await;
        Self { folder, authority, parties: Mutex::new(parties), market_party, market }
    }

    /// Returns the party of a name such as `seller/alice`, the same one each time.
    pub(crate) fn party(&self, name: &str) -> Party {
        let mut parties = self.parties.lock().expect("the parties");
        parties.entry(name.to_owned()).or_insert_with(|| mint(&self.folder, &self.authority, name)).clone()
    }

    /// Returns a seller, connected to the market.
    pub(crate) fn seller(&self, name: &str) -> Connection {
        self.connect(&self.party(&format!("seller/{name}")))
    }

    pub(crate) fn connect(&self, party: &Party) -> Connection {
        Connection::with_credentials(&self.config(party), &party.credentials).expect("opened")
    }

    pub(crate) fn config(&self, party: &Party) -> ClientConfig {
        ClientConfig::new(self.dial().into(), party.files.clone())
    }

    pub(crate) fn dial(&self) -> Dial {
        self.market.address.to_string().parse().expect("an address to dial")
    }
}

impl Party {
    /// Returns the same party, but also trusting another world's authority.
    pub(crate) fn trusting(&self, other: &World) -> Self {
        let own = self.files.cert.parent().expect("a folder");
        let joined = |name: &str, joined: &str| {
            let texts = [own, other.folder.path()].map(|folder| fs::read_to_string(folder.join(name)));
            let text = texts.map(|text| text.expect("read")).concat();
            fs::write(own.join(joined), text).expect("written");
            Some(own.join(joined))
        };
        let (ca, crl) = (joined("ca.pem", "both-ca.pem"), joined("crl.pem", "both-crl.pem"));
        Self { files: CredentialFiles { ca, crl, ..self.files.clone() }, ..self.clone() }
    }

    /// Returns a channel to the callback server of another party.
    pub(crate) fn call(&self, address: SocketAddr, server: &Party) -> Channel {
        let dial = address.to_string().parse().expect("an address to dial");
        let tls = ClientTls::new(&self.credentials).expect("a TLS configuration");
        let domain = TrustDomain::default();
        connector::channel(dial, server.identity, tls, &domain, ConnectOptions::default())
    }
}

/// Waits for the next notice, which must arrive within ten seconds.
pub(crate) async fn next(notices: &mut mpsc::Receiver<Notice>) -> Notice {
    let notice = tokio::time::timeout(Duration::from_secs(10), notices.recv()).await;
    notice.expect("a notice in time").expect("a notice")
}

/// Waits for the next notice, which must be an event.
pub(crate) async fn notice_of(notices: &mut mpsc::Receiver<Notice>) -> Delivery {
    match next(notices).await {
        Notice::Event(delivery) => delivery,
        other => panic!("not an event: {other:?}"),
    }
}

/// Returns an event for a party.
pub(crate) fn test_notice(party: &Party, sequence: i64, event_id: &str) -> Event {
    Event {
        event_id: event_id.to_owned(),
        sequence,
        recipient_id: party.id.to_string(),
        occur_time: None,
        kind: Some(Kind::TestNotice(TestNotice { text: "hello".into() })),
    }
}

fn write_crl(folder: &TempDir, authority: &Authority, revoked: &[Revocation]) {
    let list = authority.crl(1, revoked, clock::now()).expect("a revocation list");
    fs::write(folder.path().join("crl.pem"), list).expect("written");
}

/// Issues a certificate for `market` or for a role and a name, and writes it beside the authority's.
fn mint(folder: &TempDir, authority: &Authority, name: &str) -> Party {
    let (role, name) = name.split_once('/').unwrap_or((name, name));
    let role: Role = role.parse().expect("a role");
    let id = Random::SYSTEM.uuid_v4();
    let identity = Identity::new(role, id);
    let (issued, key) = authority.issue(&identity, &LeafOptions::default(), clock::now()).expect("issued");
    let cert = folder.path().join(format!("{role}-{name}.pem"));
    fs::write(&cert, issued.certificate_pem).expect("written");
    let key_file = cert.with_extension("key");
    fs::write(&key_file, key).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("closed to others");
    }
    let files = CredentialFiles { cert, key: Some(key_file), ca: None, crl: None };
    let credentials = Credentials::load(&files, &TrustDomain::default(), clock::now()).expect("loaded");
    Party { id, identity, files, credentials: Arc::new(credentials) }
}
