//! Bundles: one tar archive per machine, with the party's files and instructions.

use std::fs;
use std::io;
use std::path::Path;

use souk_certs::identity::Role;
use time::OffsetDateTime;

use super::folder::Secrecy;
use super::{Party, Pki, PkiError, Status};

impl Pki {
    /// Writes a party's bundle to `out`, with mode 0600 because it contains a private key.
    ///
    /// The bundle is a tar archive with one folder, named after the party. It contains the party's
    /// certificate and key, `ca.pem`, `crl.pem` and a `README.txt` with the commands to run on that machine.
    /// The market's bundle also contains the token-signing keys. No bundle contains the authority's key or
    /// another party's.
    ///
    /// # Errors
    /// Returns [`PkiError::UnknownParty`], [`PkiError::Revoked`], or [`PkiError::FileInTheWay`] if `out`
    /// exists and `force` is not set, and other variants if a file can't be read or written.
    pub fn bundle(
        &self,
        name: &str,
        out: &Path,
        force: bool,
        now: OffsetDateTime,
    ) -> Result<Party, PkiError> {
        let party = self.find(name)?;
        if party.status(now) == Status::Revoked {
            return Err(PkiError::Revoked { name: party.name.to_string() });
        }
        if out.exists() && !force {
            return Err(PkiError::FileInTheWay { path: out.to_owned() });
        }
        let contents = self.pack(&party, now)?;
        self.write(out, &contents, Secrecy::Secret)?;
        Ok(party)
    }

    fn pack(&self, party: &Party, now: OffsetDateTime) -> Result<Vec<u8>, PkiError> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |file: &str, contents: &[u8], secrecy: Secrecy| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(secrecy.mode());
            header.set_size(contents.len() as u64);
            header.set_mtime(u64::try_from(now.unix_timestamp()).unwrap_or(0));
            let path = format!("{}/{file}", party.name);
            tar.append_data(&mut header, path, contents).map_err(PkiError::io(Path::new(file)))
        };
        add("README.txt", readme(party).as_bytes(), Secrecy::Public)?;
        for (path, secrecy) in self.bundled_files(party) {
            let contents = fs::read(&path).map_err(PkiError::io(&path))?;
            add(&path.file_name().unwrap_or_default().to_string_lossy(), &contents, secrecy)?;
        }
        tar.into_inner().map_err(|error: io::Error| PkiError::io(self.dir())(error))
    }

    fn bundled_files(&self, party: &Party) -> Vec<(std::path::PathBuf, Secrecy)> {
        let mut files = vec![
            (party.cert.clone(), Secrecy::Public),
            (self.path("ca.pem"), Secrecy::Public),
            (self.path("crl.pem"), Secrecy::Public),
        ];
        files.extend(party.key.clone().map(|key| (key, Secrecy::Secret)));
        if party.identity.role() == Role::Market {
            files.push((self.token_key_path(), Secrecy::Secret));
            let previous = self.previous_token_key_path();
            files.extend(previous.exists().then_some((previous, Secrecy::Secret)));
        }
        files
    }
}

/// Returns the text of a bundle's `README.txt`: its files and the commands to run on the party's machine.
fn readme(party: &Party) -> String {
    let (name, role) = (&party.name, party.identity.role());
    let who = party.identity.uuid().map_or_else(|| role.to_string(), |uuid| format!("{role} {uuid}"));
    let mut files = vec![
        (format!("{name}.pem"), "the certificate"),
        ("ca.pem".to_owned(), "the authority that signed it"),
        ("crl.pem".to_owned(), "which certificates are revoked"),
    ];
    let key = if party.key.is_some() {
        "its private key"
    } else {
        "is not included: add it yourself, with mode 600"
    };
    files.insert(1, (format!("{name}.key"), key));
    if role == Role::Market {
        files.insert(2, ("token.key".to_owned(), "the private key that signs access tokens"));
    }
    let width = files.iter().map(|(file, _)| file.len()).max().unwrap_or(0);
    let files: String = files.iter().map(|(file, what)| format!("  {file:width$}  {what}\n")).collect();
    format!(
        "{name}: certificate of the {who}, valid until {}\n\n{files}\n\
         Keep private keys on this machine, readable only by their owner. Unpack and start:\n\n  \
         tar -xpf {name}.tar && cd {name}\n{}\n\
         To renew, the operator runs:\n\n  {}\n",
        party.not_after.date(),
        first_steps(party),
        renewal(party),
    )
}

fn first_steps(party: &Party) -> String {
    let (name, role) = (&party.name, party.identity.role());
    match role {
        Role::Market => "  market serve --cert market.pem --listen '[::]:7443' --store souk.db\n\n\
            Whenever the operator revokes a certificate, copy the new crl.pem here. The market loads it\n\
            at once and closes the connections of revoked parties.\n"
            .to_owned(),
        Role::Seller | Role::Buyer => format!(
            "  {role} --market MARKET_HOST:7443 --cert {name}.pem doctor\n  \
             {role} --market MARKET_HOST:7443 --cert {name}.pem shell\n\n\
             With SOUK_MARKET and SOUK_CERT set in the environment, the two flags can be left out.\n"
        ),
        // It has no bundle, because it stays where its key is.
        Role::Authority => String::new(),
        Role::Operator => format!("\nWherever a program asks for --cert, give it {name}.pem.\n"),
    }
}

fn renewal(party: &Party) -> String {
    let (name, role) = (&party.name, party.identity.role());
    let bundle = format!("gen-certs.sh bundle {name} --force");
    match party.key {
        Some(_) => format!("gen-certs.sh renew {name} && {bundle}"),
        None => format!("gen-certs.sh sign FILE.csr --role {role} --name {name} --force && {bundle}"),
    }
}
