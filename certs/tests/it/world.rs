//! A folder of minted identities, and deadlines for what is waited for.

use std::sync::Arc;
use std::time::Duration;

use souk_certs::client::client_config;
use souk_certs::clock;
use souk_certs::credentials::Credentials;
use souk_certs::identity::{Role, TrustDomain};
use souk_certs::pki::{InitOptions, IssueOptions, Party, Pki};
use tempfile::TempDir;

/// Long enough for a slow machine under load; a test that runs into it has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// An authority of its own, in a folder that goes away with it.
pub(crate) struct World {
    pub(crate) pki: Pki,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::init(&folder.path().join("pki"), &InitOptions::default(), clock::now()).unwrap();
        World { pki, _folder: folder }
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

    pub(crate) fn client(&self, party: &Party) -> Arc<rustls::ClientConfig> {
        client_config(&self.load(party)).unwrap()
    }
}

/// Waits for `condition`, which is asked again whenever other tasks have run.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not within {DEADLINE:?}");
}
