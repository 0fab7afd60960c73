//! A market that lies about trust. Its clients keep what they have, say so, and go on calling.

use std::fs;
use std::path::Path;
use std::time::Duration as Wait;

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message as _;
use rcgen::{KeyPair, SigningKey};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use souk_authority::Authority;
use souk_authority::pki::Pki;
use souk_certs::clock::{self, Clock};
use souk_certs::identity::{Role, TrustDomain};
use souk_certs::random::{self, Random};
use souk_client::{Upkeep, upkeep};
use souk_enrolment::context::Context;
use souk_enrolment::renewal::{Record, known_sequence};
use souk_enrolment::trust::bundle::PREFIX;
use souk_proto::v1;
use time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::stall::{Stall, timestamp};
use super::world::{DEADLINE, Member, World};

/// How often a case looks whether a client has taken a bundle.
const LOOK_EVERY: Wait = Wait::from_millis(20);

/// What is said about a bundle that no root has signed which is trusted here.
const FORGED: &str = "no CA that is trusted here has signed";

/// A client, and the market that it asks for trust bundles.
struct Client {
    world: World,
    market: Stall,
    /// The market's own key, which is no root's.
    market_key: KeyPair,
    context: Context,
    _folder: Member,
    signed: usize,
}

impl Client {
    async fn new() -> Self {
        let world = World::new().await;
        let market = Member::join(&world.invite(Role::Market, "m1"), Role::Market).await.unwrap();
        let bob = Member::join(&world.invite(Role::Buyer, "bob"), Role::Buyer).await.unwrap();
        // Who is revoked in some of the cases.
        Member::join(&world.invite(Role::Buyer, "carol"), Role::Buyer).await.unwrap();
        let market_key = fs::read_to_string(market.files().key_path()).unwrap();
        let market_key = KeyPair::from_pem(&market_key).unwrap();
        let market = Stall::open(&market.credentials()).await;
        let context = bob.context(world.address);
        let signed = world.signed();
        Client { world, market, market_key, context, _folder: bob, signed }
    }

    /// Returns the contents of the newest bundle, with the next sequence.
    fn next(&self) -> v1::TrustBundle {
        let newest = v1::TrustBundle::decode(wire(&self.world).bundle.as_slice()).unwrap();
        v1::TrustBundle {
            sequence: newest.sequence + 1,
            create_time: Some(timestamp(clock::now())),
            ..newest
        }
    }

    /// Signs contents with the authority's own key, also such as it never publishes.
    fn signed(&self, contents: &v1::TrustBundle) -> v1::SignedTrustBundle {
        let key = fs::read_to_string(self.world.dir().join("ca.key")).unwrap();
        sign(contents, self.world.pki().root(), &KeyPair::from_pem(&key).unwrap())
    }

    fn known(&self) -> i64 {
        known_sequence(&self.context).unwrap()
    }

    /// Waits until the client has the newest bundle, of a market that tells the truth.
    async fn takes_the_newest(&self) {
        let sequence = self.world.bundle().open().unwrap().sequence;
        self.market.offer(wire(&self.world));
        let connection = self.market.connect(&self.context).await;
        let _upkeep =
            Upkeep::start(self.context.clone(), &connection, Clock::SYSTEM, Random::SYSTEM, |said| {
                panic!("{said}")
            });
        let wait = async {
            while self.known() < sequence {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(DEADLINE, wait).await.unwrap();
    }

    /// Has the market hand out a lie, and asserts that the client refuses it for this reason.
    async fn refuses(&self, lie: v1::SignedTrustBundle, why: &str) {
        let (known, before) = (self.known(), self.context.generation().unwrap());
        self.market.offer(lie);
        let said = self.running_program_says().await;
        assert!(
            said.starts_with("warning: the market's trust bundle was refused") && said.contains(why),
            "{said}"
        );
        let said = self.command_says().await;
        assert!(said.contains(why), "{said}");
        assert_eq!(self.context.generation().unwrap(), before, "what it had is gone");
        let asked = self.market.asked();
        assert!(asked.len() >= 2 && asked.iter().all(|sequence| *sequence == known), "{asked:?}");
    }

    /// Returns what a program says that runs, and goes on calling.
    async fn running_program_says(&self) -> String {
        let connection = self.market.connect(&self.context).await;
        let (say, mut said) = mpsc::unbounded_channel();
        let say = move |text| say.send(text).unwrap_or_default();
        let _upkeep = Upkeep::start(self.context.clone(), &connection, Clock::SYSTEM, Random::SYSTEM, say);
        let said = timeout(DEADLINE, said.recv()).await.unwrap().unwrap();
        connection.call(v1::WhoAmIRequest {}).await.unwrap();
        said
    }

    /// Returns what a command says after its work, as soon as the market has answered within the time that a command
    /// waits for it.
    async fn command_says(&self) -> String {
        let connection = self.market.connect(&self.context).await;
        let commands = async {
            loop {
                // The last one was an hour ago.
                Record::default().write(&self.context, random::uuid_v4()).unwrap();
                connection.call(v1::WhoAmIRequest {}).await.unwrap();
                let said =
                    upkeep::after_work(&self.context, Some(&connection), Clock::SYSTEM, Random::SYSTEM).await;
                if let Some(said) = said {
                    return said;
                }
            }
        };
        timeout(DEADLINE, commands).await.unwrap()
    }

    /// Asserts that nothing was signed, that others are served, and that the client still takes what is true.
    async fn holds(self) {
        assert_eq!(self.world.signed(), self.signed);
        self.world.serves_others().await;
        self.world.pki().refresh_crl(clock::now()).unwrap();
        self.takes_the_newest().await;
    }
}

/// Returns the newest bundle as it is sent.
fn wire(world: &World) -> v1::SignedTrustBundle {
    world.bundle().into()
}

/// Signs contents with a key, in the name of a root.
pub(crate) fn sign(contents: &v1::TrustBundle, root: &[u8], key: &KeyPair) -> v1::SignedTrustBundle {
    let bundle = contents.encode_to_vec();
    let signature = key.sign(&[PREFIX, &bundle].concat()).unwrap();
    let root_sha256 = digest(&SHA256, root).as_ref().to_vec();
    let signatures = vec![v1::TrustSignature { root_sha256, ecdsa_p256_sha256: signature }];
    v1::SignedTrustBundle { bundle, signatures }
}

/// Makes a root of the liar's own, and returns it with its key and a revocation list.
pub(crate) fn own_root() -> (Vec<u8>, KeyPair, Vec<u8>) {
    let own = Authority::create(&TrustDomain::default(), clock::now(), Random::SYSTEM).unwrap();
    let list = own.crl(1_000, &[], clock::now()).unwrap();
    let list = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap();
    (own.certificate().to_vec(), KeyPair::from_pem(&own.key_pem()).unwrap(), list.to_vec())
}

/// Copies a folder over another.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

#[tokio::test]
async fn trust_forged() {
    let client = Client::new().await;
    let next = client.next();
    let root = client.world.pki().root().clone();
    let (own, own_key, own_list) = own_root();
    let theirs = v1::TrustBundle { roots: vec![own.clone()], crls: vec![own_list], ..next.clone() };
    let mut changed = client.signed(&next);
    *changed.bundle.last_mut().unwrap() ^= 1;
    for lie in [
        // A root of the liar's own, in its own name, and in that of the root that is trusted.
        sign(&theirs, &own, &own_key),
        sign(&theirs, &root, &own_key),
        // The market's certificate is trusted, but is no root.
        sign(&theirs, &root, &client.market_key),
        // Signed by nobody; well signed, and then changed.
        v1::SignedTrustBundle { signatures: Vec::new(), ..client.signed(&next) },
        changed,
    ] {
        client.refuses(lie, FORGED).await;
    }
    client.holds().await;
}

#[tokio::test]
async fn trust_older() {
    let client = Client::new().await;
    let before = wire(&client.world);
    client.world.pki().revoke("carol", clock::now()).unwrap();
    client.takes_the_newest().await;
    let between = wire(&client.world);
    client.world.pki().refresh_crl(clock::now()).unwrap();
    client.takes_the_newest().await;
    // The first of them would readmit carol.
    for older in [before, between] {
        client.refuses(older, "is older than").await;
    }
    client.holds().await;
}

#[tokio::test]
async fn trust_forked() {
    let client = Client::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    copy(client.world.dir(), elsewhere.path());
    // The copy of the authority goes on by itself.
    let mut other = Pki::open(elsewhere.path()).unwrap();
    other.refresh_crl(clock::now()).unwrap();
    let other = other.newest_bundle().unwrap().unwrap();
    client.world.pki().revoke("carol", clock::now()).unwrap();
    client.takes_the_newest().await;
    assert_eq!(other.open().unwrap().sequence, client.known());
    client.refuses(other.into(), "two different trust bundles").await;
    client.holds().await;
}

#[tokio::test]
async fn trust_no_crl() {
    let client = Client::new().await;
    let before = client.next().crls;
    client.world.pki().refresh_crl(clock::now()).unwrap();
    client.takes_the_newest().await;
    let next = client.next();
    let (_, _, other) = own_root();
    let mut changed = next.crls[0].clone();
    *changed.last_mut().unwrap() ^= 1;
    // With the authority's own key, so that only the list is wrong: left out, another's, not the root's any more.
    for crls in [Vec::new(), vec![other], vec![changed]] {
        let lie = client.signed(&v1::TrustBundle { crls, ..next.clone() });
        client.refuses(lie, "has no revocation list of the CA").await;
    }
    // The list of before, under a new sequence.
    let lie = client.signed(&v1::TrustBundle { crls: before, ..next.clone() });
    client.refuses(lie, "older revocation list").await;
    // Left out by the market itself.
    let lie = v1::TrustBundle { crls: Vec::new(), ..next.clone() }.encode_to_vec();
    let lie = v1::SignedTrustBundle { bundle: lie, ..client.signed(&next) };
    client.refuses(lie, "has no revocation list of the CA").await;
    client.holds().await;
}

#[tokio::test]
async fn trust_future() {
    let client = Client::new().await;
    let create_time = Some(timestamp(clock::now() + Duration::minutes(6)));
    let lie = client.signed(&v1::TrustBundle { create_time, ..client.next() });
    client.refuses(lie, "is in the future").await;
    client.holds().await;
}
