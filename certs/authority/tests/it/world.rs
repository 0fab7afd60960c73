//! Test support: a folder with certificates, misbehaving clients, and waiting with a deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use souk_authority::pki::{InitOptions, IssueOptions, Party, Pki};
use souk_certs::client::client_config;
use souk_certs::clock;
use souk_certs::credentials::Credentials;
use souk_certs::identity::{Role, TrustDomain};
use tempfile::TempDir;

/// Deadline for a condition: long enough for a slow machine under load.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A separate authority in a temporary folder, which is deleted on drop.
pub(crate) struct World {
    pub(crate) pki: Pki,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now()).unwrap();
        World { pki, folder }
    }

    pub(crate) fn party(&mut self, name: &str, role: Role) -> Party {
        self.pki.issue(name, role, &IssueOptions::default(), clock::now()).unwrap()
    }

    pub(crate) fn load(&self, party: &Party) -> Credentials {
        Credentials::load(&party.files(), &TrustDomain::default(), clock::now()).unwrap()
    }

    pub(crate) fn market(&self) -> Credentials {
        self.load(&self.pki.market().unwrap())
    }

    pub(crate) fn client(&self, party: &Party) -> Arc<ClientConfig> {
        client_config(&self.load(party)).unwrap()
    }

    /// Returns the path of a file in the authority's folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.pki.dir().join(file)
    }

    /// Returns a folder for files outside the authority's folder.
    pub(crate) fn outside(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Returns the configuration of a client that trusts this authority, but presents any certificate or none and
    /// offers any protocols.
    pub(crate) fn rogue(&self, shows: Option<&Party>, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(party) => {
                let key = PrivateKeyDer::from_pem_file(party.key.as_ref().unwrap()).unwrap();
                let certificate = CertificateDer::from_pem_file(&party.cert).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Waits for `condition`, which is evaluated whenever other tasks have run.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(waited.await, Some(()), "{what}: not within {DEADLINE:?}");
}

/// Returns the result of `work`. Fails the test if it exceeds the deadline.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(DEADLINE, work).await.ok()
}
