//! A setting that is given on the command line.

use std::str::FromStr;

use toml::{Table, Value};

use super::{
    ConfigError,
    file::{parsed, plainly, put, unknown},
};

/// A setting with its value, written `server.drain_seconds=20`. It overrides the settings file.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    keys: Vec<String>,
    value: Value,
    text: String,
}

impl FromStr for Assignment {
    type Err = String;

    /// Parses `SECTION.KEY=VALUE`. A value that is not valid TOML is a string, so that quotes can be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("write SECTION.KEY=VALUE, such as server.drain_seconds=20".to_owned());
        };
        let keys = name.trim().split('.').map(str::to_owned).collect();
        let value = value.trim();
        let read = format!("value = {value}").parse::<Table>().ok().filter(|table| table.len() == 1);
        let read = read.and_then(|mut table| table.remove("value"));
        Ok(Self {
            keys,
            value: read.unwrap_or_else(|| Value::String(value.to_owned())),
            text: text.to_owned(),
        })
    }
}

impl Assignment {
    /// Returns whether it sets the setting with this name, such as `tls.cert`.
    pub fn sets(&self, name: &str) -> bool {
        self.keys.iter().map(String::as_str).eq(name.split('.'))
    }

    /// Sets the value in a table of all settings.
    pub(super) fn apply(&self, settings: &mut Table) -> Result<(), ConfigError> {
        put(settings, &self.keys, self.value.clone());
        match parsed(settings.clone()) {
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::Assignment {
                setting: self.text.clone(),
                problem: unknown(&self.keys, error.message()).unwrap_or_else(|| plainly(error.message())),
            }),
        }
    }
}
