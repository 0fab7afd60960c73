//! The operator's settings file, laid over the defaults.

use std::path::Path;

use souk_settings::{Entry, SettingsError, SettingsFile, closest};
use souk_store::postgres;
use toml::{Table, Value};

use super::{ConfigError, Settings, store::MEMORY};

/// The settings that are paths. Relative ones are relative to the file, so that it can be used from any folder.
const PATHS: [&str; 11] = [
    "tls.context",
    "tls.cert",
    "tls.key",
    "tls.ca",
    "tls.crl",
    "tls.token_key",
    STORE,
    "store.index",
    "store.password_file",
    "store.ca",
    "search.synonyms",
];
/// The one path that may be something else.
const STORE: &str = "store.path";

/// Lays a file over the defaults. Each entry is also tried alone, so that a mistake is known to be in its line.
///
/// # Errors
/// A key is unknown, or a value has the wrong type.
pub(super) fn lay_over(defaults: &Table, file: &SettingsFile) -> Result<Table, SettingsError> {
    let mut all = defaults.clone();
    for entry in file.entries() {
        let value = resolved(file, entry);
        let mut alone = defaults.clone();
        put(&mut alone, entry.keys(), value.clone());
        if let Err(error) = parsed(alone) {
            return Err(mistake(defaults, file, entry, error.message()));
        }
        put(&mut all, entry.keys(), value);
    }
    Ok(all)
}

/// Parses all settings.
pub(super) fn parsed(table: Table) -> Result<Settings, toml::de::Error> {
    Value::Table(table).try_into()
}

/// Adds the line to an error about a setting that is in the file.
pub(super) fn located(error: ConfigError, file: Option<&SettingsFile>) -> ConfigError {
    let ConfigError::OutOfBounds { key, problem } = &error else { return error };
    let found = file.and_then(|file| file.find(key).map(|entry| (file, entry)));
    match found {
        Some((file, entry)) => file.wrong_value(entry, format!("{key} is wrong: {problem}")).into(),
        None => error,
    }
}

/// Sets a value, and creates the sections above it.
pub(super) fn put(table: &mut Table, keys: &[String], value: Value) {
    let Some((last, above)) = keys.split_last() else { return };
    let mut at = table;
    for key in above {
        let section = at.entry(key.as_str()).or_insert_with(|| Value::Table(Table::new()));
        if !section.is_table() {
            *section = Value::Table(Table::new());
        }
        let Value::Table(below) = section else { return };
        at = below;
    }
    // A section without keys changes nothing.
    if !(at.get(last).is_some_and(Value::is_table) && is_empty(&value)) {
        at.insert(last.clone(), value);
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_table().is_some_and(Table::is_empty)
}

/// Returns the value of an entry, with a path as it is meant in the file.
fn resolved(file: &SettingsFile, entry: &Entry) -> Value {
    let name = entry.name();
    let is_path = |text: &&str| {
        let is_elsewhere = name == STORE && (*text == MEMORY || postgres::is_address(Path::new(*text)));
        PATHS.contains(&name.as_str()) && !is_elsewhere
    };
    let path = entry.value().as_str().filter(is_path).map(|text| file.resolved(text));
    // A path that is not UTF-8 stays as it is written: only the folder's name can be the cause.
    let path = path.and_then(|path| path.into_os_string().into_string().ok());
    path.map_or_else(|| entry.value().clone(), Value::String)
}

/// Describes what is wrong with an entry, given the parser's message about it.
fn mistake(defaults: &Table, file: &SettingsFile, entry: &Entry, message: &str) -> SettingsError {
    let name = entry.name();
    if let Some(problem) = unknown(entry.keys(), message) {
        return file.wrong_key(entry, problem);
    }
    let is_section = |key: &String| defaults.get(key).is_some_and(Value::is_table);
    if entry.keys().len() == 1 && is_section(&entry.keys()[0]) {
        let problem = format!("`{name}` is a section; write [{name}], and its keys below");
        return file.wrong_key(entry, problem);
    }
    file.wrong_value(entry, format!("{name} is wrong: {}", plainly(message)))
}

/// Describes an unknown key or section, if that is what the parser's message is about, and suggests a known one.
pub(super) fn unknown(keys: &[String], message: &str) -> Option<String> {
    // Between backticks: the unknown name, then the known ones.
    let mut names = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let (unknown, known) = (names.next()?, names.collect::<Vec<_>>());
    let place = match keys {
        [section, _, ..] if section != unknown => format!("key in [{section}]"),
        _ => "section".to_owned(),
    };
    let instead = match closest(unknown, known.iter().copied()) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Some(format!("`{unknown}` is no {place}; {instead}"))
}

/// Rewords the messages of the parser about types.
pub(super) fn plainly(message: &str) -> String {
    if let Some(problem) = souk_settings::expected_type(message) {
        return problem;
    }
    match message {
        "invalid socket address syntax" => "write an address as IP:port, such as 127.0.0.1:7443".to_owned(),
        "invalid IP address syntax" => "write a network like 10.0.0.0/8".to_owned(),
        other => other.to_owned(),
    }
}
