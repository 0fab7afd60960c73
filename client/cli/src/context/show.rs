//! `context show`: every setting with its source, or what a context holds.

use clap::{Arg, Args as _};
use serde::Serialize;
use souk_client::config::DEFAULT_TIMEOUT;
use souk_enrolment::context::{Context, ContextName, Description};

use crate::{
    Cell, CliSession, Column, CommonFlags, DataField, Resolved, Shown, When, given::Origin, plain,
    selection::Selected,
};

/// A setting, its value and where that comes from.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SettingRow {
    setting: String,
    value: Option<String>,
    source: Option<String>,
}

impl SettingRow {
    fn new(setting: &str, value: impl AsRef<str>, source: &str) -> Self {
        let value = plain(value.as_ref());
        let value = Some(value).filter(|value| !value.is_empty());
        Self { setting: setting.to_owned(), value, source: Some(source.to_owned()) }
    }

    fn unset(setting: &str) -> Self {
        Self { setting: setting.to_owned(), value: None, source: None }
    }
}

/// Returns every setting in effect. The first ones are about the context.
pub(super) fn effective(session: &CliSession) -> Vec<SettingRow> {
    let resolved = session.resolved();
    let selected = resolved.selection.selected();
    let mut rows = vec![match selected {
        Some(selected) => SettingRow::new("context", selected.name.as_str(), selected.named_by()),
        None => SettingRow::unset("context"),
    }];
    if let Some(Selected { name, description, context, .. }) = resolved.selection.in_use() {
        rows.extend(described(description, &format!("context {name}")));
        rows.extend(certified(context, description, &format!("context {name}")));
    }
    let flags = CommonFlags::augment_args(clap::Command::new(""));
    let flags = flags.get_arguments().filter(|flag| flag.get_long() != Some("context"));
    rows.extend(flags.map(|flag| row(flag, resolved, session.program())));
    rows
}

/// Returns what a context holds.
pub(super) fn of_context(
    name: &ContextName,
    context: &Context,
    description: &Description,
) -> Vec<SettingRow> {
    let mut rows = vec![SettingRow::new("context", name.as_str(), &context.folder().display().to_string())];
    let addresses = description.market.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    rows.extend(described(description, "context.toml"));
    rows.push(SettingRow::new("market", addresses, "context.toml"));
    rows.extend(certified(context, description, "party.pem"));
    rows
}

fn described(description: &Description, source: &str) -> Vec<SettingRow> {
    let party = description.identity.uuid().map(|uuid| uuid.to_string()).unwrap_or_default();
    let authority = description.authorities().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut rows = vec![
        SettingRow::new("role", description.role().as_str(), source),
        SettingRow::new("name", &description.name, source),
        SettingRow::new("party", party, source),
        SettingRow::new("authority", authority, source),
        SettingRow::new("trust-domain", description.trust_domain.as_str(), source),
    ];
    if description.ephemeral {
        rows.push(SettingRow::new("ephemeral", "until the demo ends", source));
    }
    rows
}

fn certified(context: &Context, description: &Description, source: &str) -> Option<SettingRow> {
    let certificate = context.certificate(&description.trust_domain).ok()?;
    Some(SettingRow::new("valid-until", When::from(certificate.not_after()).rfc3339(), source))
}

/// Returns the row of a common flag.
fn row(flag: &Arg, resolved: &Resolved, program: &str) -> SettingRow {
    let name = flag.get_long().unwrap_or_default();
    let source = |origin| source(origin, flag, resolved);
    let client = resolved.client.as_ref();
    let files = client.map(|client| &client.credentials);
    let of_party = resolved.selection.origin_of_credentials().unwrap_or(Origin::Default);
    let path = match name {
        "cert" => files.map(|files| files.cert.clone()),
        "key" => files.map(souk_certs::credentials::CredentialFiles::key_path),
        "ca" => files.map(souk_certs::credentials::CredentialFiles::ca_path),
        "crl" => files.map(souk_certs::credentials::CredentialFiles::crl_path),
        _ => None,
    };
    if ["cert", "key", "ca", "crl"].contains(&name) {
        let shown = path.map(|path| SettingRow::new(name, path.display().to_string(), &source(of_party)));
        return shown.unwrap_or_else(|| SettingRow::unset(name));
    }
    if name == "market" {
        return SettingRow::new(
            name,
            resolved.market.to_string(),
            &source(resolved.selection.origin_of_market()),
        );
    }
    if let Some((text, origin)) = resolved.given.value(name) {
        return SettingRow::new(name, text, &source(origin));
    }
    let default = match name {
        "timeout" => format!("{DEFAULT_TIMEOUT:?}"),
        "output" => "table".to_owned(),
        "time" => "relative".to_owned(),
        "consumer" => resolved.consumer.clone(),
        "config" => crate::flags::default_settings_file(program)
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        _ => return SettingRow::unset(name),
    };
    SettingRow::new(name, default, &source(Origin::Default))
}

fn source(origin: Origin, flag: &Arg, resolved: &Resolved) -> String {
    match origin {
        Origin::Flag => format!("--{}", flag.get_long().unwrap_or_default()),
        Origin::Variable => {
            flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        Origin::Context => {
            let name = resolved.selection.selected().map(|selected| selected.name.to_string());
            format!("context {}", name.unwrap_or_default())
        }
        Origin::File => "settings file".to_owned(),
        Origin::Default => "default".to_owned(),
    }
}

impl Shown for SettingRow {
    const LIST: &'static str = "settings";
    const COLUMNS: &'static [Column] =
        &[Column::word("SETTING"), Column::prose("VALUE"), Column::text("SOURCE")];
    const FIELDS: &'static [DataField] =
        &[DataField::value("setting"), DataField::value("value"), DataField::value("source")];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::from(&self.setting),
            Cell::or_dash(self.value.as_deref()),
            Cell::or_dash(self.source.as_deref()),
        ]
    }
}
