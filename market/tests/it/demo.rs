//! `market demo`: its screen, how to join it, and a reader that goes away, such as `head`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    num::NonZero,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use souk_testkit::{screen::Screen, terminal::Terminal};

use crate::fixture::eventually;

fn join(role: &str, folder: &std::path::Path) -> Output {
    let mut market = Command::new(env!("CARGO_BIN_EXE_market"));
    market
        .args(["demo", "--env", role])
        .env("XDG_RUNTIME_DIR", folder)
        .env("TMPDIR", folder)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_is_joined_by_its_own_note_and_not_by_what_others_leave() {
    let folder = tempfile::tempdir().unwrap();
    // What another user of this machine may leave in a folder that all share, before there is a demo.
    let trap = folder.path().join("souk-demo");
    fs::create_dir(&trap).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(trap.join(std::process::id().to_string()), r#"{"market":"x","seller":"x","buyer":"$(x)"}"#)
        .unwrap();
    let refused = join("buyer", folder.path());
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not yours alone"), "{refused:?}");
    fs::remove_dir_all(&trap).unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_market"))
        .args(["demo", "--listen", "127.0.0.1:0"])
        .env("XDG_RUNTIME_DIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("join from another terminal")));
    let joined = join("buyer", folder.path());
    let said = String::from_utf8(joined.stdout).unwrap();
    let is_quoted =
        |line: &str, name: &str| line.starts_with(&format!("export {name}='")) && line.ends_with('\'');
    let lines_said: Vec<_> = said.lines().collect();
    assert!(is_quoted(lines_said[0], "SOUK_MARKET") && is_quoted(lines_said[1], "SOUK_CERT"), "{said}");
    assert_eq!(lines_said.len(), 2);
    drop(lines);
    eventually("the demo ends", || std::future::ready(demo.try_wait().unwrap().is_some())).await;
    assert!(!join("buyer", folder.path()).status.success());
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_has_a_screen_that_stays_readable_and_q_ends_it() {
    for columns in [60, 80].map(|columns| NonZero::new(columns).unwrap()) {
        let mut terminal = Terminal::bare(env!("CARGO_BIN_EXE_market"));
        let folder = terminal.home.path().display().to_string();
        terminal.set("XDG_RUNTIME_DIR", folder.clone());
        terminal.set("TMPDIR", folder.clone());
        // As if it were installed.
        let own = std::path::Path::new(env!("CARGO_BIN_EXE_market")).parent().unwrap();
        terminal.set("PATH", own.display().to_string());
        let mut screen = Screen::start_as_wide_as(columns, &terminal, &["demo"]);
        let is_whole = |text: &str| {
            let header: Vec<_> = text.lines().take(8).collect();
            header.iter().any(|line| line.trim().starts_with("buyer join souk1"))
                && header.iter().any(|line| line.trim() == "buyer search lantern")
                && text.lines().last().is_some_and(|line| line.starts_with("q ends the demo"))
        };
        screen.until(|text| is_whole(text) && text.contains("Bob buys both")).await;
        screen.press("p").await;
        screen.until(|text| text.lines().last().is_some_and(|line| line.starts_with("paused"))).await;
        screen.press("p").await;
        // More than fits below the header has happened, and the header is still there.
        let text = screen.until(|text| is_whole(text) && text.contains("restocks, and lowers")).await;
        assert!(text.lines().count() <= 40, "nothing has scrolled off: {text}");
        screen.press("q").await;
        screen.until(|text| text.contains("everything is removed")).await;
        assert_eq!(screen.end().await, 0);
        assert!(!fs::read_dir(&folder).unwrap().any(|entry| entry.unwrap().file_name() == "souk-demo"));
    }
}
