//! The context of a command: the settings, a connection that is opened on first use, and a printer.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use souk_certs::{clock::Clock, credentials::Credentials, identity::PeerCertificate, random::Random};
use souk_client::{ClientConfig, Connection, MarketAddresses, Seen};
use souk_proto::Unary;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{Look, Output, Printer, files, flags::Resolved, formatting::FormatFlags, interrupt::Interrupt};
use crate::doctor::EXPIRY_WARNING;
use crate::{
    Audience, Failure,
    advice::advised,
    hints::remedy,
    selection::{Selected, Selection},
};

/// The settings of a run, and what is derived from them.
pub struct CliSession {
    program: &'static str,
    resolved: Resolved,
    printer: Printer,
    connection: Arc<OnceCell<Connection>>,
    /// Whether some part of the program takes up renewed certificates.
    is_renewing: Arc<AtomicBool>,
    /// Whether the command ends by itself at Ctrl-C.
    ends_itself: Arc<AtomicBool>,
    /// Whether the command has sent something that changes the market's state.
    may_have_changed: AtomicBool,
    /// The number of calls that were made.
    calls: AtomicU32,
    /// Whether the user chose the command from the menu, and types no flags.
    is_of_menu: bool,
}

impl CliSession {
    /// Creates the session of one run of a program.
    pub fn new(program: &'static str, resolved: Resolved) -> Self {
        let look = Look {
            output: resolved.output,
            color: resolved.color,
            time: resolved.format.time,
            program,
            clock: clock(&resolved),
            fields: resolved.format.fields.clone(),
            query: resolved.format.query.clone(),
        };
        Self {
            program,
            resolved,
            printer: Printer::new(look),
            connection: Arc::default(),
            is_renewing: Arc::default(),
            ends_itself: Arc::default(),
            may_have_changed: AtomicBool::default(),
            calls: AtomicU32::default(),
            is_of_menu: false,
        }
    }

    /// Returns a session with the same connection, for a command with another currency or form of its results.
    ///
    /// # Errors
    /// The filter or the template can't be understood.
    pub fn with(
        &self,
        output: Option<Output>,
        currency: Option<String>,
        format: &FormatFlags,
    ) -> Result<Self, Failure> {
        let mut resolved = self.resolved.clone();
        resolved.output = output.unwrap_or(resolved.output);
        resolved.currency = currency.or(resolved.currency);
        resolved.format = format.apply(&resolved.format)?;
        let (connection, is_renewing) = (Arc::clone(&self.connection), Arc::clone(&self.is_renewing));
        Ok(Self { connection, is_renewing, ..Self::new(self.program, resolved) })
    }

    /// Returns the session for a command that was chosen from the menu, or one that was typed.
    pub(super) fn of_menu(self, is_of_menu: bool) -> Self {
        Self { is_of_menu, ..self }
    }

    /// Returns whether the user chose the command from the menu: they are asked, where others pass a flag.
    pub(super) fn is_of_menu(&self) -> bool {
        self.is_of_menu
    }

    /// Returns the name of the binary, [`Program::NAME`](crate::Program::NAME).
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Returns the people that the program is for.
    pub fn audience(&self) -> Audience {
        Audience::of(self.program)
    }

    /// Returns the printer of results.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Returns the format in which the [`printer`](Self::printer) writes results.
    pub fn output(&self) -> Output {
        self.resolved.output
    }

    /// Returns the currency of amounts without one.
    pub fn currency(&self) -> Option<&str> {
        self.resolved.currency.as_deref()
    }

    /// Returns the clock of the connection's settings; without any, the system's.
    pub fn clock(&self) -> Clock {
        clock(&self.resolved)
    }

    /// Returns the settings of the connection.
    ///
    /// # Errors
    /// No certificate was named, or the context can't be used.
    pub fn config(&self) -> Result<&ClientConfig, Failure> {
        self.resolved.client.as_ref().ok_or_else(|| self.resolved.selection.problem())
    }

    /// Returns a failure with what helps in the context in use, if there is one.
    #[must_use]
    pub fn advised(&self, failure: Failure) -> Failure {
        match self.resolved.selection.in_use() {
            Some(selected) => advised(failure, selected, self.audience()),
            None => failure,
        }
    }

    /// Returns a session of the party of a context, with a connection of its own.
    pub(crate) fn of_context(&self, selected: Selected, market: MarketAddresses) -> Self {
        let mut resolved = self.resolved.clone();
        let files = selected.context.credential_files();
        let domain = selected.description.trust_domain.clone();
        resolved.client = Some(resolved.connecting.to(market.clone(), files, domain));
        resolved.market = market;
        resolved.selection = Selection::only(selected);
        Self::new(self.program, resolved)
    }

    /// Returns the values that all sources have given.
    pub(crate) fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Returns a new id, for the names of temporary files.
    pub(crate) fn unique(&self) -> Uuid {
        self.random().uuid_v4()
    }

    /// Returns the source of random values of the connection's settings; without any, the system's.
    pub(crate) fn random(&self) -> Random {
        self.resolved.client.as_ref().map_or(Random::SYSTEM, |client| client.random)
    }

    /// Returns whether some part of the program takes up renewed certificates.
    pub(crate) fn is_renewing(&self) -> &AtomicBool {
        &self.is_renewing
    }

    /// Returns the connection, if it was needed so far.
    pub(crate) fn opened(&self) -> Option<&Connection> {
        self.connection.get()
    }

    /// Starts recording Ctrl-C and SIGTERM, for a command that ends by itself when one comes, such as one that first
    /// has to complete something. The shell drops other commands at once.
    ///
    /// # Errors
    /// Signals can't be watched.
    pub fn interrupt(&self) -> Result<Interrupt, Failure> {
        let interrupt = Interrupt::watch()?;
        self.ends_itself.store(true, Ordering::SeqCst);
        Ok(interrupt)
    }

    /// Returns whether the command that runs with this session ends by itself at Ctrl-C.
    pub(super) fn ends_itself(&self) -> bool {
        self.ends_itself.load(Ordering::SeqCst)
    }

    /// Returns the connection, which is opened on first use.
    ///
    /// # Errors
    /// There is no certificate, or it can't be used.
    pub async fn connection(&self) -> Result<&Connection, Failure> {
        let config = self.config()?;
        self.connection
            .get_or_try_init(async || {
                let credentials = self.load(config).await?;
                // Without SOUK_LOG nobody sees the log, where the library has written them.
                for warning in credentials.warnings() {
                    self.printer.say(&format!("warning: {warning}"));
                }
                let connection = Connection::with_credentials(config, &credentials)?;
                let in_use = self.resolved.selection.in_use();
                in_use.iter().for_each(|selected| connection.follow_context(selected.context.clone()));
                let (printer, audience) = (self.printer.clone(), self.audience());
                connection.on_distrust(move |failure| {
                    let hint = remedy(failure, audience).unwrap_or_default();
                    printer
                        .say(&format!("warning: {failure}; {hint}; until then the other addresses are used"));
                });
                // One of a context is renewed by itself; if that fails, the end of the command says so.
                if in_use.is_none() {
                    self.warn_of_expiry(connection.certificate());
                }
                Ok(connection)
            })
            .await
    }

    fn warn_of_expiry(&self, certificate: &PeerCertificate) {
        let left = certificate.not_after() - self.clock().now();
        if left < EXPIRY_WARNING {
            let (until, days) = (certificate.not_after().date(), left.whole_days());
            self.printer.say(&format!(
                "warning: your certificate is valid until {until} only, {days} days; renew it: `gen-certs.sh renew NAME`"
            ));
        }
    }

    /// Records that the command is about to change the market's state by a stream, or over the connection itself. If it is
    /// then interrupted, the user is warned. [`call`](Self::call) does so by itself.
    pub fn begin_change(&self) {
        self.may_have_changed.store(true, Ordering::SeqCst);
    }

    /// Returns whether the command that runs with this session may have changed the market's state.
    pub(super) fn may_have_changed(&self) -> bool {
        self.may_have_changed.load(Ordering::SeqCst)
    }

    /// Returns the number of calls that were made with this session by [`call`](Self::call).
    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes a call, with retries (see [`Connection::call`]).
    ///
    /// # Errors
    /// Returns the error of the last attempt.
    pub async fn call<R: Unary>(&self, mut request: R) -> Result<R::Response, Failure> {
        if request.request_id_mut().is_some() {
            self.begin_change();
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(self.connection().await?.call(request).await?)
    }

    /// Loads the credentials again, for a callback server.
    ///
    /// # Errors
    /// The files can't be used.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        let config = self.config()?;
        Ok(Credentials::load(&config.credentials, &config.trust_domain, config.clock.now())?)
    }

    /// Returns the name under which a stream follows the mailbox.
    pub fn consumer(&self) -> &str {
        &self.resolved.consumer
    }

    /// Opens the record of the events that the user has seen as this consumer, which persists across runs if it can be
    /// written. An empty name stands for the callback server.
    ///
    /// # Errors
    /// There is no connection, or the record can't be read.
    pub async fn seen(&self, consumer: &str) -> Result<Seen, Failure> {
        let Some(folder) = files::state_folder() else { return Ok(Seen::in_memory()) };
        let connection = self.connection().await?;
        if let Err(error) = files::make_writable(&folder) {
            self.printer.say(&format!(
                "warning: can't write to {} ({error}): which events you have seen is known only until this program \
                 ends; set XDG_STATE_HOME to a folder that it can write to",
                folder.display()
            ));
            return Ok(Seen::in_memory());
        }
        Seen::open_as(&folder.join("seen"), connection.market(), connection.party(), consumer)
            .map_err(|error| Failure::io(format!("use the folder {}", folder.display()), error))
    }

    /// Returns the folder for files that the user may need again, such as edits that were not applied; `None` without a
    /// home directory.
    pub fn kept_folder(&self) -> Option<PathBuf> {
        files::state_folder().map(|folder| folder.join("kept"))
    }

    /// Returns the path of the shell's history, if there is one.
    pub(super) fn history_file(&self) -> Option<PathBuf> {
        files::state_folder().map(|folder| folder.join(format!("{}-history.txt", self.program)))
    }
}

fn clock(resolved: &Resolved) -> Clock {
    resolved.client.as_ref().map_or(Clock::SYSTEM, |client| client.clock)
}
