//! What the market tells its operator: log lines, one of them for each call, and figures.

mod access_log;
mod calls;
pub mod manager;
mod metrics;
pub mod port;

use std::io;

pub use access_log::{AccessLog, AccessLogLayer};
pub use calls::CallTimes;
pub use metrics::Metrics;
use tracing_appender::non_blocking::NonBlockingBuilder;
pub use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogConfig, LogFormat};

/// Log lines that wait for a slow terminal or disk. Further ones are dropped: a call never waits for its
/// log line.
const WAITING_LINES: usize = 16_384;

/// The log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("the log level {level:?} is wrong: {problem}; use error, warn, info or debug")]
    Level {
        /// As given.
        level: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is a log already.
    #[error("the log was set up twice")]
    Twice,
}

/// Writes the log to standard error from now on. Keep the guard: dropping it writes what is left.
pub fn init(config: &LogConfig) -> Result<WorkerGuard, LogError> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|error| LogError::Level { level: config.level.clone(), problem: error.to_string() })?;
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).finish(io::stderr());
    let lines = fmt().with_env_filter(filter).with_writer(writer);
    let installed = match config.format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Words => {
            lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).with_target(false).try_init()
        }
    };
    installed.map_err(|_| LogError::Twice)?;
    Ok(guard)
}
