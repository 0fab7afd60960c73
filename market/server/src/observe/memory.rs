//! Memory usage of a process, from `/proc/PID/status` on Linux (proc_pid_status(5)).

use std::{fs, io};

/// Resident memory by kind. The kernel can reclaim mapped files (database, search index, programs) when it needs
/// memory, but not anonymous memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous memory in bytes: heap and stacks (RssAnon).
    pub anonymous: u64,
    /// Resident parts of mapped files in bytes (RssFile).
    pub of_files: u64,
}

impl Memory {
    /// Returns the memory usage of this process.
    ///
    /// # Errors
    /// Returns an error if there is no `/proc`, or if it lacks the fields that Linux has since 4.5.
    pub fn own() -> io::Result<Self> {
        Self::read("self")
    }

    /// Returns the memory usage of another process.
    ///
    /// # Errors
    /// Returns an error if the process has ended, and the errors of [`own`](Self::own).
    pub fn of(process: u32) -> io::Result<Self> {
        Self::read(&process.to_string())
    }

    fn read(process: &str) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        Self::parse(&status).ok_or_else(|| io::Error::other("/proc/self/status has no RssAnon or RssFile"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok()?;
            kibibytes.checked_mul(1_024)
        };
        Some(Self { anonymous: bytes("RssAnon")?, of_files: bytes("RssFile")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let status = "Name:\tmarket\nVmRSS:\t   12 kB\nRssAnon:\t     152 kB\nRssFile:\t    1756 kB\nRssShmem:\t       0 kB\n";
        let memory = Memory { anonymous: 152 * 1_024, of_files: 1_756 * 1_024 };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("RssAnon:\t152 kB\n"), None);
        assert!(Memory::own().unwrap().anonymous > 0);
    }
}
