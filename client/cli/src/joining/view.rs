//! What `join` prints.

use serde::Serialize;
use souk_client::MarketAddresses;
use souk_enrolment::renewal;
use time::Date;

use super::MadeCurrent;
use crate::{Cell, CliSession, Column, DataField, Failure, Shown, When, plain, selection::Selected};

/// A party that has joined.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JoinedView {
    role: &'static str,
    name: String,
    context: String,
    party_id: Option<String>,
    valid_until: When,
    renews_from: When,
    /// The market at which the party is registered.
    registered_at: Option<String>,
    is_current: bool,
    current_before: Option<String>,
    #[serde(skip)]
    dates: (Date, Date),
    #[serde(skip)]
    is_ephemeral: bool,
}

impl JoinedView {
    pub(super) fn of(selected: &Selected) -> Result<Self, Failure> {
        let description = &selected.description;
        let certificate = selected.context.certificate(&description.trust_domain)?;
        let (until, renews) = (certificate.not_after(), renewal::nominal_due(&certificate));
        Ok(Self {
            role: description.role().as_str(),
            name: plain(&description.name),
            context: selected.name.to_string(),
            party_id: description.identity.uuid().map(|uuid| uuid.to_string()),
            valid_until: until.into(),
            renews_from: renews.into(),
            registered_at: None,
            is_current: false,
            current_before: None,
            dates: (until.date(), renews.date()),
            is_ephemeral: description.ephemeral,
        })
    }

    /// Says that the certificate is there, before the market is asked.
    pub(super) fn say_joined(&self, session: &CliSession) -> Result<(), Failure> {
        if !session.printer().is_for_people() {
            return Ok(());
        }
        let (role, name, (until, renews)) = (self.role, &self.name, self.dates);
        let life = match self.is_ephemeral {
            true => "as long as the demo runs".to_owned(),
            false => format!("valid until {until}, renewed by itself from {renews}"),
        };
        session.printer().write_raw(&format!("joined as {role} {name}, {life}\n"))
    }

    /// Adds what happened after that.
    pub(super) fn complete(&mut self, registered: Option<MarketAddresses>, made: MadeCurrent) {
        self.registered_at = registered.map(|market| market.to_string());
        self.is_current = made.is_current;
        self.current_before = made.before.map(|name| name.to_string());
    }

    /// Prints the rest, or everything as data.
    pub(super) fn print(&self, session: &CliSession) -> Result<(), Failure> {
        session.printer().event(self, &self.sentence(session))
    }

    fn sentence(&self, session: &CliSession) -> String {
        let command = session.audience().command().unwrap_or_default();
        let name = &self.context;
        let current = match (self.is_current, &self.current_before) {
            (true, None) => format!("context {name} is current"),
            (true, Some(before)) => {
                format!(
                    "context {name} is current; before, {before} was: `{command} context use {before}` returns to it"
                )
            }
            (false, Some(before)) => {
                format!(
                    "context {before} stays the current one; use this one with `{command} --context {name}`"
                )
            }
            (false, None) => {
                format!("your settings file stays in use; use this context with `{command} --context {name}`")
            }
        };
        match &self.registered_at {
            Some(market) => format!("registered at {market}; {current}"),
            None => current,
        }
    }
}

impl Shown for JoinedView {
    const LIST: &'static str = "joined";
    const COLUMNS: &'static [Column] = &[
        Column::word("ROLE"),
        Column::text("NAME"),
        Column::word("CONTEXT"),
        Column::word("VALID UNTIL"),
        Column::text("REGISTERED AT"),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("role"),
        DataField::value("name"),
        DataField::value("context"),
        DataField::value("party_id"),
        DataField::value("valid_until"),
        DataField::value("renews_from"),
        DataField::value("registered_at"),
        DataField::value("is_current"),
        DataField::value("current_before"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.role.into(),
            Cell::from(&self.name),
            Cell::from(&self.context),
            Cell::time(Some(self.valid_until)),
            Cell::or_dash(self.registered_at.as_deref()),
        ]
    }
}
