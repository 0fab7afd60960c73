//! Which certificate, key, authority and revocation list the market uses. They go together: a certificate with the authority
//! or the key of another source would fail later, and for no apparent reason. So all come from the first source that names a
//! certificate.

use std::path::PathBuf;

use clap::{
    ArgMatches, Args, Command, FromArgMatches,
    error::{Error, ErrorKind},
    parser::ValueSource,
};
use souk_help::LESS_COMMON;
use souk_server::config::{ConfigError, TlsConfig};

/// The flags.
#[derive(Args)]
struct FileArgs {
    /// The market's certificate [default: that of market join, or else certs/pki/market.pem].
    #[arg(long, env = "SOUK_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The certificate's private key [default: next to the certificate].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// The authority's certificate [default: ca.pem next to the certificate].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate revocation list [default: crl.pem next to the certificate].
    #[arg(long, help_heading = LESS_COMMON, env = "SOUK_CRL", value_name = "FILE")]
    crl: Option<PathBuf>,
}

/// The files that one source names.
#[derive(Debug, Default)]
struct Group {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    crl: Option<PathBuf>,
}

/// The files as they were given, by flags and by variables.
#[derive(Debug, Default)]
pub(super) struct GivenFiles {
    flags: Group,
    variables: Group,
}

impl Group {
    /// Returns what is named although it belongs to a certificate, and that is not.
    fn alone(&self) -> Option<&'static str> {
        let others = [("key", &self.key), ("ca", &self.ca), ("crl", &self.crl)];
        let named = others.into_iter().find_map(|(name, path)| path.is_some().then_some(name));
        named.filter(|_| self.cert.is_none())
    }

    /// Uses these files if there is a certificate among them, and says whether there is.
    fn put_into(self, tls: &mut TlsConfig) -> bool {
        let Some(cert) = self.cert else { return false };
        (tls.cert, tls.key, tls.ca, tls.crl) = (cert, self.key, self.ca, self.crl);
        true
    }
}

impl GivenFiles {
    /// Completes the settings with the files of the first source that names a certificate: the flags, `--set`, the variables,
    /// the folder of `market join`, the other settings. `is_set` says whether a setting was given by `--set`, and `joined` is
    /// the folder in which `market join` puts a certificate by default, if there is one.
    pub(super) fn put_into(
        self,
        tls: &mut TlsConfig,
        is_set: impl Fn(&str) -> bool,
        joined: impl FnOnce() -> Option<PathBuf>,
    ) -> Result<(), ConfigError> {
        let named = tls.context.take();
        if self.flags.put_into(tls) {
            return Ok(());
        }
        if is_set("tls.cert") && !is_set("tls.context") {
            for (name, path) in
                [("tls.key", &mut tls.key), ("tls.ca", &mut tls.ca), ("tls.crl", &mut tls.crl)]
            {
                // Of the settings file.
                path.take_if(|_| !is_set(name));
            }
            return Ok(());
        }
        if !is_set("tls.context") && self.variables.put_into(tls) {
            return Ok(());
        }
        named.or_else(joined).map_or(Ok(()), |folder| tls.use_context(&folder))
    }

    /// Returns a warning about a variable that has no effect, because no variable names a certificate.
    pub(super) fn warning(&self) -> Option<String> {
        let name = self.variables.alone()?.to_uppercase();
        Some(format!(
            "SOUK_{name} has no effect: certificate, key, authority and revocation list come from one source, and SOUK_CERT is \
             not set"
        ))
    }
}

impl FromArgMatches for GivenFiles {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let all = FileArgs::from_arg_matches(matches)?;
        let of = |source| {
            let given = |name: &str, path: &Option<PathBuf>| {
                path.clone().filter(|_| matches.value_source(name) == Some(source))
            };
            Group {
                cert: given("cert", &all.cert),
                key: given("key", &all.key),
                ca: given("ca", &all.ca),
                crl: given("crl", &all.crl),
            }
        };
        let flags = of(ValueSource::CommandLine);
        if let Some(flag) = flags.alone() {
            let message = format!(
                "--{flag} belongs to a certificate, and none was named with it; pass --cert as well: certificate, key, \
                 authority and revocation list come from one source\n"
            );
            return Err(Error::raw(ErrorKind::MissingRequiredArgument, message));
        }
        // A variable gives way; clap's own rule about conflicts does not make the difference.
        if flags.cert.is_some() && matches.value_source("authority").is_some() {
            let message = "--cert can't be used with --authority, which makes the market's certificate\n";
            return Err(Error::raw(ErrorKind::ArgumentConflict, message));
        }
        Ok(Self { flags, variables: of(ValueSource::EnvVariable) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenFiles {
    fn augment_args(command: Command) -> Command {
        FileArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        FileArgs::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use souk_enrolment::context::Context;
    use souk_server::config::Config;
    use tempfile::TempDir;

    use super::*;
    use crate::authority::{OwnAuthority, OwnAuthorityOptions};

    fn group(name: &str, others: &[&str]) -> Group {
        let other = |kind: &str| others.contains(&kind).then(|| PathBuf::from(format!("{name}-{kind}.pem")));
        Group {
            cert: Some(PathBuf::from(format!("{name}.pem"))).filter(|_| !name.is_empty()),
            key: other("key"),
            ca: other("ca"),
            crl: other("crl"),
        }
    }

    /// Settings whose file names a certificate and an authority.
    fn settings() -> TlsConfig {
        let mut tls = Config::load(None).unwrap().tls;
        (tls.cert, tls.ca) = ("file.pem".into(), Some("file-ca.pem".into()));
        tls
    }

    /// Returns what is used, as paths.
    fn used(tls: &TlsConfig) -> [Option<String>; 4] {
        let text = |path: &Path| path.display().to_string();
        let [key, ca, crl] = [&tls.key, &tls.ca, &tls.crl].map(|path| path.as_deref().map(text));
        [Some(text(&tls.cert)), key, ca, crl]
    }

    fn some<const N: usize>(paths: [&str; N]) -> [Option<String>; N] {
        paths.map(|path| (!path.is_empty()).then(|| path.to_owned()))
    }

    #[test]
    fn files_come_from_the_first_source_that_names_a_certificate() {
        let choose = |given: GivenFiles, set: &[&str]| {
            let mut tls = settings();
            given.put_into(&mut tls, |name| set.contains(&name), || None).unwrap();
            assert_eq!(tls.context, None);
            used(&tls)
        };
        let variables = || group("variable", &["key", "crl"]);
        let both = GivenFiles { flags: group("flag", &["ca"]), variables: variables() };
        assert_eq!(choose(both, &["tls.cert"]), some(["flag.pem", "", "flag-ca.pem", ""]));
        let given = || GivenFiles { flags: Group::default(), variables: variables() };
        assert_eq!(choose(given(), &[]), some(["variable.pem", "variable-key.pem", "", "variable-crl.pem"]));
        // In these settings, the certificate is that of --set, and the authority that of the file.
        assert_eq!(choose(given(), &["tls.cert"]), some(["file.pem", "", "", ""]));
        let alone = GivenFiles { flags: Group::default(), variables: group("", &["key", "ca", "crl"]) };
        assert!(alone.warning().unwrap().contains("SOUK_KEY has no effect"));
        assert_eq!(choose(alone, &[]), some(["file.pem", "", "file-ca.pem", ""]));
        assert_eq!(given().warning(), None);
    }

    /// Makes a folder as `market join` does.
    async fn joined() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let options = OwnAuthorityOptions {
            dir: folder.path().join("souk"),
            trust_domain: Default::default(),
            listen: "127.0.0.1:0".parse().unwrap(),
            market: "127.0.0.1:7443".parse().unwrap(),
            public: None,
        };
        let own = OwnAuthority::open(&options).await.unwrap();
        own.enrolment.close();
        (folder, own.context)
    }

    #[tokio::test]
    async fn joined_folder_stands_between_the_variables_and_the_settings() {
        let (_folder, joined) = joined().await;
        assert!(Context::at(&joined).is_complete());
        let choose = |variables: Group, set: &[&str], named: Option<&Path>| {
            let mut tls = TlsConfig { context: named.map(Path::to_owned), ..settings() };
            let given = GivenFiles { flags: Group::default(), variables };
            given.put_into(&mut tls, |name| set.contains(&name), || Some(joined.clone())).unwrap();
            tls.context
        };
        let is_used = Some(joined.clone());
        assert_eq!(choose(Group::default(), &[], None), is_used);
        assert_eq!(choose(group("", &["ca"]), &[], None), is_used, "one variable does not disable it");
        assert_eq!(choose(group("variable", &[]), &[], None), None);
        assert_eq!(choose(group("variable", &[]), &["tls.context"], Some(&joined)), is_used);
        assert_eq!(choose(Group::default(), &["tls.cert"], None), None);
    }

    #[test]
    fn flags_that_go_together_are_checked() {
        let read = |words: &[&str]| {
            let program = super::super::ServeArgs::augment_args(Command::new("serve"));
            let matches = program.try_get_matches_from([&["serve"][..], words].concat())?;
            GivenFiles::from_arg_matches(&matches)
        };
        let error = read(&["--key", "a.key"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
        assert!(error.to_string().contains("--key belongs to a certificate"), "{error}");
        let error = read(&["--cert", "a.pem", "--authority"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        let given = read(&["--cert", "a.pem", "--ca", "b.pem"]).unwrap();
        assert_eq!((given.flags.cert, given.flags.ca), (Some("a.pem".into()), Some("b.pem".into())));
    }
}
