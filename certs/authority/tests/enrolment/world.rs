//! An authority with a running enrolment service, and parties that join it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration as Wait;

use souk_authority::enrolment::Enrolment;
use souk_authority::invitation::book::NewInvitation;
use souk_authority::log;
use souk_authority::pki::{InitOptions, Pki, Setup};
use souk_certs::client::{anonymous_config, client_config};
use souk_certs::clock::{self, Clock};
use souk_certs::connector::{ConnectOptions, Dial, connect_once};
use souk_certs::credentials::{CredentialFiles, Credentials};
use souk_certs::identity::{Identity, Role, TrustDomain};
use souk_certs::random::{self, Random};
use souk_enrolment::code::{InvitationCode, InvitationId};
use souk_enrolment::context::{Context, Description, Generation};
use souk_enrolment::join::{JoinError, Joined, join};
use souk_enrolment::key::PartyKey;
use souk_enrolment::trust::SignedBundle;
use souk_enrolment::verifier::PinnedVerifier;
use souk_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use souk_proto::v1::trust_service_client::TrustServiceClient;
use souk_proto::{Reason, v1};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

/// How long a case waits for something that must happen.
pub(crate) const DEADLINE: Wait = Wait::from_secs(10);

/// Where the markets of these cases are said to be.
pub(crate) const MARKET: &str = "m1.example.org:7443";

/// An authority and its service, which stops when this is dropped.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    clock: Clock,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// A party with a certificate in files of its own.
pub(crate) struct Member {
    pub(crate) joined: Joined,
    pub(crate) folder: TempDir,
}

impl World {
    /// Makes an authority and serves it.
    pub(crate) async fn new() -> Self {
        Self::at(Clock::SYSTEM).await
    }

    /// Makes an authority that lives by this clock, and serves it.
    pub(crate) async fn at(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let now = clock.now();
        let options = InitOptions { without_market: true, ..InitOptions::default() };
        let mut pki = Pki::init(folder.path(), &options, now).unwrap();
        let setup =
            Setup { public: address.into(), markets: vec![MARKET.parse().unwrap()], ephemeral: false };
        pki.set_up(&setup, now).unwrap();
        let mut world = World { folder, address, clock, stop: None, serving: None };
        world.serve(listener);
        world
    }

    fn serve(&mut self, listener: TcpListener) {
        let service = Enrolment::open(self.folder.path(), self.clock, Random::SYSTEM).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        self.serving = Some(tokio::spawn(async {
            let stopped = async { drop(stopped.await) };
            service.serve(listener, stopped).await.unwrap();
        }));
    }

    /// Stops the service, as at the end of its process.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap();
        }
    }

    /// Serves again at the same address.
    pub(crate) async fn start(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
            }
        };
        self.serve(listener);
    }

    /// Serves again, by another clock.
    pub(crate) async fn start_at(&mut self, clock: Clock) {
        self.clock = clock;
        self.start().await;
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pki(&self) -> Pki {
        Pki::open(self.dir()).unwrap()
    }

    /// Invites a party for a day.
    pub(crate) fn invite(&self, role: Role, name: &str) -> InvitationCode {
        self.invite_at(role, name, self.clock.now())
    }

    pub(crate) fn invite_at(&self, role: Role, name: &str, now: OffsetDateTime) -> InvitationCode {
        let new = NewInvitation { role, name: name.to_owned(), again: false, validity: Duration::DAY };
        self.pki().invite(new, now).unwrap().0
    }

    /// Returns how many certificates were signed, besides the authority's own.
    pub(crate) fn signed(&self) -> usize {
        self.pki().certificates().iter().filter(|party| party.identity != Identity::Authority).count()
    }

    /// Asserts that somebody who has nothing to do with the case is still served.
    pub(crate) async fn serves_others(&self) {
        let before = self.signed();
        let name = format!("bystander-{}", random::uuid_v4().simple());
        let code = self.invite(Role::Buyer, &name);
        Member::join(&code, Role::Buyer).await.unwrap();
        assert_eq!(self.signed(), before + 1);
    }

    /// Returns the entries of the log, as text.
    pub(crate) fn log(&self) -> String {
        log::verify(self.dir(), None).unwrap();
        fs::read_to_string(self.dir().join(log::FILE)).unwrap_or_default()
    }

    /// Waits until the log has an entry with all of these texts.
    pub(crate) async fn logs(&self, texts: &[&str]) {
        let has = |line: &str| texts.iter().all(|text| line.contains(text));
        let wait = async {
            while !self.log().lines().any(has) {
                tokio::time::sleep(Wait::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, wait).await;
        assert!(waited.is_ok(), "no entry with {texts:?} in\n{}", self.log());
    }

    /// Connects without a certificate to the authority of a code.
    pub(crate) async fn stranger(&self, code: &InvitationCode) -> EnrolmentServiceClient<Channel> {
        EnrolmentServiceClient::new(self.anonymous(code).await)
    }

    pub(crate) async fn anonymous(&self, code: &InvitationCode) -> Channel {
        let verifier = PinnedVerifier::new(code.root(), code.trust_domain().clone());
        let config = anonymous_config(Arc::new(verifier)).unwrap();
        let options = ConnectOptions::default();
        connect_once(code.authority(), Identity::Authority, config, code.trust_domain(), options)
            .await
            .unwrap()
            .0
    }

    /// Connects with a certificate.
    pub(crate) async fn connect(
        &self,
        credentials: &Credentials,
    ) -> Result<Channel, souk_certs::connector::DialError> {
        let config = client_config(credentials).unwrap();
        let domain = credentials.trust_domain();
        let options = ConnectOptions::default();
        connect_once(&self.dial(), Identity::Authority, config, domain, options)
            .await
            .map(|(channel, _)| channel)
    }

    pub(crate) async fn trust(&self, credentials: &Credentials) -> TrustServiceClient<Channel> {
        TrustServiceClient::new(self.connect(credentials).await.unwrap())
    }

    pub(crate) fn dial(&self) -> Dial {
        self.address.into()
    }

    /// Returns the newest trust bundle.
    pub(crate) fn bundle(&self) -> SignedBundle {
        self.pki().newest_bundle().unwrap().unwrap()
    }
}

impl Member {
    /// Redeems a code with a new key.
    pub(crate) async fn join(code: &InvitationCode, role: Role) -> Result<Self, JoinError> {
        Self::join_at(code, role, clock::now()).await
    }

    pub(crate) async fn join_at(
        code: &InvitationCode,
        role: Role,
        now: OffsetDateTime,
    ) -> Result<Self, JoinError> {
        let key = PartyKey::generate().unwrap();
        let joined = join(code, role, &key, now).await?;
        let folder = tempfile::tempdir().unwrap();
        let member = Member { joined, folder };
        member.write(&member.joined.certificate.clone(), &key);
        Ok(member)
    }

    /// Writes the files of a certificate and key, with the roots and lists of the bundle that came with it.
    pub(crate) fn write(&self, certificate: &rustls_pki_types::CertificateDer<'static>, key: &PartyKey) {
        self.put("party.pem", &pem(certificate));
        self.put("party.key", &key.to_pem());
        self.trust(&SignedBundle::try_from(self.joined.trust.clone()).unwrap());
    }

    /// Writes the roots and lists of a bundle, as somebody does who has followed a change of roots.
    pub(crate) fn trust(&self, bundle: &SignedBundle) {
        let trust = bundle.open().unwrap();
        self.put("ca.pem", &trust.ca_pem());
        self.put("crl.pem", &trust.crl_pem());
    }

    fn put(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }

    /// Makes a context of the files, of a party that finds the authority at this address.
    pub(crate) fn context(&self, authority: SocketAddr) -> Context {
        let context = Context::at(self.folder.path().join("context"));
        let locked = context.lock().unwrap();
        let description = Description {
            identity: self.joined.peer.identity(),
            name: self.joined.name.clone(),
            market: Vec::new(),
            authority: vec![authority.into()],
            nearby: Vec::new(),
            trust_domain: TrustDomain::default(),
            invitation: InvitationId(random::bytes()),
            ephemeral: false,
        };
        locked.describe(&description, random::uuid_v4()).unwrap();
        let read = |file: &str| fs::read_to_string(self.folder.path().join(file)).unwrap();
        let trust = SignedBundle::try_from(self.joined.trust.clone()).unwrap().to_bytes();
        let [certificate, key, roots, lists] = ["party.pem", "party.key", "ca.pem", "crl.pem"].map(read);
        locked.install(&Generation { certificate, key, roots, lists, trust }).unwrap();
        context
    }

    pub(crate) fn files(&self) -> CredentialFiles {
        CredentialFiles::beside(self.path())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("party.pem")
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::load_for_renewal(&self.files(), &TrustDomain::default(), clock::now()).unwrap()
    }

    /// Returns the serial number in hexadecimal.
    pub(crate) fn serial(&self) -> String {
        self.joined.peer.serial().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// Encodes a certificate in PEM.
pub(crate) fn pem(certificate: &rustls_pki_types::CertificateDer<'_>) -> String {
    souk_certs::pem::encode("CERTIFICATE", certificate)
}

/// Returns the request of a code and key, as the client sends it.
pub(crate) fn request(code: &InvitationCode, role: v1::Role, key: &PartyKey) -> v1::JoinRequest {
    v1::JoinRequest {
        invitation_id: code.id().0.to_vec(),
        secret: code.secret().reveal().to_vec(),
        role: role.into(),
        csr: key.request().unwrap().to_vec(),
    }
}

/// Returns the reason of a refused call.
pub(crate) fn reason(status: &Status) -> Option<Reason> {
    Reason::of(status)
}

/// Returns the reason for which the authority refused to let somebody join or renew.
pub(crate) fn refusal<T>(outcome: Result<T, JoinError>) -> Option<Reason> {
    match outcome {
        Err(JoinError::Refused(status)) => reason(&status),
        Err(other) => panic!("not refused, but {other:?}"),
        Ok(_) => None,
    }
}
