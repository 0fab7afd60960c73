use std::fs;

use super::*;

/// Loads a settings file with this text.
pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("market.toml");
    fs::write(&file, text).unwrap();
    Config::load(Some(&file))
}

#[test]
fn the_documented_defaults_load() {
    let config = Config::load(None).unwrap();
    assert!(config.warnings().is_empty());
    assert_eq!(config.store.index_directory(), Some(Path::new("souk.index")));
}

#[test]
fn mistakes_are_reported_with_their_line_and_what_is_right() {
    for (text, line, told) in [
        ("[server]\nlisen = \"[::]:1\"", 2, "`lisen` is no key in [server]; did you mean `listen`?"),
        ("[server]\nthreads = 1\n\n[sever]\nlisten = 1", 5, "did you mean `server`?"),
        ("[sever]", 1, "`sever` is no section; did you mean `server`?"),
        ("[limits]\nzzz = 1", 2, "there are "),
        ("[server]\ndrain_seconds = 0", 2, "server.drain_seconds is wrong: give 1 to 60"),
        ("[limits]\n# none\nburst_calls = 0", 3, "limits.burst_calls is wrong: give 1 or more"),
        ("[limits]\nseller_calls_per_second = 0", 2, "limits.seller_calls_per_second is wrong"),
        (
            "[limits]\nburst_calls = \"many\"",
            2,
            "a whole number that is not negative, such as 12, not string",
        ),
        ("[limits]\nburst_calls = -1", 2, "a whole number that is not negative"),
        ("[server]\nlisten = \"nowhere\"", 2, "write an address as IP:port"),
        ("[tls]\nstrict_crl = \"yes\"", 2, "true or false"),
        ("[tls]\ntrust_domain = \"Souk\"", 2, "lower-case DNS name"),
        ("[callbacks]\nallow = \"10.0.0.0/8\"", 2, "a list in brackets"),
        ("[traces]\nsample_ratio = 2.0", 2, "traces.sample_ratio is wrong: give 0 to 1"),
        ("server = 3", 1, "`server` is a section"),
        ("[server\n", 1, ""),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(
            error.contains(&format!("wrong in line {line}: ")) && error.contains(told),
            "{text}: {error}"
        );
        assert!(error.contains('^'), "{text}: {error}");
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("market.toml");
    let text = "[tls]\ncert = \"pki/market.pem\"\nca = \"/srv/ca.pem\"\n[store]\npath = \"souk.db\"";
    fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file)).unwrap();
    assert_eq!(config.tls.cert, directory.path().join("pki/market.pem"));
    assert_eq!(config.tls.ca, Some("/srv/ca.pem".into()));
    let (path, index) = (directory.path().join("souk.db"), directory.path().join("souk.index"));
    assert_eq!(config.store, StoreConfig::Sqlite { path, index });
    for (store, expected) in [
        ("memory", StoreConfig::Memory { index: None }),
        ("postgres://souk@db/souk", StoreConfig::at("postgres://souk@db/souk")),
    ] {
        assert_eq!(load(&format!("[store]\npath = \"{store}\"")).unwrap().store, expected);
    }
    // The defaults are not of the file.
    assert_eq!(load("").unwrap().tls.cert, Path::new("certs/pki/market.pem"));
}

#[test]
fn single_settings_override_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("market.toml");
    fs::write(&file, "[server]\ndrain_seconds = 20\nthreads = 2").unwrap();
    let load = |given: &[&str]| {
        let given: Vec<Assignment> = given.iter().map(|text| text.parse().unwrap()).collect();
        Config::load_under(Some(&file), &given, StoreFlags::default())
    };
    let config =
        load(&["server.drain_seconds=30", "log.level=debug", "callbacks.allow=[\"10.0.0.0/8\"]"]).unwrap();
    assert_eq!((config.server.drain().as_secs(), config.server.threads), (30, 2));
    assert_eq!((config.log.level.as_str(), config.callbacks.allow.len()), ("debug", 1));
    for (given, told) in [
        ("server.lisen=1", "`lisen` is no key in [server]; did you mean `listen`?"),
        ("server.threads=many", "a whole number"),
        ("server.drain_seconds=0", "give 1 to 60"),
        ("drain_seconds=1", "`drain_seconds` is no section; there are"),
    ] {
        let error = load(&[given]).unwrap_err().to_string();
        assert!(error.contains(told), "{given}: {error}");
    }
    assert!("server.threads".parse::<Assignment>().unwrap_err().contains("SECTION.KEY=VALUE"));
}
