//! A terminal for the tests of the two programs: runs the real binary as a child process with its own home
//! directory.

#![expect(clippy::expect_used, reason = "a test whose setup fails has failed")]

use std::{fs, path::Path, process::Stdio, time::Duration};

use souk_certs::credentials::Credentials;
use souk_client::ClientConfig;
use souk_enrolment::{
    code::InvitationId,
    context::{Context, ContextFolder, Description, Generation},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

use crate::authority::LocalAuthority;

/// The deadline for a program to exit or print a line.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The environment in which a program runs.
pub struct Terminal {
    /// The path of the binary.
    pub program: &'static str,
    /// Its home directory, empty at first.
    pub home: TempDir,
    /// The environment variables that the program gets; it inherits no others.
    pub variables: Vec<(&'static str, String)>,
}

/// The result of a program that has exited.
#[derive(Debug)]
pub struct Ran {
    /// The exit code. A program that was killed by a signal has none, and fails the test.
    pub code: i32,
    /// The text on standard output.
    pub out: String,
    /// The text on standard error.
    pub err: String,
}

impl Terminal {
    /// Creates a terminal without any setting.
    pub fn bare(program: &'static str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        Self { program, home, variables: Vec::new() }
    }

    /// Creates a terminal with the certificate of a party and the address of its market.
    pub fn of(program: &'static str, party: &ClientConfig) -> Self {
        let mut terminal = Self::bare(program);
        terminal.set("SOUK_MARKET", party.market.to_string());
        terminal.set("SOUK_CERT", party.credentials.cert.display().to_string());
        terminal
    }

    /// Sets an environment variable for programs started from now on.
    pub fn set(&mut self, variable: &'static str, value: impl Into<String>) {
        self.variables.push((variable, value.into()));
    }

    /// Adds a context with the certificate of a party at its market, as `join` would have made it, and makes it the current
    /// one of its role or not.
    pub fn add_context(&self, name: &str, party: &ClientConfig, is_current: bool) {
        self.write_context(name, party, None, is_current);
    }

    /// Adds the current context of a party whose certificate may have ended, and which the authority renews.
    pub fn add_renewed_context(&self, name: &str, party: &ClientConfig, authority: &LocalAuthority) {
        self.write_context(name, party, Some(authority), true);
    }

    /// Returns the folder of a context.
    pub fn context(&self, name: &str) -> Context {
        Context::at(self.home.path().join(".config/souk/contexts").join(name))
    }

    fn write_context(
        &self,
        name: &str,
        party: &ClientConfig,
        authority: Option<&LocalAuthority>,
        is_current: bool,
    ) {
        let folder = ContextFolder::at(self.home.path().join(".config/souk"));
        let (files, domain) = (&party.credentials, &party.trust_domain);
        let text = |path: &Path| fs::read_to_string(path).expect("a file of the party");
        let credentials = Credentials::load_for_renewal(files, domain, party.clock.now());
        let credentials = credentials.expect("credentials");
        let identity = credentials.identity().identity();
        let mut invitation = [0; 8];
        invitation.copy_from_slice(&credentials.identity().thumbprint()[..8]);
        let description = Description {
            identity,
            name: name.to_owned(),
            market: party.market.iter().cloned().collect(),
            authority: authority.iter().map(|authority| authority.address().into()).collect(),
            nearby: Vec::new(),
            trust_domain: domain.clone(),
            invitation: InvitationId(invitation),
            ephemeral: false,
        };
        let bundle = authority.map(|authority| authority.pki().newest_bundle().expect("readable"));
        let generation = Generation {
            certificate: text(&files.cert),
            key: text(&files.key_path()),
            roots: text(&files.ca_path()),
            lists: text(&files.crl_path()),
            trust: bundle.flatten().map(|bundle| bundle.to_bytes()).unwrap_or_default(),
        };
        let name = name.parse().expect("a name");
        let unique = party.random.uuid_v4();
        let locked = folder.begin(&name, &description, unique).expect("a context");
        locked.install(&generation).expect("installed");
        if is_current {
            folder.make_current(identity.role(), Some(&name), unique).expect("current");
        }
    }

    /// Returns a command that runs the program here, with empty standard input and piped output.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs the program until it exits.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments).spawn().expect("the program")).await
    }

    /// Runs the program with these lines on standard input.
    pub async fn type_in(&self, arguments: &[&str], lines: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the program");
        let mut input = child.stdin.take().expect("its input");
        input.write_all(lines.as_bytes()).await.expect("typed");
        drop(input);
        finish(child).await
    }

    /// Starts the program without waiting for it.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).stderr(Stdio::inherit()).spawn().expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Running { child, lines, errors: None }
    }

    /// Starts the program, whose standard error is then read by [`Running::error_line`].
    pub fn start_with_errors(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).spawn().expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let errors = BufReader::new(child.stderr.take().expect("its errors")).lines();
        Running { child, lines, errors: Some(errors) }
    }
}

async fn finish(child: Child) -> Ran {
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.expect("it ends in time").expect("it ran");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: ended.status.code().expect("an exit code"), out: text(ended.stdout), err: text(ended.stderr) }
}

/// A program that is still running.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Option<Lines<BufReader<ChildStderr>>>,
}

impl Running {
    /// Returns the next line of its output.
    pub async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("a line in time").expect("readable").expect("a line")
    }

    /// Returns the next line of its standard error.
    pub async fn error_line(&mut self) -> String {
        let errors = self.errors.as_mut().expect("started with errors");
        let line = timeout(PATIENCE, errors.next_line()).await;
        line.expect("a line in time").expect("readable").expect("a line")
    }

    /// Waits until it exits by itself. Returns the exit code.
    pub async fn end(mut self) -> i32 {
        let ended = timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it ran");
        ended.code().expect("an exit code")
    }

    /// Interrupts it as Ctrl-C does. Returns the exit code.
    pub async fn interrupt(self) -> i32 {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().await.expect("kill");
        assert!(sent.success());
        self.end().await
    }
}

impl Ran {
    /// Returns the output, parsed as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the rows of the list that the program printed as JSON.
    pub fn rows(&self) -> Vec<serde_json::Value> {
        let list = self.json();
        assert!(list["next_page_token"].is_string(), "{self:?}");
        let rows = list.as_object().and_then(|list| list.values().find_map(|rows| rows.as_array()));
        rows.unwrap_or_else(|| panic!("no list: {self:?}")).clone()
    }

    /// Asserts that the program exited with this code, and printed the error and a hint on standard error.
    #[track_caller]
    pub fn assert_fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        assert!(self.err.contains("error"), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing: {self:?}");
        }
    }
}
