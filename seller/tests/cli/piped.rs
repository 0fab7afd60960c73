//! Runs the program between two others in a pipe, which may die.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use souk_testkit::terminal::{PATIENCE, Terminal};

/// A program with piped standard input, output and error.
pub(crate) struct Piped {
    child: Child,
    /// `None` after it was closed.
    input: Option<ChildStdin>,
    /// `None` after its reader has died.
    output: Option<Lines<BufReader<ChildStdout>>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Piped {
    pub(crate) fn start(terminal: &Terminal, arguments: &[&str]) -> Self {
        let mut child = terminal.command(arguments).stdin(Stdio::piped()).spawn().expect("the program");
        let input = child.stdin.take();
        let output = Some(BufReader::new(child.stdout.take().expect("its output")).lines());
        let stderr = BufReader::new(child.stderr.take().expect("its errors")).lines();
        Self { child, input, output, stderr }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.input.as_mut().expect("an input").write_all(text.as_bytes()).await.expect("it reads");
    }

    /// Closes its standard input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Returns the next line of its output.
    pub(crate) async fn line(&mut self) -> String {
        next(self.output.as_mut().expect("a reader")).await.expect("a line")
    }

    /// Waits until it prints these words on standard error.
    pub(crate) async fn says(&mut self, words: &str) {
        while !next(&mut self.stderr).await.expect("it says so").contains(words) {}
    }

    /// Simulates the death of the program that reads the output.
    pub(crate) fn lose_reader(&mut self) {
        self.output = None;
    }

    /// Interrupts it as Ctrl-C does.
    pub(crate) async fn interrupt(&self) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.expect("kill").success());
    }

    /// Waits until it exits. Returns its exit code and the rest of standard error.
    pub(crate) async fn end(mut self) -> (i32, String) {
        let mut stderr = String::new();
        while let Some(line) = next(&mut self.stderr).await {
            stderr = stderr + &line + "\n";
        }
        let ended = timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it ran");
        (ended.code().expect("an exit code"), stderr)
    }
}

async fn next<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Option<String> {
    timeout(PATIENCE, lines.next_line()).await.expect("a line in time").expect("readable")
}
