//! What the market tells its operator: log lines, one of them for each call, figures, and spans.

mod access_log;
mod calls;
pub mod manager;
mod memory;
mod metrics;
pub mod port;
mod traces;

use std::io;

pub use access_log::{AccessLog, AccessLogLayer};
pub use calls::CallTimes;
pub use memory::Memory;
pub use metrics::Metrics;
pub use traces::{SpanCounts, TraceError, Traces};
use tracing_appender::non_blocking::NonBlockingBuilder;
pub use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{Directive, ParseError},
    fmt,
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

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

/// Writes the log to standard error from now on, and makes spans of calls if there is somewhere to send them.
/// Keep the guard: dropping it writes what is left of the log.
pub fn init(config: &LogConfig, traces: Option<&Traces>) -> Result<WorkerGuard, LogError> {
    let wrong = |problem: String| LogError::Level { level: config.level.clone(), problem };
    let filter = EnvFilter::try_new(&config.level).map_err(|error| wrong(error.to_string()))?;
    // Spans are for the collector; a line of the log tells the same in fewer words.
    let no_spans: Directive =
        format!("{}=off", traces::TARGET).parse().map_err(|error: ParseError| wrong(error.to_string()))?;
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).finish(io::stderr());
    let lines = fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Words => {
            lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).with_target(false).boxed()
        }
    };
    registry()
        .with(lines.with_filter(filter.add_directive(no_spans)))
        .with(traces.map(Traces::layer))
        .try_init()
        .map_err(|_| LogError::Twice)?;
    Ok(guard)
}
