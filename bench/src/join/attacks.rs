//! The rows of the threat table that can be run from outside.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::ensure;
use souk_certs::{connector::Dial, identity::Role, random};
use souk_enrolment::{
    code::{InvitationCode, InvitationId, RootPin, Secret},
    join::{JoinError, join},
    key::PartyKey,
};
use souk_proto::Reason;
use tokio::net::TcpSocket;

use super::{Home, OneMachine, row};

/// Wrong secrets that lock an invitation.
const GUESSES_THAT_LOCK: usize = 5;
/// Guesses over sockets.
const GUESSES: usize = 200;
/// Connections that say nothing.
const SILENT: usize = 256;
/// The address of the silent connections: another host's, as far as the authority can see.
const SILENT_FROM: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 0);

pub(super) async fn run(place: &OneMachine) -> anyhow::Result<()> {
    row("a typing error is found at home", typing_error(place).await)?;
    row("an unknown invitation is refused like a wrong secret", unknown_is_wrong(place).await)?;
    row("five wrong secrets lock an invitation", guess_locks(place).await)?;
    row("a code is good for one key", used(place).await)?;
    row("a code that was cancelled is useless", cancelled(place).await)?;
    row("a code for another role is not used up", other_role(place).await)?;
    row("another authority never sees the secret", other_authority(place).await)?;
    row("a market is no authority", market_is_no_authority(place).await)?;
    row("a flood of guesses and silent connections leaves others", flood(place).await)
}

/// The parts of a code, to be put together in another way.
struct Parts {
    id: InvitationId,
    secret: Secret,
    root: RootPin,
    authority: Dial,
}

impl Parts {
    fn of(code: &str) -> anyhow::Result<Self> {
        let code: InvitationCode = code.parse()?;
        let (id, secret, root) = (code.id(), code.secret().clone(), code.root());
        Ok(Self { id, secret, root, authority: code.authority().clone() })
    }

    fn code(self) -> anyhow::Result<InvitationCode> {
        Ok(InvitationCode::new(self.id, self.secret, self.root, self.authority, Default::default())?)
    }

    fn text(self) -> anyhow::Result<String> {
        Ok(self.code()?.reveal())
    }
}

fn other_secret() -> Secret {
    Secret::new(random::bytes())
}

async fn typing_error(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "typing-error").await?;
    let home = Home::new()?;
    let at = code.len() / 2;
    let other = if code.as_bytes()[at] == b'a' { "b" } else { "a" };
    let wrong = format!("{}{other}{}", &code[..at], &code[at + 1..]);
    home.refused("buyer", &["join", &wrong], (2, "")).await?;
    home.ok("buyer", &["join", &code]).await?;
    Ok(String::new())
}

async fn unknown_is_wrong(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "unknown").await?;
    let home = Home::new()?;
    let wrong = Parts { secret: other_secret(), ..Parts::of(&code)? }.text()?;
    let unknown = Parts { id: InvitationId(random::bytes()), ..Parts::of(&code)? }.text()?;
    let wrong = home.refused("buyer", &["join", &wrong], (4, "no invitation has this id and secret")).await?;
    let unknown =
        home.refused("buyer", &["join", &unknown], (4, "no invitation has this id and secret")).await?;
    ensure!(wrong == unknown, "the answers differ:\n{wrong}\n{unknown}");
    Ok(String::new())
}

async fn guess_locks(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "guessed").await?;
    let now = souk_certs::clock::now();
    for _ in 0..GUESSES_THAT_LOCK {
        let guess = Parts { secret: other_secret(), ..Parts::of(&code)? }.code()?;
        let refused = join(&guess, Role::Buyer, &PartyKey::generate()?, now).await;
        ensure!(is_refused(&refused, Reason::InvitationInvalid), "{:?}", refused.err());
    }
    Home::new()?.refused("buyer", &["join", &code], (4, "locked")).await?;
    Ok(String::new())
}

async fn used(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "once").await?;
    let owner = Home::new()?;
    owner.ok("buyer", &["join", &code]).await?;
    Home::new()?.refused("buyer", &["join", &code], (4, "used")).await?;
    // An interrupted command is simply run again.
    owner.ok("buyer", &["join", &code]).await?;
    Ok(String::new())
}

async fn cancelled(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "cancelled").await?;
    let id = Parts::of(&code)?.id.to_string();
    place.home.ok("gen-certs", &["invitations", "cancel", &id]).await?;
    Home::new()?.refused("buyer", &["join", &code], (4, "invitation")).await?;
    Ok(String::new())
}

async fn other_role(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "role").await?;
    let home = Home::new()?;
    home.refused("seller", &["join", &code], (2, "buyer join")).await?;
    home.ok("buyer", &["join", &code]).await?;
    Ok(String::new())
}

async fn other_authority(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "elsewhere").await?;
    let elsewhere = RootPin::of(&vec![1, 2, 3].into());
    let wrong = Parts { root: elsewhere, ..Parts::of(&code)? }.text()?;
    let home = Home::new()?;
    home.refused("buyer", &["join", &wrong], (4, "nothing was sent")).await?;
    home.ok("buyer", &["join", &code]).await?;
    Ok(String::new())
}

async fn market_is_no_authority(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "misled").await?;
    let wrong = Parts { authority: place.address.into(), ..Parts::of(&code)? }.text()?;
    Home::new()?.refused("buyer", &["join", &wrong], (4, "nothing was sent")).await?;
    Ok(String::new())
}

async fn flood(place: &OneMachine) -> anyhow::Result<String> {
    let code = place.invite("buyer", "flooded").await?;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        // From an address of their own, which has a share of the handshakes. A connection that is refused costs nothing.
        let socket = TcpSocket::new_v4()?;
        socket.bind(SILENT_FROM.into())?;
        silent.extend(socket.connect(place.enrolment).await.ok());
    }
    let (mut refused, mut found) = (0, 0);
    let now = souk_certs::clock::now();
    for _ in 0..GUESSES {
        let guess = Parts { id: InvitationId(random::bytes()), secret: other_secret(), ..Parts::of(&code)? };
        match join(&guess.code()?, Role::Buyer, &PartyKey::generate()?, now).await {
            Ok(_) => found += 1,
            Err(_) => refused += 1,
        }
    }
    ensure!(found == 0 && refused == GUESSES, "{found} guesses found an invitation");
    // The right one is never refused, from the same address.
    Home::new()?.ok("buyer", &["join", &code]).await?;
    drop(silent);
    Ok(format!("{GUESSES} guesses, {SILENT} silent connections"))
}

fn is_refused<T>(result: &Result<T, JoinError>, reason: Reason) -> bool {
    matches!(result, Err(JoinError::Refused(status)) if Reason::of(status) == Some(reason))
}
