//! What the calls of the enrolment service share.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use souk_certs::acceptor::{AcceptorLimits, Entry, Sources};
use souk_certs::clock::Clock;
use souk_certs::credentials::Credentials;
use souk_certs::identity::TrustDomain;
use souk_certs::random::Random;
use souk_certs::server::enrolment_config;
use souk_proto::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Status};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::ServeError;
use super::limits::{
    self, CALLS_OF_ADDRESS, CONFLICTS, WAITING_CALLS, WATCHERS, WORKERS, WORKERS_OF_STRANGERS,
};
use super::peer::{GateTls, Leaf, Peer};
use super::published::Published;
use super::refusals::Refusals;
use super::status::{held, internal, overloaded, refused};
use crate::invitation::book::{self, Book, BookError};
use crate::invitation::redeem::Redeemer;
use crate::log::Did;
use crate::pki::{AUTHORITY, Pki, PkiError};

/// Shared by all calls and by the task that follows the folder.
#[derive(Debug)]
pub(super) struct State {
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) domain: TrustDomain,
    pub(super) tls: Arc<ArcSwap<GateTls>>,
    pub(super) refusals: Refusals,
    /// The sequence of the newest trust bundle.
    pub(super) newest: watch::Sender<i64>,
    /// Whether the service is about to stop.
    pub(super) stopping: watch::Sender<bool>,
    pub(super) watchers: Arc<Semaphore>,
    published: ArcSwap<Published>,
    revoked: ArcSwap<HashSet<Vec<u8>>>,
    redeemer: Mutex<Secrets>,
    /// The serial numbers of superseded certificates whose first attempt at a renewal is in the log.
    conflicts: Mutex<HashSet<String>>,
    /// The shares of the calls under way, by source address.
    calls: Sources,
    workers: Arc<Semaphore>,
    workers_of_strangers: Arc<Semaphore>,
}

/// The secrets' counts, and the state of the file that the invitations were read from.
#[derive(Debug)]
struct Secrets {
    redeemer: Redeemer,
    print: Print,
}

/// Inode, size and modification time of a file; `None` if it does not exist.
type Print = Option<(u64, u64, i64, i64)>;

impl State {
    /// Reads the folder, in which an enrolment service is set up.
    pub(super) fn open(dir: &Path, clock: Clock, random: Random) -> Result<Self, ServeError> {
        let pki = Pki::open_with(dir, random)?;
        if pki.setup().is_none() {
            return Err(PkiError::NotSetUp { dir: dir.to_owned() }.into());
        }
        let credentials = credentials(&pki, clock)?;
        let tls = gate_tls(&pki, &credentials)?;
        let print = print(dir);
        let redeemer = Redeemer::new(&Book::read(dir).map_err(PkiError::from)?, &random.bytes());
        let published = Published::read(&pki)?;
        Ok(State {
            dir: dir.to_owned(),
            clock,
            random,
            domain: pki.trust_domain().clone(),
            tls: Arc::new(ArcSwap::from_pointee(tls)),
            refusals: Refusals::default(),
            newest: watch::Sender::new(published.newest()),
            stopping: watch::Sender::new(false),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            published: ArcSwap::from_pointee(published),
            revoked: ArcSwap::from(credentials.revoked_serials()),
            redeemer: Mutex::new(Secrets { redeemer, print }),
            conflicts: Mutex::default(),
            calls: Sources::new(calls()),
            workers: Arc::new(Semaphore::new(WORKERS)),
            workers_of_strangers: Arc::new(Semaphore::new(WORKERS_OF_STRANGERS)),
        })
    }

    /// Takes over what has changed in the folder: certificates, lists and bundles.
    pub(super) fn reload(&self) -> Result<(), ServeError> {
        let pki = Pki::open_with(&self.dir, self.random)?;
        let credentials = credentials(&pki, self.clock)?;
        self.tls.store(Arc::new(gate_tls(&pki, &credentials)?));
        self.revoked.store(credentials.revoked_serials());
        let published = Published::read(&pki)?;
        let newest = published.newest();
        self.published.store(Arc::new(published));
        // Last, because it wakes the streams, which look at the revoked certificates again.
        self.newest.send_replace(newest);
        Ok(())
    }

    /// Returns the trust bundles.
    pub(super) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Returns whether a certificate is revoked.
    pub(super) fn is_revoked(&self, serial: &[u8]) -> bool {
        self.revoked.load().contains(serial)
    }

    /// Returns whether this is the first attempt to renew a superseded certificate, as far as is remembered. Beyond
    /// [`CONFLICTS`] certificates, no attempt is a first one.
    pub(super) fn is_first_conflict(&self, serial: &str) -> bool {
        let mut conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
        conflicts.len() < CONFLICTS && conflicts.insert(serial.to_owned())
    }

    /// Opens the folder, for a caller that changes it.
    pub(super) fn pki(&self) -> Result<Pki, PkiError> {
        Pki::open_with(&self.dir, self.random)
    }

    /// Runs `check` on the counts of secrets, after taking over invitations that have changed.
    pub(super) fn with_redeemer<T>(&self, check: impl FnOnce(&mut Redeemer) -> T) -> Result<T, BookError> {
        let mut secrets = self.redeemer.lock().unwrap_or_else(PoisonError::into_inner);
        let now = print(&self.dir);
        if now != secrets.print {
            secrets.redeemer.reload(&Book::read(&self.dir)?);
            secrets.print = now;
        }
        Ok(check(&mut secrets.redeemer))
    }

    /// Runs a call that uses files, or refuses it if too many are waiting, of all or of its source address. Callers
    /// without a certificate don't get all workers.
    pub(super) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        peer: Peer,
        call: impl FnOnce(&Self, &Peer) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let Entry::Place(place) = self.calls.enter(peer.address.ip()) else { return Err(overloaded()) };
        let stranger = if peer.certificate.is_some() {
            place.authenticated();
            None
        } else {
            Some(worker(&self.workers_of_strangers).await?)
        };
        let worker = worker(&self.workers).await?;
        let state = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work has ended, which it does also if its caller has gone.
            let _permits = (place, stranger, worker);
            call(&state, &peer)
        });
        let done = done.await;
        done.unwrap_or_else(|panic| Err(internal(&panic)))
    }

    /// Returns the certificate of a caller that must have one, which is not revoked. Unless it is `to_renew`, it must not
    /// have ended, nor have its root been retired.
    pub(super) fn certified(&self, peer: &Peer, to_renew: bool) -> Result<Arc<Leaf>, Status> {
        let Some(certificate) = &peer.certificate else {
            let message = "this call needs a certificate; connect with yours, or join with an invitation";
            return Err(self.refuse(Did::Refuse, Reason::CertificateRequired, message, peer));
        };
        if self.is_revoked(certificate.facts.serial()) {
            let message = "your certificate was revoked; ask the operator for an invitation";
            return Err(self.refuse(Did::Refuse, Reason::CertificateRevoked, message, peer));
        }
        let is_over = certificate.is_of_retired_root || self.clock.now() > certificate.facts.not_after();
        if is_over && !to_renew {
            let message = "your certificate has expired, or its root was retired; renew it and connect again";
            return Err(self.refuse(Did::Refuse, Reason::CertificateExpired, message, peer));
        }
        Ok(Arc::clone(certificate))
    }

    /// Creates the status of a refused call, and counts it for the log.
    pub(super) fn refuse(&self, did: Did, reason: Reason, message: &str, peer: &Peer) -> Status {
        self.refusals.add(did, reason.as_str(), peer.address.ip());
        refused(reason, message)
    }
}

/// Returns who sent a request. Fails with INTERNAL if the connection was not accepted by this service.
pub(super) fn peer_of<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| refused(Reason::Internal, "the connection has no peer"))
}

/// Converts a failure of the folder to a status. Its cause is for the log.
pub(super) fn folder_error(error: &PkiError) -> Status {
    match error {
        PkiError::Locked { .. } => held(),
        error => internal(error),
    }
}

fn credentials(pki: &Pki, clock: Clock) -> Result<Credentials, ServeError> {
    let files = pki.find(AUTHORITY)?.files();
    Ok(Credentials::load(&files, pki.trust_domain(), clock.now())?)
}

fn gate_tls(pki: &Pki, credentials: &Credentials) -> Result<GateTls, ServeError> {
    let retired = pki.retired_roots()?;
    let config = enrolment_config(credentials, &retired)?;
    let subject = |root: &CertificateDer<'_>| {
        X509Certificate::from_der(root).ok().map(|(_, root)| root.subject().as_raw().to_vec())
    };
    Ok(GateTls { config, retired: retired.iter().filter_map(|root| subject(&root.certificate)).collect() })
}

async fn worker(workers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(workers).acquire_owned().await.map_err(|_| overloaded())
}

/// Returns the shares of calls. They are counted like handshakes: each place stands for a call.
fn calls() -> AcceptorLimits {
    AcceptorLimits {
        handshakes: WAITING_CALLS,
        handshakes_of_address: CALLS_OF_ADDRESS,
        handshakes_per_second_of_address: u32::MAX,
        waiting: 0,
        ..limits::handshakes()
    }
}

fn print(dir: &Path) -> Print {
    let found = fs::metadata(dir.join(book::FILE)).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
