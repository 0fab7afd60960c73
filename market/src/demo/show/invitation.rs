//! Joining a running demo from another terminal.

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use souk_certs::identity::Role;
use souk_client::ClientConfig;
use souk_testkit::local::LocalMarket;

/// The guests for whom certificates are minted.
const GUESTS: [(Role, &str); 2] = [(Role::Seller, "guest-seller"), (Role::Buyer, "guest-buyer")];

/// A file from which the user's other terminals learn how to reach the demo. It contains paths and no secrets, but
/// it is readable only by the user nevertheless.
pub(super) struct Invitation {
    file: PathBuf,
    guests: Vec<(Role, ClientConfig)>,
}

impl Invitation {
    /// Mints the guests' certificates, and writes the file for `market demo --env`.
    pub(super) async fn write(market: &LocalMarket) -> anyhow::Result<Self> {
        let mut guests = Vec::new();
        for (role, name) in GUESTS {
            guests.push((role, market.identity(role, name).await?));
        }
        let invitation = Self { file: note_file(), guests };
        let mut lines = String::new();
        for (role, _) in &invitation.guests {
            for line in invitation.exports(*role) {
                lines.push_str(&format!("{role} {line}\n"));
            }
        }
        let mut options = fs::OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = options.open(&invitation.file).with_context(|| {
            format!("can't write {}, by which other terminals find the demo", invitation.file.display())
        })?;
        file.write_all(lines.as_bytes())?;
        Ok(invitation)
    }

    fn exports(&self, of: Role) -> Vec<String> {
        let guest = self.guests.iter().find(|(role, _)| *role == of);
        guest.map_or_else(Vec::new, |(_, config)| {
            vec![
                format!("export SOUK_MARKET={}", config.market),
                format!("export SOUK_CERT={}", quoted(&config.credentials.cert)),
            ]
        })
    }

    /// Returns the instructions to print, which can be pasted into a terminal.
    pub(super) fn text(&self) -> String {
        "join from another terminal:\n  \
         eval \"$(cargo run -q --release -p market -- demo --env buyer)\"\n  \
         cargo run -q --release --bin buyer -- register \"Your name\"\n  \
         cargo run -q --release --bin buyer -- search lantern\n  \
         cargo run -q --release --bin buyer            # the shell\n\
         or as a seller, with `--env seller` and `-p seller`. Ctrl-C here removes everything.\n"
            .to_owned()
    }

    pub(super) fn withdraw(&self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::debug!(%error, "can't remove the invitation");
        }
    }
}

/// Prints the shell commands that let a terminal join the running demo.
pub fn print_env(role: Role) -> anyhow::Result<()> {
    let file = note_file();
    let Ok(note) = fs::read_to_string(&file) else {
        bail!("no demo is running; start one with `market demo` in another terminal")
    };
    let prefix = format!("{role} ");
    for line in note.lines().filter_map(|line| line.strip_prefix(&prefix)) {
        println!("{line}");
    }
    Ok(())
}

/// Returns the path of the file, in XDG_RUNTIME_DIR or else in the folder for temporary files.
fn note_file() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    let user = env::var("USER").unwrap_or_else(|_| "user".to_owned());
    runtime.unwrap_or_else(env::temp_dir).join(format!("souk-demo-{user}"))
}

/// Quotes a path for a POSIX shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
