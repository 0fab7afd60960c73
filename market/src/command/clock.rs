//! `market clock`: shows the clocks of a market and ends the pause after a jump, over the network or on its store.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use souk_cli::{
    Cell, CliSession, Column, CommonFlags, DataField, Failure, Look, Printer, Shown, ended, view,
};
use souk_client::{Error, error::required};
use souk_proto::v1;
use souk_server::{
    app::{accept_stored_clock, stored_clock},
    clock::Clock,
    config::{Config, StoreFlags},
    random::Random,
};
use souk_store::ClockMark;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Show a market's clocks, or end the pause after its wall clock has jumped
///
/// Asks a running market, as an operator; with --store, works on the store of a market that is stopped.
#[derive(Args)]
#[command(after_help = "Examples:\n  market clock show --market market.example:7443\n  \
                        market clock accept --store souk.db    # on the machine of a market that is stopped")]
pub(super) struct ClockArgs {
    #[command(flatten)]
    flags: CommonFlags,
    /// Work on this store instead: a SQLite file, or the address of a PostgreSQL database.
    // Without a variable: SOUK_STORE is set where a market runs, and must not hide it.
    #[arg(long, value_name = "STORE", global = true)]
    store: Option<PathBuf>,
    #[command(subcommand)]
    command: ClockCommand,
}

#[derive(Clone, Copy, Subcommand)]
enum ClockCommand {
    /// Show wall time, steady time, and whether clean-up is paused
    #[command(after_help = "Example:\n  market clock show")]
    Show,
    /// Confirm that the wall clock is right: clean-up resumes
    #[command(
        after_help = "Examples:\n  market clock accept\n  market clock accept --store souk.db    # on the machine of a market that is stopped"
    )]
    Accept,
}

pub(super) async fn run(args: ClockArgs) -> anyhow::Result<ExitCode> {
    let ClockArgs { flags, store, command } = args;
    let output = flags.output.unwrap_or_default();
    let done = match store {
        Some(store) => {
            let row = ClockRow::of_store(&stored(store, command).await?)?;
            Printer::new(Look::of(output)).one(&row)
        }
        None => asked(flags, command).await,
    };
    Ok(ended(done, output))
}

/// Asks a running market.
async fn asked(flags: CommonFlags, command: ClockCommand) -> Result<(), Failure> {
    let session = CliSession::new("admin", flags.resolve("admin")?);
    session.printer().expects::<ClockRow>()?;
    let clock = match command {
        ClockCommand::Show => session.call(v1::GetClockRequest {}).await?.clock,
        ClockCommand::Accept => session.call(v1::AcceptClockRequest {}).await?.clock,
    };
    session.printer().one(&ClockRow::of(&required(clock, "clock")?)?)
}

/// Works on the store itself.
async fn stored(store: PathBuf, command: ClockCommand) -> anyhow::Result<ClockMark> {
    let flags = StoreFlags { path: Some(store), ..StoreFlags::default() };
    let config = Config::load_under(None, &[], flags)?.store;
    anyhow::ensure!(!config.is_memory(), "a market in memory keeps its clock to itself; leave --store out");
    // Before it is accepted too: opening the store for that would create one under a mistyped name.
    let present =
        stored_clock(&config).await?.context("no market has run on this store yet; check --store")?;
    match command {
        ClockCommand::Show => Ok(present),
        ClockCommand::Accept => Ok(accept_stored_clock(&config, (Clock::SYSTEM, Random::SYSTEM))
            .await
            .context("can't accept the clock on the store; if its market is running, leave --store out")?),
    }
}

/// The clocks as shown.
#[derive(serde::Serialize)]
struct ClockRow {
    wall_time: String,
    steady_time: String,
    paused: bool,
    pause_left_seconds: u64,
    jump_seconds: i64,
}

impl ClockRow {
    fn of(state: &v1::ClockState) -> Result<Self, Error> {
        let left = state.pause_left.as_ref().map_or(0, |left| left.seconds);
        Ok(Self {
            wall_time: required(view::time(state.wall_time.as_ref()), "wall_time")?,
            steady_time: required(view::time(state.steady_time.as_ref()), "steady_time")?,
            paused: state.paused,
            pause_left_seconds: u64::try_from(left).unwrap_or(0),
            jump_seconds: state.jump_seconds,
        })
    }

    fn of_store(mark: &ClockMark) -> Result<Self, time::error::Format> {
        Ok(Self {
            wall_time: OffsetDateTime::from(mark.wall).format(&Rfc3339)?,
            steady_time: OffsetDateTime::from(mark.steady).format(&Rfc3339)?,
            paused: mark.is_paused(),
            pause_left_seconds: mark.pause_left().as_secs(),
            jump_seconds: mark.jump_seconds,
        })
    }
}

impl Shown for ClockRow {
    const LIST: &'static str = "clocks";
    const COLUMNS: &'static [Column] = &[
        Column::word("WALL"),
        Column::word("STEADY"),
        Column::word("PAUSED"),
        Column::number("LEFT (S)"),
        Column::number("JUMP (S)"),
    ];
    const SELECTABLE: &'static [DataField] = &[
        DataField::value("wall_time"),
        DataField::value("steady_time"),
        DataField::value("paused"),
        DataField::value("pause_left_seconds"),
        DataField::value("jump_seconds"),
    ];

    fn cells(&self) -> Vec<Cell> {
        // In UTC, whatever the style of times is: they are compared with the clocks of other machines.
        vec![
            Cell::from(&self.wall_time),
            Cell::from(&self.steady_time),
            if self.paused { "yes" } else { "no" }.into(),
            self.pause_left_seconds.to_string().into(),
            self.jump_seconds.into(),
        ]
    }
}
