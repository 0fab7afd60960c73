//! A database over the network: the connection is verified TLS, or it is refused.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, LazyLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use souk_store::postgres::{self, PostgresOptions};
use souk_testkit::{
    database::{DatabaseServer, Network},
    local::StoreKind,
    postgres::{Database, SETTINGS, is_there, ready},
};

use crate::fixture::Fixture;

/// The name in the server's certificate.
const NAME: &str = "db.souk.test";
/// Another name of the server, which its certificate does not contain.
const ANOTHER_NAME: &str = "other.souk.test";

/// A PostgreSQL server with a certificate.
struct Encrypted {
    server: Arc<DatabaseServer>,
    at: SocketAddr,
}

static ENCRYPTED: LazyLock<Encrypted> = LazyLock::new(|| {
    let authority = authority("Databases");
    let (certificates, key) = certificate(&authority, NAME);
    let at = free_address();
    let server = DatabaseServer::start_on(Network { at, tls: Some((&certificates, &key)) }, &SETTINGS)
        .expect("a server");
    let encrypted = Encrypted { server: ready(server), at };
    encrypted.put("authority.pem", &authority.certificate);
    // An authority of the same name with another key: its name alone must prove nothing.
    encrypted.put("namesake.pem", &self::authority("Databases").certificate);
    encrypted
});

impl Encrypted {
    fn put(&self, file: &str, text: &str) {
        fs::write(self.server.folder().join(file), text).unwrap();
    }

    /// Returns a database's address under a host name, trusting the authority in one of the server's files.
    fn address(&self, database: &Database, name: &str, authority: &str) -> String {
        let file = self.server.folder().join(authority);
        address(name, self.at, database.name()) + &format!("&sslrootcert={}", file.display())
    }

    async fn refusal(&self, name: &str, authority: &str) -> String {
        let database = Database::on(Arc::clone(&self.server));
        refusal(&self.address(&database, name, authority)).await
    }
}

/// Returns an address with `hostaddr`, so that the name is verified without being resolved.
fn address(name: &str, at: SocketAddr, database: &str) -> String {
    format!("postgres://souk@{name}:{}/{database}?hostaddr={}&sslmode=verify-full", at.port(), at.ip())
}

async fn refusal(address: &str) -> String {
    match postgres::open(address, &PostgresOptions::default(), souk_certs::random::uuid_v4()).await {
        Ok(_) => panic!("{address} was opened"),
        Err(error) => error.to_string(),
    }
}

/// Returns a free port on a loopback address derived from this process's id, which no other process uses. So
/// the port can't be taken by another before the server binds it.
fn free_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let listener = TcpListener::bind((Ipv4Addr::new(127, high + 1, middle, low), 0)).unwrap();
    listener.local_addr().unwrap()
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), certificate }
}

/// Mints a server's certificate and key, in PEM.
fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = common_name(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, &authority.issuer).unwrap().pem(), key.serialize_pem())
}

fn common_name(name: &str) -> DistinguishedName {
    let mut whole = DistinguishedName::new();
    whole.push(DnType::CommonName, name);
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_trades_over_verified_tls() {
    if !is_there() {
        return;
    }
    let database = Database::on(Arc::clone(&ENCRYPTED.server));
    let address = ENCRYPTED.address(&database, NAME, "authority.pem");
    let fixture = Fixture::open(StoreKind::Postgres(address)).await;
    let (alice, bob) = (fixture.seller("alice").await, fixture.buyer("bob").await);
    let lamp = alice.lamp(5).await;
    bob.buy(lamp, 2).await.unwrap();
    assert_eq!(bob.search("lamp", "").await[0].quantity, 3);
    // All of its sessions: those of the lanes, queries and mailboxes, and the listening one.
    let sessions = "SELECT count(*) >= 4, bool_and(ssl), min(version) \
                    FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'souk-market'";
    assert_eq!(database.execute(sessions).unwrap(), "t|t|TLSv1.3");
    fixture.close().await;
}

#[tokio::test]
async fn database_of_another_authority_is_refused() {
    if is_there() {
        let message = ENCRYPTED.refusal(NAME, "namesake.pem").await;
        assert!(message.contains("another authority") && message.contains("sslrootcert"), "{message}");
    }
}

#[tokio::test]
async fn database_with_another_name_is_refused_and_both_names_are_reported() {
    if is_there() {
        let message = ENCRYPTED.refusal(ANOTHER_NAME, "authority.pem").await;
        assert!(message.contains(&format!("not valid for name \"{ANOTHER_NAME}\"")), "{message}");
        assert!(message.contains(&format!("only valid for DnsName(\"{NAME}\")")), "{message}");
        assert!(message.contains("in the address"), "{message}");
    }
}

#[tokio::test]
async fn database_without_tls_is_refused_if_the_address_requires_it() {
    if !is_there() {
        return;
    }
    let at = free_address();
    let server = DatabaseServer::start_on(Network { at, tls: None }, &SETTINGS).unwrap();
    let file = server.folder().join("authority.pem");
    fs::write(&file, authority("Databases").certificate).unwrap();
    let address = address(NAME, at, "postgres") + &format!("&sslrootcert={}", file.display());
    let message = refusal(&address).await;
    assert!(message.contains("does not support TLS") && message.contains("turn ssl on"), "{message}");
    // The database was not touched: it has no table of a market.
    let tables = server.psql("postgres", "SELECT count(*) FROM pg_class WHERE relname = 'schema_version'");
    assert_eq!(tables.unwrap(), "0");
}
