//! Observability: the log with one line per call, metrics, and spans.

mod access_log;
mod activity;
mod calls;
pub mod manager;
mod memory;
mod metrics;
pub mod port;
mod traces;

use std::io;

pub use access_log::{AccessLog, AccessLogLayer};
pub use activity::Activity;
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

/// Capacity of the queue of log lines that wait for a slow terminal or disk. Further ones are dropped, because a call
/// must never wait for its log line.
const WAITING_LINES: usize = 16_384;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is neither a known name nor a valid directive.
    #[error("the log level {level:?} is wrong: {problem}; use error, warn, info or debug")]
    Level {
        /// The level from the settings.
        level: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The process has already set up a log.
    #[error("the log was set up twice")]
    Twice,
}

/// Starts logging to standard error, and creating spans if `traces` is given. Keep the returned guard until the end
/// of the program: dropping it flushes the log.
pub fn init(config: &LogConfig, traces: Option<&Traces>) -> Result<WorkerGuard, LogError> {
    let wrong = |problem: String| LogError::Level { level: config.level.clone(), problem };
    let filter = EnvFilter::try_new(&config.level).map_err(|error| wrong(error.to_string()))?;
    // Spans are for the collector only. In the log, they would repeat what the line of each call says.
    let no_spans: Directive =
        format!("{}=off", traces::TARGET).parse().map_err(|error: ParseError| wrong(error.to_string()))?;
    // Without blocking: if stderr is a pipe that nobody reads, lines are dropped instead of stopping all
    // calls.
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
