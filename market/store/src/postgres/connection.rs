//! One session with the server, and statements sent one after another without waiting in between.

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

/// How long a statement may take; only broken servers take longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a host may take until a session is open there, from its name on. After that the next one is tried, so that
/// a host that takes connections and never answers keeps nobody from the one that took over.
const OPEN_PATIENCE: Duration = Duration::from_secs(4);
/// PostgreSQL's.
const DEFAULT_PORT: u16 = 5432;
/// Notifications that were not looked at yet; they are hints, and further ones are dropped.
const NOTIFICATIONS: usize = 64;

/// A value for a statement.
pub(super) type Param = Box<dyn ToSql + Sync + Send>;

/// Values for a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as $crate::postgres::connection::Param),*]
    };
}
pub(super) use params;

/// A session. Dropped, it is cut, and the server rolls back what was begun.
pub(super) struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
    generation: Generation,
}

/// What a session needs beside the connection: its statements prepared, and which commits it waits for.
pub(super) struct Session {
    /// Prepared at once; others are prepared when they are first used.
    pub(super) prepare: &'static [&'static str],
    /// Whether a commit waits for the disk, and for the synchronous standbys if there are any.
    pub(super) durable: bool,
}

/// Commits of this session are as durable as the server can make them, whatever its settings are.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') <> 'remote_apply'";
/// What this session writes may be forgotten by a power loss.
const FORGETFUL: &str = "SELECT set_config('synchronous_commit', 'off', false)";

impl Connection {
    /// Opens a session; its driver runs on the runtime of this handle.
    pub(super) async fn open(
        address: &Address,
        session: &Session,
        runtime: &Handle,
    ) -> Result<Self, Failure> {
        Self::open_with(address, session, runtime, None).await
    }

    /// As [`Self::open`], and passes notifications on.
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
                opened.client.batch_execute(commits).await?;
                opened.prepare(session.prepare).await?;
                Ok::<_, Failure>(opened)
            };
            match timeout(OPEN_PATIENCE, opening).await {
                Ok(Ok(mut opened)) => {
                    address.was_good(place);
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
        Err(Failure::NoConnection(format!("no session at {}: {}", address.shown, failures.join("; "))))
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
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            tracing::warn!(warning = notice.message(), "PostgreSQL warns");
                            saw_warning.store(true, Ordering::SeqCst);
                        }
                    }
                    Ok(AsyncMessage::Notification(notification)) => {
                        // When nobody keeps up, polling finds out.
                        let told =
                            notifications.as_ref().map(|n| n.try_send(notification.payload().to_owned()));
                        let _ = told;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a session with PostgreSQL has ended");
                        return;
                    }
                }
            }
        };
        let driver = runtime.spawn(drive).abort_handle();
        Ok(Self { client, statements: HashMap::new(), warned, driver, generation })
    }

    /// Prepares statements, all on one way there and back.
    async fn prepare(&mut self, all: &[&'static str]) -> Result<(), Failure> {
        let prepared = futures::future::try_join_all(all.iter().map(|sql| self.client.prepare(sql))).await?;
        self.statements.extend(all.iter().copied().zip(prepared));
        Ok(())
    }

    /// Whether the session has ended, or is of a server that was replaced or fell silent.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.generation.is_past()
    }

    /// The server does not answer, or has ended this session: every other one would be found out by another wait or
    /// another attempt.
    pub(super) fn mistrust(&self) {
        self.generation.advance();
    }

    fn fell_silent(&self, patience: Duration) -> Failure {
        self.mistrust();
        Failure::Silence(patience)
    }

    /// Carries out one statement.
    pub(super) async fn query(&mut self, sql: &'static str, params: Vec<Param>) -> Result<Vec<Row>, Failure> {
        let asked = async {
            if !self.statements.contains_key(sql) {
                let statement = self.client.prepare(sql).await?;
                self.statements.insert(sql, statement);
            }
            Ok(self.client.query(&self.statements[sql], &borrowed(&params)).await?)
        };
        match timeout(PATIENCE, asked).await {
            Ok(answered) => answered,
            Err(_) => Err(self.fell_silent(PATIENCE)),
        }
    }

    /// Carries out statements without values.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.batch_within(PATIENCE, sql).await
    }

    /// The same, for what may take its time.
    pub(super) async fn batch_within(&self, patience: Duration, sql: &str) -> Result<(), Failure> {
        let done = timeout(patience, self.client.batch_execute(sql)).await;
        Ok(done.map_err(|_| self.fell_silent(patience))??)
    }

    /// Statements to be sent together. All must have been prepared when the session was opened.
    pub(super) fn pipeline(&self) -> Pipeline<'_> {
        Pipeline { connection: self, sent: Vec::new() }
    }

    /// Forgets warnings of before.
    pub(super) fn forget_warnings(&self) {
        self.warned.store(false, Ordering::SeqCst);
    }

    /// Whether the server has warned since. A warning comes before the end of the statement that it is about,
    /// and is noted before that end is told: so after a commit this tells whether it was cut short.
    pub(super) fn was_warned(&self) -> bool {
        self.warned.load(Ordering::SeqCst)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Which host this is, for messages.
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

/// Statements that are sent one after another, in one go. The server carries them out in this order, each
/// seeing what the ones before it did.
pub(super) struct Pipeline<'a> {
    connection: &'a Connection,
    sent: Vec<Sent<'a>>,
}

impl Pipeline<'_> {
    /// Adds a prepared statement. Answers the place of its rows among the answers.
    pub(super) fn add(&mut self, sql: &'static str, params: Vec<Param>) -> usize {
        let Connection { client, statements, .. } = self.connection;
        self.sent.push(Box::pin(async move {
            let Some(statement) = statements.get(sql) else {
                return Err(Failure::NoConnection(format!("not prepared: {sql}")));
            };
            Ok(client.query(statement, &borrowed(&params)).await?)
        }));
        self.sent.len() - 1
    }

    /// Adds a command without values, such as COMMIT.
    pub(super) fn add_command(&mut self, sql: &'static str) {
        let client = &self.connection.client;
        self.sent.push(Box::pin(async move {
            client.batch_execute(sql).await?;
            Ok(Vec::new())
        }));
    }

    /// Sends everything and waits for all answers. Statements go out in their order: each is sent when it is
    /// polled for the first time, and they are polled in turn.
    pub(super) async fn run(self, patience: Duration) -> Result<Vec<Result<Vec<Row>, Failure>>, Failure> {
        let Self { connection, mut sent } = self;
        let mut answers: Vec<Option<Result<Vec<Row>, Failure>>> = sent.iter().map(|_| None).collect();
        let all = poll_fn(move |context| {
            let mut is_done = true;
            for (future, answer) in sent.iter_mut().zip(answers.iter_mut()) {
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

    /// As [`Self::run`]; the first failure stands for all.
    pub(super) async fn run_all(self, patience: Duration) -> Result<Vec<Vec<Row>>, Failure> {
        self.run(patience).await?.into_iter().collect()
    }
}
