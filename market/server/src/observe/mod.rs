//! Observability: the log with one line per call, metrics, and spans.

mod access_log;
mod activity;
mod admin_connections;
mod calls;
pub mod checks;
pub mod manager;
mod memory;
mod metrics;
pub mod port;
pub mod process;
mod refused_lines;
mod server_timing;
mod talkers;
mod tally;
mod traces;
mod usage;

use std::{io, sync::Arc};

pub use access_log::{AccessLog, AccessLogLayer, AccessLogOptions};
pub use activity::Activity;
pub use admin_connections::{ADMIN_CONNECTIONS, ADMIN_WAITING};
pub use calls::CallTimes;
pub use memory::Memory;
pub use metrics::Metrics;
pub use talkers::{PartyUsage, Talker, Top, TopTalkers, WINDOW};
pub use tally::{Tallied, Tally};
pub use traces::{SpanCounts, TraceError, Traces};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{Directive, ParseError},
    fmt,
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};
pub use usage::{Usage, UsageTotals};

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

/// The log. Keep it until the end of the program: dropping it writes what is still queued.
pub struct Log {
    dropped: ErrorCounter,
    _guard: WorkerGuard,
}

impl Log {
    /// Returns what is counted of the log and of the spans, for metrics.
    pub fn outputs(&self, traces: Option<&Traces>) -> Outputs {
        Outputs { lines: Some(self.dropped.clone()), spans: traces.map(Traces::counts).unwrap_or_default() }
    }
}

/// What a market's log and its spans have dropped. By default, of a market without either.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    lines: Option<ErrorCounter>,
    /// The counts of spans.
    pub spans: Arc<SpanCounts>,
}

impl Outputs {
    /// Returns the number of log lines that were dropped because the terminal or disk was too slow.
    pub fn dropped_lines(&self) -> u64 {
        let dropped = self.lines.as_ref().map_or(0, ErrorCounter::dropped_lines);
        u64::try_from(dropped).unwrap_or(u64::MAX)
    }
}

/// Starts logging to standard error, and creating spans if `traces` is given.
pub fn init(config: &LogConfig, traces: Option<&Traces>) -> Result<Log, LogError> {
    let wrong = |problem: String| LogError::Level { level: config.level.clone(), problem };
    let filter = EnvFilter::try_new(&config.level).map_err(|error| wrong(error.to_string()))?;
    // Spans are for the collector only. In the log, they would repeat what the line of each call says.
    let no_spans: Directive =
        format!("{}=off", traces::TARGET).parse().map_err(|error: ParseError| wrong(error.to_string()))?;
    // Without blocking: if stderr is a pipe that nobody reads, lines are dropped instead of stopping all
    // calls.
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).finish(io::stderr());
    let dropped = writer.error_counter();
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
    Ok(Log { dropped, _guard: guard })
}
