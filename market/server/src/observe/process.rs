//! Open files and CPU time of this process, from `/proc` on Linux (proc(5)).

use std::{fs, io};

/// The unit of CPU time in `/proc`, as a fraction of a second. It is the same on every architecture that Linux supports
/// Rust on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the number of open file descriptors, sockets included.
///
/// # Errors
/// Returns an error if there is no `/proc`, or if no further file can be opened.
pub fn open_files() -> io::Result<u64> {
    Ok(u64::try_from(fs::read_dir("/proc/self/fd")?.count()).unwrap_or(u64::MAX))
}

/// Returns the maximum number of open file descriptors.
///
/// # Errors
/// Returns an error if there is no `/proc`.
pub fn most_files() -> io::Result<u64> {
    most_files_in(&fs::read_to_string("/proc/self/limits")?).ok_or_else(missing)
}

/// Returns the CPU time in seconds, in the kernel and outside.
///
/// # Errors
/// Returns an error if there is no `/proc`, or if no further file can be opened.
pub fn cpu_seconds() -> io::Result<f64> {
    cpu_seconds_in(&fs::read_to_string("/proc/self/stat")?).ok_or_else(missing)
}

fn missing() -> io::Error {
    io::Error::other("/proc/self lacks a figure")
}

fn most_files_in(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // The soft limit, which is the one that counts.
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn cpu_seconds_in(stat: &str) -> Option<f64> {
    // The name before it is in parentheses and may contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    // The 14th and 15th fields, where the one after the name is the third.
    let mut times = rest.split_whitespace().skip(11).map(|ticks| ticks.parse::<u32>().ok().map(f64::from));
    Some((times.next()?? + times.next()??) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_linux_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(most_files_in(limits), Some(1_024));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1 1\n";
        assert_eq!(cpu_seconds_in(stat), Some(3.0));
        let (open, most) = (open_files().unwrap(), most_files().unwrap());
        assert!(open > 0 && most >= open, "{open} of {most}");
        assert!(cpu_seconds().is_ok());
    }
}
