//! Checks everything between a certificate file and a delivered event, step by step, each with a remedy. A
//! step that depends on a failed one is skipped.

mod renewal;

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use souk_certs::{clock::Clock, connector::Dial, credentials::Credentials};
use souk_client::{
    ClientConfig, Connection, Error, Inbox, MarketAddresses, Seen,
    error::{Step, required},
};
use souk_proto::{Reason, v1};
use time::OffsetDateTime;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    Audience, Failure,
    advice::of_error,
    exit,
    hints::{of_reason, remedy},
    selection::Selected,
};

/// The remaining validity of a certificate below which a warning is issued.
pub const EXPIRY_WARNING: time::Duration = time::Duration::days(14);
/// The maximum difference between the clocks of client and market.
pub const CLOCK_TOLERANCE: time::Duration = time::Duration::seconds(30);
/// How long to wait for a test event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The detail of a check that was skipped after a failure.
const NOT_CHECKED: &str = "not checked: the step before failed";

/// The result of one check.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was checked, in a word or two.
    pub check: &'static str,
    /// Whether the check passed.
    pub outcome: Outcome,
    /// What the check found, for the person who runs it.
    pub detail: String,
    /// What to do, unless all is well.
    pub remedy: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The check passed; there is no remedy to give.
    Pass,
    /// Works, but not well or not for long.
    Warn,
    /// Does not work, with the exit code for it.
    Fail(u8),
    /// Could not be checked because something before it failed.
    Skip,
}

/// Checks a client's settings, including each address of the market. Remedies name the commands of the audience.
pub async fn examine(config: &ClientConfig, audience: Audience) -> Vec<Finding> {
    let mut findings = Findings::new(config, audience, None);
    findings.run(config).await;
    findings.found
}

/// Like [`examine`], for a party whose certificate is of a context: also checks that it is renewed by itself. `unusable` is
/// why its files can't be used.
pub(crate) async fn examine_context(
    config: &ClientConfig,
    (selected, unusable): (&Selected, Option<Failure>),
    audience: Audience,
) -> Vec<Finding> {
    let mut findings = Findings::new(config, audience, Some(selected.clone()));
    match unusable {
        Some(failure) => {
            let remedy = failure.remedy(audience);
            findings.stop(Outcome::Fail(failure.exit_code()), failure.to_string(), remedy);
        }
        None => findings.run(config).await,
    }
    findings.found
}

/// The checks of each address.
const CHECKS_OF_ADDRESS: [&str; 4] = ["tcp", "tls", "clock", "identity"];

struct Findings {
    found: Vec<Finding>,
    /// The remaining checks, in order, each with its address; `None` if it does not concern an address.
    left: VecDeque<(&'static str, Option<Dial>)>,
    are_several: bool,
    clock: Clock,
    audience: Audience,
    selected: Option<Selected>,
}

impl Findings {
    fn new(config: &ClientConfig, audience: Audience, selected: Option<Selected>) -> Self {
        let (market, clock) = (&config.market, config.clock);
        let general = |check| (check, None);
        let of_addresses = market.iter().flat_map(|address| {
            CHECKS_OF_ADDRESS.into_iter().map(move |check| (check, Some(address.clone())))
        });
        let of_context = selected.iter().map(|_| general("renewal"));
        let before = ["files", "expiry"].map(general).into_iter().chain(of_context);
        let left = before.chain(of_addresses).chain([general("events")]);
        Self {
            found: Vec::new(),
            left: left.collect(),
            are_several: market.only().is_none(),
            clock,
            audience,
            selected,
        }
    }

    /// Adds the result of the next check. It names the address if there are several.
    fn add(&mut self, outcome: Outcome, detail: impl Into<String>, remedy: Option<String>) {
        let Some((check, address)) = self.left.pop_front() else { return };
        let mut detail = detail.into();
        if let Some(address) = address.map(|address| address.to_string())
            && self.are_several
            && !detail.contains(&address)
        {
            detail = format!("{address}: {detail}");
        }
        self.found.push(Finding { check, outcome, detail, remedy });
    }

    fn pass(&mut self, detail: impl Into<String>) {
        self.add(Outcome::Pass, detail, None);
    }

    /// Adds a failure, and skips the checks that depend on it: all remaining ones, or those of the same
    /// address.
    fn fail(&mut self, failure: &Error) {
        let advice = self.selected.as_ref().and_then(|selected| of_error(failure, selected, self.audience));
        let (detail, remedy) = match advice {
            Some(advice) => (advice.message, Some(advice.hint)),
            None => (None, remedy(failure, self.audience)),
        };
        let detail = detail.unwrap_or_else(|| failure.to_string());
        self.stop(Outcome::Fail(exit::of_error(failure)), detail, remedy);
    }

    /// Adds a result after which the checks that depend on it make no sense.
    fn stop(&mut self, outcome: Outcome, detail: impl Into<String>, remedy: Option<String>) {
        let at = self.left.front().and_then(|(_, address)| address.clone());
        self.add(outcome, detail, remedy);
        while self.left.front().is_some_and(|(_, address)| at.is_none() || *address == at) {
            self.add(Outcome::Skip, NOT_CHECKED, None);
        }
    }

    async fn run(&mut self, config: &ClientConfig) {
        let credentials = match Credentials::load(&config.credentials, &config.trust_domain, self.clock.now())
        {
            Ok(credentials) => credentials,
            Err(error) => return self.fail(&error.into()),
        };
        let cert = config.credentials.cert.display();
        let role = credentials.identity().identity().role();
        if let Some(expected) = self.audience.role().filter(|expected| *expected != role) {
            let remedy = of_reason(Reason::RoleDenied, self.audience);
            let detail = format!("the role in {cert} is {role}, not {expected}");
            return self.stop(Outcome::Fail(exit::IDENTITY), detail, Some(remedy));
        }
        let fits = format!("{cert} fits its key and was signed by the authority");
        match credentials.warnings() {
            [] => self.pass(fits),
            warnings => self.add(Outcome::Warn, format!("{fits}; but {}", warnings.join("; ")), None),
        }
        self.expiry(credentials.identity().not_after());
        if let Some(selected) = self.selected.clone() {
            let (outcome, detail, remedy) = renewal::check(&selected.context, config, self.audience).await;
            self.add(outcome, detail, remedy);
        }
        let (mut good, mut is_new) = (Vec::new(), false);
        for address in config.market.iter() {
            let config = ClientConfig { market: address.clone().into(), ..config.clone() };
            match self.address(&config, &credentials).await {
                Ok(()) => good.push(address.to_string()),
                // Nothing is broken: it is the next step.
                Err(failure) if failure.reason() == Some(Reason::NotRegistered) => {
                    is_new = true;
                    let remedy = remedy(&failure, self.audience);
                    self.stop(Outcome::Warn, "your certificate is good, but it has no account yet", remedy);
                }
                Err(failure) => self.fail(&failure),
            }
        }
        let Ok(market) = MarketAddresses::parse(good) else {
            let why = if is_new { "events need an account" } else { NOT_CHECKED };
            return self.add(Outcome::Skip, why, None);
        };
        let config = ClientConfig { market, ..config.clone() };
        if let Err(failure) = self.events(&config, &credentials).await {
            self.fail(&failure);
        }
    }

    /// Runs the checks of one address, which is the only one in these settings.
    async fn address(&mut self, config: &ClientConfig, credentials: &Credentials) -> Result<(), Error> {
        self.tcp(config).await?;
        let connection = Connection::with_credentials(config, credentials)?;
        self.tls_and_clock(&connection).await?;
        self.identity(&connection).await
    }

    fn expiry(&mut self, not_after: OffsetDateTime) {
        let left = not_after - self.clock.now();
        let detail = format!("valid until {}, for {} days", not_after.date(), left.whole_days());
        if left < EXPIRY_WARNING {
            let remedy = match self.selected {
                Some(_) => "it is renewed by itself; the next check says how that went",
                None => "renew it: `gen-certs.sh renew NAME`, and copy the new files here",
            };
            self.add(Outcome::Warn, detail, Some(remedy.to_owned()));
        } else {
            self.pass(detail);
        }
    }

    async fn tcp(&mut self, config: &ClientConfig) -> Result<(), Error> {
        let market = config.market.first();
        let address = (market.host.as_str(), market.port);
        let connecting = timeout(config.timeout, TcpStream::connect(address));
        match connecting.await {
            Ok(Ok(stream)) => {
                let peer = stream.peer_addr().map_or_else(|_| String::new(), |peer| format!(" ({peer})"));
                self.pass(format!("{market}{peer} takes connections"));
                Ok(())
            }
            Ok(Err(error)) => {
                Err(Error::Unreachable { step: Step::Tcp, market: market.clone(), source: Box::new(error) })
            }
            Err(_) => Err(Error::TimedOut { market: config.market.clone(), after: config.timeout }),
        }
    }

    /// Makes a first call. Only that shows whether the market accepted the certificate (TLS 1.3).
    async fn tls_and_clock(&mut self, connection: &Connection) -> Result<(), Error> {
        let request = v1::IssueTokenRequest {};
        let issued = connection.call(request).await;
        match issued {
            Ok(issued) => {
                self.pass("the market and you accept each other's certificates");
                self.clock(required(issued.issue_time, "issue_time")?.seconds);
                Ok(())
            }
            Err(failure) if failure.refusal().is_some() => {
                // An answer from the market means that the connection works.
                self.pass("the market and you accept each other's certificates");
                self.add(Outcome::Skip, "the market tells its time to those that have an account", None);
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    fn clock(&mut self, market_seconds: i64) {
        let apart = time::Duration::seconds(self.clock.now().unix_timestamp() - market_seconds);
        let detail = format!("{} s apart from the market's", apart.whole_seconds().abs());
        if apart.abs() > CLOCK_TOLERANCE {
            let remedy = "set this machine's clock, by NTP for instance (`timedatectl set-ntp true`)";
            self.add(Outcome::Warn, detail, Some(remedy.to_owned()));
        } else {
            self.pass(detail);
        }
    }

    async fn identity(&mut self, connection: &Connection) -> Result<(), Error> {
        let request = v1::WhoAmIRequest {};
        let who = connection.call(request).await?;
        let account = required(who.account, "account")?;
        self.pass(format!("you are {} ({})", account.display_name, account.party_id));
        Ok(())
    }

    /// Checks that events can arrive: the market's call at the configured callback server, or a test event by a
    /// stream. What waits in the mailbox stays as it is, and other programs of the party are left alone.
    async fn events(&mut self, config: &ClientConfig, credentials: &Credentials) -> Result<(), Error> {
        let connection = &Connection::with_credentials(config, credentials)?;
        match config.listen {
            Some(address) => self.callback(connection, credentials, address).await,
            None => self.stream(connection).await,
        }
    }

    /// Has the market call the registered address, where this program listens unless another one of the party does.
    async fn callback(
        &mut self,
        connection: &Connection,
        credentials: &Credentials,
        address: SocketAddr,
    ) -> Result<(), Error> {
        let (listening, others) = match TcpListener::bind(address).await {
            Ok(listener) => (Some(Inbox::open(listener, credentials, Seen::in_memory())?), ""),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => (None, " of another program"),
            Err(error) => return Err(Error::io(format!("listen on {address}"), error)),
        };
        let probed = connection.call(v1::AnnounceInboxRequest { probe_only: true }).await;
        if let Some((inbox, _)) = listening {
            inbox.close().await;
        }
        match probed {
            Ok(answer) => self.pass(format!(
                "the market reached the callback server{others}; {} events wait for it",
                answer.pending_count
            )),
            Err(failure) if failure.reason() == Some(Reason::CallbackUnreachable) => {
                let remedy = "check that the port of --listen is open to the market, and register again with it; \
                              or leave --listen out to get events by a stream";
                let failed = Outcome::Fail(exit::UNAVAILABLE);
                self.add(failed, failure.to_string(), Some(remedy.to_owned()));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Sends a test event and waits for it on a stream that only watches.
    async fn stream(&mut self, connection: &Connection) -> Result<(), Error> {
        let text = format!("doctor {}", connection.request_id());
        let watching = v1::SubscribeRequest { watch_only: true, ..Default::default() };
        let mut stream = match connection.events().subscribe(watching).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Err(connection.explain(status).await),
        };
        // Sent when the stream is open, so that it can't be missed.
        send_test_event(connection, &text).await?;
        let arrived = timeout(EVENT_TIMEOUT, async {
            loop {
                match stream.message().await {
                    Ok(Some(message)) if is_test(&message, &text) => return Ok(true),
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(false),
                    Err(status) => return Err(status),
                }
            }
        });
        match arrived.await {
            Ok(Ok(true)) => self.pass("a test event arrived by a stream"),
            Ok(Err(status)) => return Err(connection.explain(status).await),
            Ok(Ok(false)) | Err(_) => {
                let remedy = "try again; if it happens again, look at the market's log";
                let detail = format!("a test event did not arrive within {} s", EVENT_TIMEOUT.as_secs());
                self.add(Outcome::Fail(exit::UNAVAILABLE), detail, Some(remedy.to_owned()));
            }
        }
        Ok(())
    }
}

async fn send_test_event(connection: &Connection, text: &str) -> Result<(), Error> {
    let request_id = connection.request_id();
    let request = v1::TestEventRequest { request_id, text: text.to_owned(), ..Default::default() };
    connection.call(request).await.map(|_| ())
}

fn is_test(message: &v1::SubscribeResponse, text: &str) -> bool {
    let Some(v1::subscribe_response::Message::Event(event)) = &message.message else { return false };
    matches!(&event.kind, Some(v1::event::Kind::TestNotice(notice)) if notice.text == text)
}

#[cfg(test)]
mod tests {
    use souk_certs::credentials::CredentialFiles;

    use super::*;

    #[tokio::test]
    async fn missing_files_fail_the_first_check_and_skip_the_rest() {
        let market: MarketAddresses = "localhost:1".parse().unwrap();
        let config = ClientConfig::new(market, CredentialFiles::beside("/nowhere/alice.pem"));
        let findings = examine(&config, Audience::Seller).await;
        let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(checks, ["files", "expiry", "tcp", "tls", "clock", "identity", "events"]);
        assert_eq!(findings[0].outcome, Outcome::Fail(exit::IDENTITY));
        assert!(findings[1..].iter().all(|finding| finding.outcome == Outcome::Skip));
    }
}
