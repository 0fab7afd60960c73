//! The `gen-certs` program from the user's perspective: output, exit codes, and the contents of a bundle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rcgen::{CertificateParams, KeyPair};
use souk_certs::clock;
use souk_certs::credentials::{CredentialFiles, Credentials};
use souk_certs::identity::{Identity, TrustDomain};
use tempfile::TempDir;

struct Terminal {
    folder: TempDir,
}

impl Terminal {
    fn new() -> Self {
        Terminal { folder: tempfile::tempdir().unwrap() }
    }

    fn initialised() -> Self {
        let terminal = Terminal::new();
        terminal.ok(&["init"]);
        terminal
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gen-certs"));
        command.args(args).current_dir(self.folder.path()).env_remove("SOUK_PKI");
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).assert().success().get_output().clone();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this exit code, and returns its message.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.command(args).assert().code(code).get_output().clone();
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn load(&self, cert: &str) -> Credentials {
        let files = CredentialFiles::beside(self.path(cert));
        Credentials::load(&files, &TrustDomain::default(), clock::now()).unwrap()
    }
}

/// Returns the value of a line of the form `label  value`.
fn field(output: &str, label: &str) -> String {
    let line = output.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in {output}")).trim().to_owned()
}

/// Returns the files in a tar archive with their modes and contents.
fn unpack(tar: &Path) -> BTreeMap<String, (u32, String)> {
    let mut archive = tar::Archive::new(File::open(tar).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut contents = String::new();
        entry.read_to_string(&mut contents).unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, (entry.header().mode().unwrap(), contents))
    });
    entries.collect()
}

#[test]
fn a_market_is_set_up_in_three_commands() {
    let terminal = Terminal::new();
    terminal.ok(&["init", "--dns", "market.example.org", "--ip", "192.0.2.1"]);
    let seller = terminal.ok(&["seller", "alice"]);
    terminal.ok(&["buyer", "bob"]);
    let alice = terminal.load("certs/pki/alice.pem");
    assert_eq!(field(&seller, "uuid"), alice.identity().identity().uuid().unwrap().to_string());
    assert_eq!(field(&seller, "certificate"), "certs/pki/alice.pem");
    assert_eq!(field(&seller, "key"), "certs/pki/alice.key");
    assert_eq!(terminal.load("certs/pki/market.pem").identity().identity(), Identity::Market);
}

#[test]
fn exit_codes_show_what_went_wrong() {
    let terminal = Terminal::new();
    assert!(terminal.fails(3, &["seller", "alice"]).contains("gen-certs.sh init"));
    terminal.ok(&["init"]);
    terminal.ok(&["seller", "alice"]);
    assert!(terminal.fails(5, &["init"]).contains("--force"));
    assert!(terminal.fails(5, &["seller", "alice"]).contains("gen-certs.sh renew alice"));
    assert!(terminal.fails(2, &["seller", "Alice"]).contains("lower-case"));
    assert!(terminal.fails(2, &["buyer", "market"]).contains("market"));
    for unknown in ["renew", "revoke", "bundle"] {
        assert!(terminal.fails(3, &[unknown, "nobody"]).contains("gen-certs.sh list"));
    }
    terminal.fails(2, &[]);
    terminal.fails(2, &["renew"]);
    terminal.fails(2, &["renew", "alice", "--all"]);
    terminal.fails(2, &["seller", "bob", "--unknown"]);
    terminal.fails(2, &["init", "--trust-domain", "Not A Domain"]);
    terminal.fails(2, &["init", "--ip", "market"]);
    assert!(terminal.fails(1, &["sign", "no.csr", "--role", "seller", "--name", "x"]).contains("no.csr"));
    terminal.ok(&["revoke", "alice"]);
    assert!(terminal.fails(5, &["renew", "alice"]).contains("--reinstate"));
    assert!(terminal.fails(5, &["bundle", "alice"]).contains("revoked"));
}

#[test]
fn the_list_shows_everyone_in_both_forms() {
    let terminal = Terminal::initialised();
    terminal.ok(&["seller", "alice"]);
    terminal.ok(&["buyer", "bob"]);
    terminal.ok(&["revoke", "bob"]);
    let table = terminal.ok(&["list"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "ROLE", "UUID", "SERIAL", "EXPIRES", "STATUS"]);
    let seen: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1], row[5])).collect();
    let expected = [("market", "market", "valid"), ("alice", "seller", "valid"), ("bob", "buyer", "revoked")];
    assert_eq!(seen, expected);

    let json: serde_json::Value = serde_json::from_str(&terminal.ok(&["list", "--output", "json"])).unwrap();
    assert_eq!(json[1]["name"], "alice");
    assert_eq!(json[1]["uuid"], rows[2][2]);
    assert_eq!(json[1]["serial"], rows[2][3]);
    assert_eq!(json[0]["uuid"], serde_json::Value::Null);
    assert_eq!(json[2]["status"], "revoked");
}

#[test]
fn renewing_all_leaves_the_revoked_alone() {
    let terminal = Terminal::initialised();
    let before = terminal.ok(&["seller", "alice"]);
    terminal.ok(&["buyer", "bob"]);
    terminal.ok(&["revoke", "bob"]);
    let old = fs::read(terminal.path("certs/pki/alice.pem")).unwrap();
    let output = terminal.ok(&["renew", "--all"]);
    assert!(output.contains("bob  skipped: revoked"), "{output}");
    assert_ne!(fs::read(terminal.path("certs/pki/alice.pem")).unwrap(), old);
    let uuid = terminal.load("certs/pki/alice.pem").identity().identity().uuid().unwrap();
    assert_eq!(uuid.to_string(), field(&before, "uuid"));
}

#[test]
fn a_bundle_holds_one_partys_files_and_works_where_it_is_unpacked() {
    let terminal = Terminal::initialised();
    terminal.ok(&["seller", "alice"]);
    terminal.ok(&["buyer", "bob"]);
    terminal.ok(&["bundle", "alice", "-o", "out.tar"]);
    terminal.fails(5, &["bundle", "alice", "-o", "out.tar"]);
    terminal.ok(&["bundle", "alice", "-o", "out.tar", "--force"]);
    let tar = terminal.path("out.tar");
    assert_eq!(fs::metadata(&tar).unwrap().permissions().mode() & 0o777, 0o600);

    let files = unpack(&tar);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let expected =
        ["README.txt", "alice.key", "alice.pem", "ca.pem", "crl.pem"].map(|file| format!("alice/{file}"));
    assert_eq!(names, expected);
    let secrets: Vec<_> = files.iter().filter(|(_, (_, text))| text.contains("PRIVATE KEY")).collect();
    assert!(matches!(secrets[..], [(name, (0o600, _))] if name == "alice/alice.key"), "{names:?}");
    let readme = &files["alice/README.txt"].1;
    assert!(readme.contains("seller --market MARKET_HOST:7443 --cert alice.pem"), "{readme}");

    tar::Archive::new(File::open(&tar).unwrap()).unpack(terminal.folder.path()).unwrap();
    terminal.load("alice/alice.pem");
}

#[test]
fn only_the_markets_bundle_holds_the_token_key_and_none_the_authoritys() {
    let terminal = Terminal::initialised();
    terminal.ok(&["operator", "olga"]);
    let ca_key = fs::read_to_string(terminal.path("certs/pki/ca.key")).unwrap();
    let token_key = fs::read_to_string(terminal.path("certs/pki/token.key")).unwrap();
    for (name, holds_token_key) in [("market", true), ("olga", false)] {
        let output = terminal.ok(&["bundle", name]);
        let files = unpack(&terminal.path(&field(&output, "bundle")));
        assert_eq!(files.values().any(|(_, text)| text.contains(&token_key)), holds_token_key);
        assert!(!files.values().any(|(_, text)| text.contains(&ca_key)));
    }
}

#[test]
fn a_request_is_signed_and_its_bundle_holds_no_key() {
    let terminal = Terminal::initialised();
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    fs::write(terminal.path("dora.csr"), csr).unwrap();
    let uuid = "0197f0c2-7c1a-7b3e-8d52-1f2a3b4c5d6e";
    let signed = terminal.ok(&["sign", "dora.csr", "--role", "buyer", "--name", "dora", "--uuid", uuid]);
    assert_eq!(field(&signed, "uuid"), uuid);
    assert_eq!(field(&signed, "key"), "made elsewhere");
    fs::write(terminal.path("certs/pki/dora.key"), key.serialize_pem()).unwrap();
    terminal.load("certs/pki/dora.pem");
    let output = terminal.ok(&["bundle", "dora"]);
    let files = unpack(&terminal.path(&field(&output, "bundle")));
    assert!(!files.values().any(|(_, text)| text.contains("PRIVATE KEY")));
    let taken = terminal.fails(5, &["sign", "dora.csr", "--role", "buyer", "--name", "eve", "--uuid", uuid]);
    assert!(taken.contains("dora"), "{taken}");
    fs::write(terminal.path("junk.csr"), "junk").unwrap();
    assert!(
        terminal.fails(1, &["sign", "junk.csr", "--role", "buyer", "--name", "eve"]).contains("openssl req")
    );
}

#[test]
fn no_command_prints_a_key() {
    let terminal = Terminal::initialised();
    let shown: String =
        [&["seller", "alice"][..], &["renew", "--all"], &["list"], &["crl"], &["bundle", "alice"]]
            .map(|args| terminal.ok(args))
            .concat();
    let pki = terminal.path("certs/pki");
    for file in ["ca.key", "market.key", "token.key", "alice.key"] {
        let key = fs::read_to_string(pki.join(file)).unwrap();
        let body = key.lines().nth(1).unwrap().to_owned();
        assert!(!shown.contains(&body) && !shown.contains("PRIVATE"), "{file}");
    }
}

#[test]
fn the_script_runs_the_program_on_the_given_folder() {
    let terminal = Terminal::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("gen-certs.sh");
    let mut command = Command::new(script);
    command.env("GEN_CERTS", env!("CARGO_BIN_EXE_gen-certs")).env_remove("SOUK_PKI");
    command.args(["init", "--dir"]).arg(terminal.path("elsewhere")).assert().success();
    assert!(terminal.path("elsewhere/market.pem").exists());
}

#[test]
fn an_installed_script_finds_the_program_and_the_folder_beside_it() {
    let terminal = Terminal::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("gen-certs.sh");
    fs::copy(script, terminal.path("gen-certs.sh")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gen-certs"), terminal.path("gen-certs")).unwrap();
    let mut command = Command::new(terminal.path("gen-certs.sh"));
    command.current_dir("/").env_remove("GEN_CERTS").env_remove("SOUK_PKI").arg("init").assert().success();
    assert!(terminal.path("certs/pki/market.pem").exists());
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let terminal = Terminal::initialised();
    for args in [&["list"][..], &["list", "--output", "json"], &["crl"], &["--help"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gen-certs"));
        command.args(args).current_dir(terminal.folder.path()).env_remove("SOUK_PKI");
        let piped = std::process::Stdio::piped;
        let mut child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(0) && errors.is_empty(), "{args:?}: {errors}");
    }
}
