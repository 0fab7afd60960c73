//! The user's editor: `$VISUAL`, `$EDITOR`, or one that is usually there.

use std::{
    env,
    io::{self, IsTerminal as _},
    path::Path,
    process::Command,
};

use souk_cli::{Failure, exit};

/// Tried in this order if neither variable is set.
const USUAL: [&str; 4] = ["sensible-editor", "nano", "vim", "vi"];

/// Opens the editor on a file, and waits until it is closed.
///
/// # Errors
/// There is no editor, or it fails.
pub(super) async fn open(file: &Path) -> Result<(), Failure> {
    let is_there = |name: &str| {
        let folders = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&folders).any(|folder| folder.join(name).is_file())
    };
    let is_terminal = io::stdin().is_terminal();
    let editor = chosen(|name| env::var(name).ok(), |name| is_terminal && is_there(name));
    let editor = editor.ok_or_else(|| {
        Failure::usage(
            "there is no editor to open",
            "set EDITOR, such as EDITOR=nano, or change items with `seller update`",
        )
    })?;
    // By a shell, as git does, because the variables may have arguments. The file's name is not a part of the script.
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file);
    let ended = tokio::task::spawn_blocking(move || command.status()).await;
    let ended = ended.unwrap_or_else(|error| Err(io::Error::other(error)));
    let status = ended.map_err(|error| Failure::io(format!("open the editor {editor:?}"), error))?;
    if !status.success() {
        let message = format!("the editor {editor:?} failed ({status}), and nothing was changed");
        return Err(Failure::undone(message, Some("check VISUAL and EDITOR"), exit::ERROR));
    }
    Ok(())
}

fn chosen(variable: impl Fn(&str) -> Option<String>, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let set = |name| variable(name).filter(|editor| !editor.trim().is_empty());
    let usual = || USUAL.iter().find(|name| is_there(name)).map(|name| (*name).to_owned());
    set("VISUAL").or_else(|| set("EDITOR")).or_else(usual)
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn variables_go_before_what_is_usually_there() {
        let editor = |visual: &str, editor: &str, there: &str| {
            let set = |name: &str| Some(if name == "VISUAL" { visual } else { editor }.to_owned());
            chosen(set, |name| there.split(' ').any(|word| word == name))
        };
        assert_eq!(editor("emacs -nw", "ed", "vi").as_deref(), Some("emacs -nw"));
        assert_eq!(editor("", "ed", "vi").as_deref(), Some("ed"));
        assert_eq!(editor(" ", "", "vi nano").as_deref(), Some("nano"));
        assert_eq!(editor("", "", ""), None);
    }
}
