//! A session with the server, and pipelines: statements that are sent without waiting for the replies in
//! between.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Config, NoTls, Row, Statement, config::Host, error::Severity, tls::MakeTlsConnect,
    types::ToSql,
};

use super::{
    address::{Address, Generation},
    error::Failure,
};

/// The time limit of a statement. Only a broken server, or a standby that hangs, takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// The time limit for opening a session on a host, including name resolution. After it the next host is
/// tried, so that a host which accepts connections and never answers does not keep clients from the new
/// primary.
const OPEN_PATIENCE: Duration = Duration::from_secs(4);
/// PostgreSQL's default port, for messages.
const DEFAULT_PORT: u16 = 5432;
/// The queue for notifications. They are only hints, so more are dropped.
const NOTIFICATIONS: usize = 64;

/// A value to bind to a statement.
pub(super) type Param = Box<dyn ToSql + Sync + Send>;

/// Boxes the values of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as $crate::postgres::connection::Param),*]
    };
}
pub(super) use params;

/// A session. Dropping it closes the connection, and the server rolls back an open transaction.
pub(super) struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
    generation: Generation,
}

/// The set-up of a session: the statements to prepare, and how durable its commits are.
pub(super) struct Session {
    /// Statements to prepare when the session opens. Others are prepared at their first use.
    pub(super) prepare: &'static [&'static str],
    /// Whether commits wait for the disk, and for the synchronous standbys if there are any.
    pub(super) durable: bool,
    /// Whether the server ends statements that take longer than 10 s or whose session has been dropped. Only for
    /// sessions that read.
    pub(super) gives_up: bool,
}

/// Makes commits durable regardless of the server's default. The stricter `remote_apply` is kept.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') <> 'remote_apply'";
/// Lets commits return before they are on disk; a power loss may forget them.
const FORGETFUL: &str = "SELECT set_config('synchronous_commit', 'off', false)";

/// Ends queries that take too long. Less than [`PATIENCE`], so that the session survives it.
const END_LATE: &str = "SET statement_timeout = '10s'";
/// Ends queries whose caller has gone away. Their session is dropped, and the server checks for that while it works, which
/// it does not do by default.
const END_FORSAKEN: &str = "SET client_connection_check_interval = '100ms'";

impl Connection {
    /// Opens a session, whose I/O is driven by the given runtime.
    pub(super) async fn open(
        address: &Address,
        session: &Session,
        runtime: &Handle,
    ) -> Result<Self, Failure> {
        Self::open_with(address, session, runtime, None).await
    }

    /// Opens a session like [`Self::open`] that also passes on notifications.
    pub(super) async fn open_listening(
        address: &Address,
        session: &Session,
        runtime: &Handle,
    ) -> Result<(Self, mpsc::Receiver<String>), Failure> {
        let (sender, notifications) = mpsc::channel(NOTIFICATIONS);
        Ok((Self::open_with(address, session, runtime, Some(sender)).await?, notifications))
    }

    async fn open_with(
        address: &Address,
        session: &Session,
        runtime: &Handle,
        notifications: Option<mpsc::Sender<String>>,
    ) -> Result<Self, Failure> {
        let mut failures = Vec::new();
        for (place, host) in address.hosts() {
            let opening = async {
                let notifications = notifications.clone();
                let generation = address.generation();
                let mut opened = match &address.tls {
                    Some(tls) => Self::connect(host, tls.clone(), runtime, notifications, generation).await?,
                    None => Self::connect(host, NoTls, runtime, notifications, generation).await?,
                };
                let commits = if session.durable { DURABLE } else { FORGETFUL };
                // Set by the session itself: the default of a server or a role must not decide whether a
                // purchase is durable.
                opened.client.batch_execute(commits).await?;
                if session.gives_up {
                    opened.client.batch_execute(END_LATE).await?;
                    // Some systems don't support it. There, only the time limit ends a query.
                    if let Err(error) = opened.client.batch_execute(END_FORSAKEN).await {
                        tracing::debug!(%error, "PostgreSQL can't detect callers that have gone away");
                    }
                }
                opened.prepare(session.prepare).await?;
                Ok::<_, Failure>(opened)
            };
            // On a timeout the half-open session is dropped with its future, which closes the socket.
            match timeout(OPEN_PATIENCE, opening).await {
                Ok(Ok(mut opened)) => {
                    address.was_good(place);
                    // `was_good` begins a new generation if the host has changed, and this session belongs
                    // to that.
                    opened.generation = address.generation();
                    return Ok(opened);
                }
                Ok(Err(failure)) => failures.push(format!("{}: {failure}", shown(host))),
                Err(_) => failures.push(format!(
                    "{}: no answer within {} s; see whether PostgreSQL runs there",
                    shown(host),
                    OPEN_PATIENCE.as_secs()
                )),
            }
        }
        Err(Failure::NoConnection(format!(
            "no session at {}: {}; check the address, and that the server runs there and lets this user in",
            address.shown,
            failures.join("; ")
        )))
    }

    async fn connect<T>(
        host: &Config,
        tls: T,
        runtime: &Handle,
        notifications: Option<mpsc::Sender<String>>,
        generation: Generation,
    ) -> Result<Self, Failure>
    where
        T: MakeTlsConnect<tokio_postgres::Socket>,
        T::Stream: Send + 'static,
    {
        let (client, mut connection) = host.connect(tls).await?;
        let warned = Arc::new(AtomicBool::new(false));
        let saw_warning = Arc::clone(&warned);
        let drive = async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) => {
                        // The parsed severity: the text is translated into the language of the server.
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            tracing::warn!(warning = notice.message(), "PostgreSQL sent a warning");
                            saw_warning.store(true, Ordering::SeqCst);
                        }
                    }
                    Ok(AsyncMessage::Notification(notification)) => {
                        // If the receiver can't keep up, the hint is dropped, and polling makes up for it.
                        if let Some(notifications) = &notifications {
                            let _ = notifications.try_send(notification.payload().to_owned());
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a session with PostgreSQL has ended");
                        return;
                    }
                }
            }
        };
        // Aborted when the session is dropped; otherwise it would keep the connection open until the server
        // closes it.
        let driver = runtime.spawn(drive).abort_handle();
        Ok(Self { client, statements: HashMap::new(), warned, driver, generation })
    }

    /// Prepares all statements in one round trip.
    async fn prepare(&mut self, all: &[&'static str]) -> Result<(), Failure> {
        let prepared = futures::future::try_join_all(all.iter().map(|sql| self.client.prepare(sql))).await?;
        self.statements.extend(all.iter().copied().zip(prepared));
        Ok(())
    }

    /// Returns whether the session has ended, or belongs to a server that was replaced or has gone silent.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.generation.is_past()
    }

    /// Invalidates all sessions of this server, because it does not respond or has ended this one. Otherwise
    /// each of the others would cost another timeout or another failed attempt.
    pub(super) fn mistrust(&self) {
        self.generation.advance();
    }

    fn fell_silent(&self, patience: Duration) -> Failure {
        self.mistrust();
        Failure::Silence(patience)
    }

    /// Executes one statement, preparing it if this is its first use.
    pub(super) async fn query(&mut self, sql: &'static str, params: Vec<Param>) -> Result<Vec<Row>, Failure> {
        let asked = async {
            if !self.statements.contains_key(sql) {
                let statement = self.client.prepare(sql).await?;
                self.statements.insert(sql, statement);
            }
            Ok(self.client.query(&self.statements[sql], &borrowed(&params)).await?)
        };
        // Not `statement_timeout`: it would also cancel a commit that waits for its standby.
        match timeout(PATIENCE, asked).await {
            Ok(answered) => answered,
            Err(_) => Err(self.fell_silent(PATIENCE)),
        }
    }

    /// Executes statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.batch_within(PATIENCE, sql).await
    }

    /// Does the same with another time limit, for migrations.
    pub(super) async fn batch_within(&self, patience: Duration, sql: &str) -> Result<(), Failure> {
        let done = timeout(patience, self.client.batch_execute(sql)).await;
        Ok(done.map_err(|_| self.fell_silent(patience))??)
    }

    /// Executes a statement without parameters that may read whole tables, and returns its only row.
    pub(super) async fn scan(&self, patience: Duration, sql: &str) -> Result<Row, Failure> {
        let scanned = timeout(patience, self.client.query_one(sql, &[])).await;
        Ok(scanned.map_err(|_| self.fell_silent(patience))??)
    }

    /// Creates an empty pipeline. Only statements that were prepared when the session opened can be added.
    pub(super) fn pipeline(&self) -> Pipeline<'_> {
        Pipeline { connection: self, sent: Vec::new() }
    }

    /// Resets the record of warnings.
    pub(super) fn forget_warnings(&self) {
        self.warned.store(false, Ordering::SeqCst);
    }

    /// Returns whether the server has sent a warning since. A warning arrives before the reply to its
    /// statement, and the driver records it before it hands out that reply. So after a commit, this tells
    /// whether its wait was cancelled.
    pub(super) fn was_warned(&self) -> bool {
        self.warned.load(Ordering::SeqCst)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Returns the host and port, for messages.
fn shown(host: &Config) -> String {
    let port = host.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
    match host.get_hosts().first() {
        Some(Host::Tcp(name)) => format!("{name}:{port}"),
        Some(Host::Unix(folder)) => format!("{}:{port}", folder.display()),
        None => "no host".to_owned(),
    }
}

fn borrowed(params: &[Param]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Failure>> + Send + 'a>>;

/// Statements that are sent together. The server executes them in order, and each sees the effects of those
/// before it.
pub(super) struct Pipeline<'a> {
    connection: &'a Connection,
    sent: Vec<Sent<'a>>,
}

impl Pipeline<'_> {
    /// Adds a prepared statement, and returns the index of its reply.
    pub(super) fn add(&mut self, sql: &'static str, params: Vec<Param>) -> usize {
        let Connection { client, statements, .. } = self.connection;
        self.sent.push(Box::pin(async move {
            // Preparing here would wait for a reply in the middle of the pipeline and break the order of what
            // is sent.
            let Some(statement) = statements.get(sql) else {
                return Err(Failure::NoConnection(format!("not prepared: {sql}")));
            };
            Ok(client.query(statement, &borrowed(&params)).await?)
        }));
        self.sent.len() - 1
    }

    /// Adds a command without parameters, such as COMMIT.
    pub(super) fn add_command(&mut self, sql: &'static str) {
        let client = &self.connection.client;
        self.sent.push(Box::pin(async move {
            // The simple query protocol: it needs no prepared statement, and one round trip like the others.
            client.batch_execute(sql).await?;
            Ok(Vec::new())
        }));
    }

    /// Sends everything and waits for all replies.
    ///
    /// The order is that of adding: `tokio-postgres` queues a request when its future is first polled, and
    /// the futures are polled in order. `join_all` does not promise an order.
    pub(super) async fn run(self, patience: Duration) -> Result<Vec<Result<Vec<Row>, Failure>>, Failure> {
        let Self { connection, mut sent } = self;
        let mut answers: Vec<Option<Result<Vec<Row>, Failure>>> = sent.iter().map(|_| None).collect();
        let all = poll_fn(move |context| {
            let mut is_done = true;
            for (future, answer) in sent.iter_mut().zip(answers.iter_mut()) {
                // A future that has completed must not be polled again.
                if answer.is_none() {
                    match future.as_mut().poll(context) {
                        Poll::Ready(done) => *answer = Some(done),
                        Poll::Pending => is_done = false,
                    }
                }
            }
            if is_done { Poll::Ready(answers.drain(..).flatten().collect()) } else { Poll::Pending }
        });
        timeout(patience, all).await.map_err(|_| connection.fell_silent(patience))
    }

    /// Does the same as [`Self::run`], and returns the first failure if there is one.
    pub(super) async fn run_all(self, patience: Duration) -> Result<Vec<Vec<Row>>, Failure> {
        self.run(patience).await?.into_iter().collect()
    }
}
