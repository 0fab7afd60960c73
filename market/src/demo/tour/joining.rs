//! Joining with a code, renewal, and revocation by a trust bundle: a second market, with an authority of its own.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use souk_authority::{
    invitation::book::{MAX_VALIDITY, NewInvitation},
    pki::{IssueOptions, Pki},
};
use souk_certs::{
    client::ClientTls,
    clock::Clock as CertificateClock,
    connector::{self, ConnectOptions, Dial},
    credentials::Credentials,
    identity::{Identity, Role},
    pem,
};
use souk_client::{ClientConfig, Connection};
use souk_enrolment::{
    admission::Admission,
    code::InvitationCode,
    context::Context,
    join::{JoinError, check_renewed, join, renew},
    key::PartyKey,
    trust::SignedBundle,
};
use souk_proto::{
    Reason,
    v1::{self, enrolment_service_client::EnrolmentServiceClient, trust_service_client::TrustServiceClient},
};
use souk_server::{
    app::{App, ServeError},
    clock::Clock,
    config::{Config, StoreConfig},
    random::Random,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::Log;
use crate::authority::{OwnAuthority, OwnAuthorityOptions};

/// Within this time, a revoked party is cut off.
const CUT_WITHIN: Duration = Duration::from_secs(2);

/// A market with its authority, and a buyer who has joined.
struct Place {
    folder: TempDir,
    own: OwnAuthority,
    pki: Pki,
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Place {
    async fn open() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("souk-").tempdir()?;
        let listener = TcpListener::bind(super::ANY_PORT).await?;
        let address = listener.local_addr()?;
        let mut config = Config::load(None)?;
        let dir = folder.path().join("authority");
        let trust_domain = config.tls.trust_domain.clone();
        let options =
            OwnAuthorityOptions { dir, trust_domain, listen: super::ANY_PORT, market: address, public: None };
        let own = OwnAuthority::open(&options).await?;
        let pki = Pki::open(&options.dir)?;
        config.server.threads = 1;
        config.store = StoreConfig::at("memory");
        config.tls.use_context(&own.context)?;
        let app = App::build(config, listener, (Clock::SYSTEM, Random::SYSTEM)).await?;
        let stop = CancellationToken::new();
        let served = tokio::spawn(app.run(stop.clone()));
        Ok(Self { folder, own, pki, address, stop, served })
    }

    fn authority(&self) -> Dial {
        self.own.enrolment.address.into()
    }

    fn invite(&mut self, name: &str) -> anyhow::Result<InvitationCode> {
        let new =
            NewInvitation { role: Role::Buyer, name: name.to_owned(), again: false, validity: MAX_VALIDITY };
        Ok(self.pki.invite(new, CertificateClock::SYSTEM.now())?.0)
    }

    /// Returns a channel to a server that is verified as this identity.
    fn channel(
        &self,
        at: Dial,
        server: Identity,
        shown: &Credentials,
    ) -> anyhow::Result<tonic::transport::Channel> {
        let tls = ClientTls::new(shown)?;
        Ok(connector::channel(at, server, tls, self.pki.trust_domain(), ConnectOptions::default()))
    }

    async fn close(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.served.await??;
        self.own.enrolment.close();
        Ok(self.folder.close()?)
    }
}

/// Who has joined, with the code and the key.
struct Newcomer {
    code: InvitationCode,
    key: PartyKey,
    context: Context,
    connection: Connection,
}

pub(super) async fn tour(log: &mut Log) {
    let mut place = None;
    log.step("a market opens with an authority of its own, at which it joins itself", &[], async {
        place = Some(Place::open().await?);
        Ok(())
    })
    .await;
    let Some(mut place) = place else { return };
    let mut newcomer = None;
    log.step("a buyer joins with a code and registers", &["EnrolmentService/Join"], async {
        newcomer = Some(newcomer_joins(&mut place).await?);
        Ok(())
    })
    .await;
    if let Some(newcomer) = newcomer {
        log.step("the code is good for one key alone", &[], good_once(&newcomer)).await;
        log.step(
            "a certificate is renewed for another key",
            &["EnrolmentService/Renew"],
            renews(&place, &newcomer),
        )
        .await;
        log.step("an operator lists certificates", &["EnrolmentService/ListCertificates"], lists(&mut place))
            .await;
        log.step("the market passes the trust bundle on", &["TrustService/GetTrust"], passes_on(&newcomer))
            .await;
        log.step(
            "a bundle revokes the buyer, who is cut off within 2 s",
            &["TrustService/WatchTrust"],
            revoked(&mut place, &newcomer),
        )
        .await;
    }
    log.step("both are closed", &[], place.close()).await;
}

async fn newcomer_joins(place: &mut Place) -> anyhow::Result<Newcomer> {
    let (code, key) = (place.invite("nina")?, PartyKey::generate()?);
    let now = CertificateClock::SYSTEM.now();
    let joined = join(&code, Role::Buyer, &key, now).await?;
    let context = Context::at(place.folder.path().join("nina"));
    context.lock()?.install(&Admission::of(&joined, &key, &code, now)?.generation)?;
    let config = ClientConfig::new(place.address.into(), context.credential_files());
    let connection = Connection::open(&config).await?;
    let request = v1::RegisterBuyerRequest { display_name: "Nina".into(), ..Default::default() };
    connection.call(request).await?;
    Ok(Newcomer { code, key, context, connection })
}

async fn good_once(newcomer: &Newcomer) -> anyhow::Result<()> {
    let now = CertificateClock::SYSTEM.now();
    let again = join(&newcomer.code, Role::Buyer, &newcomer.key, now).await?;
    let first = std::fs::read_to_string(newcomer.context.credential_files().cert)?;
    ensure!(pem::encode("CERTIFICATE", &again.certificate) == first, "the same key got another certificate");
    match join(&newcomer.code, Role::Buyer, &PartyKey::generate()?, now).await {
        Err(JoinError::Refused(status)) if Reason::of(&status) == Some(Reason::InvitationUsed) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("another key got a certificate for the same code"),
    }
}

async fn renews(place: &Place, newcomer: &Newcomer) -> anyhow::Result<()> {
    let (domain, now) = (place.pki.trust_domain(), CertificateClock::SYSTEM.now());
    let credentials = Credentials::load(&newcomer.context.credential_files(), domain, now)?;
    let (before, key) = (credentials.identity(), PartyKey::generate()?);
    let renewed = renew(&place.authority(), &credentials, &key).await?;
    let roots = [place.pki.root().clone()];
    let after = check_renewed(&renewed, &key, &roots, before.identity(), domain, now)?;
    ensure!(after.serial() != before.serial(), "it is the same certificate");
    Ok(())
}

async fn lists(place: &mut Place) -> anyhow::Result<()> {
    let now = CertificateClock::SYSTEM.now();
    let olga = place.pki.issue("olga", Role::Operator, &IssueOptions::default(), now)?;
    let operator = Credentials::load(&olga.files(), place.pki.trust_domain(), now)?;
    let channel = place.channel(place.authority(), Identity::Authority, &operator)?;
    let request = v1::ListCertificatesRequest::default();
    let listed = EnrolmentServiceClient::new(channel).list_certificates(request).await?.into_inner();
    let named = |name: &str| listed.certificates.iter().filter(|found| found.name == name).count();
    ensure!(named("nina") == 2 && named("olga") == 1, "{:?}", listed.certificates);
    Ok(())
}

async fn passes_on(newcomer: &Newcomer) -> anyhow::Result<()> {
    let answer = newcomer.connection.call(v1::GetTrustRequest::default()).await?;
    let [bundle] = answer.bundles.as_slice() else { bail!("{} bundles", answer.bundles.len()) };
    let bundle = SignedBundle::try_from(bundle.clone())?.open()?;
    ensure!(bundle.sequence == answer.latest_sequence && bundle.roots.len() == 1, "{bundle:?}");
    Ok(())
}

async fn revoked(place: &mut Place, newcomer: &Newcomer) -> anyhow::Result<()> {
    let now = CertificateClock::SYSTEM.now();
    let olga = place.pki.find("olga")?;
    let operator = Credentials::load(&olga.files(), place.pki.trust_domain(), now)?;
    let channel = place.channel(place.address.into(), Identity::Market, &operator)?;
    let request = v1::WatchTrustRequest { known_sequence: 0 };
    let mut watched = TrustServiceClient::new(channel).watch_trust(request).await?.into_inner();
    let known = sequence(watched.message().await?)?;
    place.pki.revoke("nina", now)?;
    let next = timeout(CUT_WITHIN, watched.message()).await.context("no bundle came within 2 s")?;
    ensure!(sequence(next?)? > known, "the bundle is not a newer one");
    let cut = async {
        while newcomer.connection.call(v1::GetTrustRequest::default()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(CUT_WITHIN, cut).await.context("the buyer was still served after 2 s")
}

fn sequence(message: Option<v1::WatchTrustResponse>) -> anyhow::Result<i64> {
    let bundle = message.and_then(|message| message.bundle).context("the stream ended")?;
    Ok(SignedBundle::try_from(bundle)?.open()?.sequence)
}
