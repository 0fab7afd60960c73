//! Checks everything between a certificate file and a delivered event, step by step, each with a remedy. A
//! step that depends on a failed one is skipped.

use std::{collections::VecDeque, time::Duration};

use souk_certs::{clock::Clock, connector::Dial, credentials::Credentials};
use souk_client::{
    ClientConfig, Connection, Error, Inbox, MarketAddresses, Notice, Seen,
    error::{Step, required},
    follow::follow,
};
use souk_proto::v1;
use time::OffsetDateTime;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{exit, hint};

/// The remaining validity of a certificate below which a warning is issued.
pub const EXPIRY_WARNING: time::Duration = time::Duration::days(14);
/// The maximum difference between the clocks of client and market.
pub const CLOCK_TOLERANCE: time::Duration = time::Duration::seconds(30);
/// How long to wait for a test event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another program of the same party has to take the test event. After that, the doctor listens
/// itself, which ends that program's stream.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(3);
/// How often to check whether it has.
const TAKEN_LOOK: Duration = Duration::from_millis(100);

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

/// Checks a client's settings, including each address of the market.
pub async fn examine(config: &ClientConfig) -> Vec<Finding> {
    let mut findings = Findings::new(config);
    findings.run(config).await;
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
}

impl Findings {
    fn new(config: &ClientConfig) -> Self {
        let (market, clock) = (&config.market, config.clock);
        let general = |check| (check, None);
        let of_addresses = market.iter().flat_map(|address| {
            CHECKS_OF_ADDRESS.into_iter().map(move |check| (check, Some(address.clone())))
        });
        let left =
            ["files", "expiry"].map(general).into_iter().chain(of_addresses).chain([general("events")]);
        Self { found: Vec::new(), left: left.collect(), are_several: market.only().is_none(), clock }
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
        let remedy = hint(failure).map(str::to_owned);
        let at = self.left.front().and_then(|(_, address)| address.clone());
        self.add(Outcome::Fail(exit::of_error(failure)), failure.to_string(), remedy);
        while self.left.front().is_some_and(|(_, address)| at.is_none() || *address == at) {
            self.add(Outcome::Skip, "not checked: the step before failed", None);
        }
    }

    async fn run(&mut self, config: &ClientConfig) {
        let credentials = match Credentials::load(&config.credentials, &config.trust_domain, self.clock.now())
        {
            Ok(credentials) => credentials,
            Err(error) => return self.fail(&error.into()),
        };
        self.pass(format!(
            "{} fits its key and was signed by the authority",
            config.credentials.cert.display()
        ));
        self.expiry(credentials.identity().not_after());
        let mut good = Vec::new();
        for address in config.market.iter() {
            let config = ClientConfig { market: address.clone().into(), ..config.clone() };
            match self.address(&config, &credentials).await {
                Ok(()) => good.push(address.to_string()),
                Err(failure) => self.fail(&failure),
            }
        }
        let Ok(market) = MarketAddresses::parse(good) else {
            return self.add(Outcome::Skip, "not checked: the step before failed", None);
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
            let remedy = "renew it: `gen-certs.sh renew NAME`, and copy the new files here";
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
                self.add(Outcome::Skip, "the market tells its time only to registered parties", None);
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

    /// Requests a test event, and waits for it at the configured callback server or stream.
    async fn events(&mut self, config: &ClientConfig, credentials: &Credentials) -> Result<(), Error> {
        let connection = &Connection::with_credentials(config, credentials)?;
        let text = format!("doctor {}", connection.request_id());
        match config.listen {
            Some(address) => {
                let listener = Inbox::bind(address).await?;
                let (inbox, notices) = Inbox::open(listener, credentials, Seen::in_memory())?;
                let sent = send_test_event(connection, &text).await;
                if sent.is_ok() {
                    self.test_event(&text, notices).await;
                }
                inbox.close().await;
                sent
            }
            None => {
                let before = mailbox(connection).await?;
                send_test_event(connection, &text).await?;
                if is_taken_elsewhere(connection, &before).await {
                    self.pass("a test event was taken by a program of yours that listens");
                    return Ok(());
                }
                let (follower, notices) = follow(connection.clone(), Seen::in_memory());
                self.test_event(&text, notices).await;
                follower.close().await;
                Ok(())
            }
        }
    }

    /// Waits for the test event.
    async fn test_event(&mut self, text: &str, mut notices: tokio::sync::mpsc::Receiver<Notice>) {
        // Other events are not taken, so they are delivered again.
        let mut others = Vec::new();
        let arrived = timeout(EVENT_TIMEOUT, async {
            while let Some(notice) = notices.recv().await {
                match notice {
                    Notice::Event(delivery) if is_test(delivery.event(), text) => {
                        delivery.take();
                        return true;
                    }
                    Notice::Event(delivery) => others.push(delivery),
                    _ => {}
                }
            }
            false
        });
        if arrived.await.unwrap_or(false) {
            self.pass("a test event arrived");
        } else {
            let remedy = "check that the port of --listen is open to the market, and register again with it; \
                          or leave --listen out to get events by a stream";
            let detail = format!("a test event did not arrive within {} s", EVENT_TIMEOUT.as_secs());
            self.add(Outcome::Fail(exit::UNAVAILABLE), detail, Some(remedy.to_owned()));
        }
    }
}

async fn send_test_event(connection: &Connection, text: &str) -> Result<(), Error> {
    let request = v1::TestEventRequest { text: text.to_owned(), ..Default::default() };
    connection.call(request).await.map(|_| ())
}

async fn mailbox(connection: &Connection) -> Result<v1::MailboxStatusResponse, Error> {
    connection.call(v1::MailboxStatusRequest::default()).await
}

/// Returns whether another program acknowledges all pending events, including the test event. `before` is the
/// state of the mailbox before the event was sent.
async fn is_taken_elsewhere(connection: &Connection, before: &v1::MailboxStatusResponse) -> bool {
    let taken = async {
        let sent = mailbox(connection).await?;
        let mut acknowledged = sent.acknowledged_sequence;
        while sent.last_sequence <= before.last_sequence || acknowledged < sent.last_sequence {
            sleep(TAKEN_LOOK).await;
            acknowledged = mailbox(connection).await?.acknowledged_sequence;
        }
        Ok::<_, Error>(())
    };
    matches!(timeout(TAKEN_TIMEOUT, taken).await, Ok(Ok(())))
}

fn is_test(event: &v1::Event, text: &str) -> bool {
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
        let findings = examine(&config).await;
        let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(checks, ["files", "expiry", "tcp", "tls", "clock", "identity", "events"]);
        assert_eq!(findings[0].outcome, Outcome::Fail(exit::IDENTITY));
        assert!(findings[1..].iter().all(|finding| finding.outcome == Outcome::Skip));
    }
}
