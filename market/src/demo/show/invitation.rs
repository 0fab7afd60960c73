//! Joining a running demo from another terminal.

use std::{
    env,
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use souk_authority::{
    invitation::book::{MAX_VALIDITY, NewInvitation},
    pki::{PkiError, Setup},
};
use souk_certs::{clock::Clock, identity::Role, listener};
use souk_enrolment::code::InvitationCode;
use souk_stdio::errln;
use souk_testkit::local::LocalMarket;

use super::notes::Notes;
use crate::authority::EnrolmentThread;

/// The guests for whom certificates are minted.
const GUESTS: [(Role, &str); 2] = [(Role::Seller, "guest-seller"), (Role::Buyer, "guest-buyer")];

/// What the user's other terminals need to know of a demo: paths and no secrets.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    market: String,
    /// The files with the guests' certificates.
    seller: String,
    buyer: String,
}

/// The name of the buyer who is invited.
const INVITED: &str = "you";

/// The note of a running demo, and its authority, at which one buyer can join.
pub(super) struct Invitation {
    notes: Notes,
    enrolment: EnrolmentThread,
    code: InvitationCode,
}

impl Invitation {
    /// Opens the authority to the network of this machine and invites a buyer. Mints the guests' certificates, and writes the
    /// note for `market demo --env`.
    pub(super) async fn write(market: &LocalMarket) -> anyhow::Result<Self> {
        let mut note = Note::default();
        for (role, name) in GUESTS {
            let config = market.identity(role, name).await?;
            note.market = config.market.to_string();
            match role {
                Role::Seller => note.seller = text(&config.credentials.cert)?,
                _ => note.buyer = text(&config.credentials.cert)?,
            }
        }
        let (enrolment, code) = invite(market).await?;
        let notes = Notes::own();
        notes.put(std::process::id(), &serde_json::to_vec(&note)?).with_context(|| {
            format!("can't leave a note in {}, by which other terminals find the demo", notes.place())
        })?;
        Ok(Self { notes, enrolment, code })
    }

    /// Returns the instructions to show, which can be pasted into a terminal.
    pub(super) fn text(&self) -> String {
        let Commands { market, buyer } = Commands::own();
        format!(
            "join from another terminal:\n  \
             {buyer} join {}\n  \
             {buyer} search lantern\n  \
             {buyer}    # the shell\n\
             or as a seller:\n  \
             eval \"$({market} demo --env seller)\"\n",
            self.code.reveal()
        )
    }

    pub(super) fn withdraw(self) {
        if let Err(error) = self.notes.remove(std::process::id()) {
            tracing::debug!(%error, "can't remove the invitation");
        }
        self.enrolment.close();
    }
}

/// Serves the demo's authority, and invites one buyer, whose context ends with the demo.
async fn invite(market: &LocalMarket) -> anyhow::Result<(EnrolmentThread, InvitationCode)> {
    let listener = listener::bind(SocketAddr::new(market.address().ip(), 0)).await?;
    let (public, now) = (listener.local_addr()?.into(), Clock::SYSTEM.now());
    let setup = Setup { public, markets: vec![market.address().into()], ephemeral: true };
    let new =
        NewInvitation { role: Role::Buyer, name: INVITED.to_owned(), again: false, validity: MAX_VALIDITY };
    let (dir, code) = market.change_pki(|pki| {
        pki.set_up(&setup, now)?;
        let (code, _) = pki.invite(new, now)?;
        Ok::<_, PkiError>((pki.dir().to_owned(), code))
    })?;
    Ok((EnrolmentThread::start(&dir, listener)?, code))
}

/// The commands by which another terminal runs the programs.
struct Commands {
    market: String,
    buyer: String,
}

impl Commands {
    /// Returns the commands for the programs that belong to this one: those on the `PATH`, or those in its folder.
    fn own() -> Self {
        let own = env::current_exe().and_then(|own| own.canonicalize()).unwrap_or_default();
        Self::of(&own, env::var_os("PATH").unwrap_or_default().as_os_str(), env::var_os("CARGO").is_some())
    }

    fn of(own: &Path, search: &OsStr, by_cargo: bool) -> Self {
        let is_own = |folder: PathBuf| folder.join("market").canonicalize().is_ok_and(|found| found == own);
        let is_on_path = env::split_paths(search).any(is_own);
        let Some(folder) = own.parent().filter(|_| !is_on_path) else {
            return Self { market: "market".to_owned(), buyer: "buyer".to_owned() };
        };
        let beside = |name: &str| quoted_if_needed(&folder.join(name).display().to_string());
        let buyer = if by_cargo {
            // Cargo may have built this program only.
            let profile = if folder.ends_with("release") { " --release" } else { "" };
            format!("cargo run -q{profile} --bin buyer --")
        } else {
            beside("buyer")
        };
        Self { market: beside("market"), buyer }
    }
}

/// Prints the shell commands that let a terminal join the running demo; of several, the one that began last.
pub fn print_env(role: Role) -> anyhow::Result<()> {
    let notes = Notes::own();
    let running = notes.running().with_context(|| format!("can't look for demos in {}", notes.place()))?;
    let Some((process, note)) = running.last() else {
        bail!("no demo is running; start one with `market demo` in another terminal")
    };
    if running.len() > 1 {
        errln!("{} demos are running; this joins the last one, of process {process}", running.len());
    }
    let note: Note = serde_json::from_slice(note)
        .with_context(|| format!("the note of process {process} in {} is not a demo's", notes.place()))?;
    souk_stdio::print(format_args!("{}", exports(&note, role)));
    Ok(())
}

fn exports(note: &Note, role: Role) -> String {
    let cert = if role == Role::Seller { &note.seller } else { &note.buyer };
    format!("export SOUK_MARKET={}\nexport SOUK_CERT={}\n", quoted(&note.market), quoted(cert))
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not in UTF-8", path.display()))
}

fn quoted_if_needed(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

/// Quotes a text for a POSIX shell, so that it is one word, whatever it contains.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_as_they_are_installed() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().canonicalize().unwrap();
        std::fs::write(bin.join("market"), "").unwrap();
        let of = |search: &Path, by_cargo| {
            let Commands { market, buyer } = Commands::of(&bin.join("market"), search.as_os_str(), by_cargo);
            (market, buyer)
        };
        assert_eq!(of(&bin, false), ("market".to_owned(), "buyer".to_owned()));
        let beside = |name: &str| quoted_if_needed(bin.join(name).to_str().unwrap());
        assert_eq!(of(Path::new("/nowhere"), false), (beside("market"), beside("buyer")));
        assert_eq!(
            of(Path::new("/nowhere"), true),
            (beside("market"), "cargo run -q --bin buyer --".to_owned())
        );
    }

    #[test]
    fn nothing_of_a_note_is_carried_out_by_the_shell() {
        let note = Note {
            market: "$(touch /tmp/x)".to_owned(),
            buyer: "it's; rm -r .\n`id`".to_owned(),
            ..Note::default()
        };
        let script = format!("{}printf '%s|%s' \"$SOUK_MARKET\" \"$SOUK_CERT\"", exports(&note, Role::Buyer));
        let shell = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), format!("{}|{}", note.market, note.buyer));
    }
}
