//! What `deploy/` relies on: its settings files load, and the service manager is notified of the market's
//! state.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use souk_server::config::Config;

use crate::{fixture::PATIENCE, site::Site};

/// The watchdog interval of the test, within which the market must notify twice.
const WATCHDOG_MICROSECONDS: &str = "1000000";

/// A fake service manager, which receives the market's notifications.
struct Manager {
    socket: UnixDatagram,
    deadline: Instant,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, deadline: Instant::now() + PATIENCE }
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("the market sends a message in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for the next message that contains this line.
    fn await_line(&self, line: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|received| received == line) {
                return message;
            }
            assert!(
                Instant::now() < self.deadline,
                "{line} was not received; the last message was {message:?}"
            );
        }
    }
}

#[test]
fn service_manager_is_notified_of_opening_reloading_closing_and_liveness() {
    let site = Site::new();
    let manager = Manager::listen(&site.path("notify"));
    let mut market = site
        .serve()
        .env("NOTIFY_SOCKET", site.path("notify"))
        .env("WATCHDOG_USEC", WATCHDOG_MICROSECONDS)
        .env_remove("WATCHDOG_PID")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let signal = |name: &str, id: u32| {
        assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
    };
    let opened = manager.await_line("READY=1");
    assert!(opened.contains("STATUS=open on 127.0.0.1:"), "{opened}");
    for _ in 0..3 {
        manager.await_line("WATCHDOG=1");
    }
    signal("-HUP", market.id());
    let reloading = manager.await_line("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.await_line("READY=1");
    signal("-TERM", market.id());
    manager.await_line("STOPPING=1");
    assert!(market.wait().unwrap().success());
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

/// Returns every file below `deploy/` whose name satisfies `is_meant`.
fn files(is_meant: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![deploy()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if is_meant(&path.file_name().unwrap().to_string_lossy()) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_settings_file_in_deploy_loads_and_exposes_health() {
    let settings = files(|name| name.starts_with("market") && name.ends_with(".toml"));
    assert!(settings.len() >= 5, "{settings:?}");
    for file in settings {
        let config = Config::load(Some(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(config.server.admin_listen.is_some(), "{}: nobody can look after it", file.display());
        assert!(!config.callbacks.allow_loopback && !config.store.is_memory(), "{}", file.display());
    }
}

/// The stop timeouts in `deploy/` must exceed the market's drain, or it would be killed before it has
/// finished.
#[test]
fn stop_timeouts_in_deploy_exceed_the_drain() {
    let limit = |file: &str, key: &str| -> u64 {
        let text = fs::read_to_string(deploy().join(file)).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).expect(file);
        line.trim_matches([' ', ':', '=', 's', '"']).parse().expect(file)
    };
    for (file, key, settings) in [
        ("systemd/souk-market.service", "TimeoutStopSec", "systemd/market.toml"),
        ("systemd/souk-market.service", "TimeoutStopSec", "systemd/market-postgres.toml"),
        ("compose/compose.yaml", "stop_grace_period", "compose/market.toml"),
        ("kubernetes/market/market.yaml", "terminationGracePeriodSeconds", "kubernetes/market/market.toml"),
    ] {
        let drain = Config::load(Some(&deploy().join(settings))).unwrap().server.drain().as_secs();
        let limit = limit(file, key);
        assert!(limit >= drain + 5, "{file}: {key} is {limit} s, the drain of {settings} {drain} s");
    }
}
