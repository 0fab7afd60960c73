//! `market demo` with a reader that goes away, such as `head`.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use crate::fixture::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_ends_and_removes_everything_when_nobody_reads_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_market"))
        .args(["demo", "--listen", "127.0.0.1:0"])
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("a market is open at "), "{first}");
    eventually("the demo ends", || std::future::ready(demo.try_wait().unwrap().is_some())).await;
    let mut said = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(demo.wait().unwrap().success() && !said.contains("panicked"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{said}");
}
