//! A progress bar for imports, on a terminal.

use std::{fs, io::IsTerminal as _, path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The maximum number of redraws per second.
const DRAWS_PER_SECOND: u8 = 10;

pub(super) fn bar(file: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
    // Standard input has no size.
    match fs::metadata(file) {
        Ok(found) => {
            let bar = ProgressBar::with_draw_target(Some(found.len()), target);
            bar.set_style(style("{wide_bar} {bytes}/{total_bytes}, {msg} rows, {eta} left"));
            bar
        }
        Err(_) => {
            let bar = ProgressBar::with_draw_target(None, target);
            bar.set_style(style("{spinner} {bytes}, {msg} rows"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
