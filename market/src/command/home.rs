//! Where a market keeps its certificate and data unless a flag says otherwise.

use std::path::PathBuf;

/// The folder of `market join` for root.
const SYSTEM: &str = "/etc/souk/market";

/// Returns the folder of `market join`: `/etc/souk/market` for root, and `souk/market` in the user's data folder for others.
/// `None` if the user has no home folder.
pub(super) fn market() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(SYSTEM));
    }
    data().map(|data| data.join("market"))
}

/// Returns `souk` in the user's data folder: `$XDG_DATA_HOME`, or else `~/.local/share` (XDG Base Directory Specification).
pub(super) fn data() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("souk"))
}
