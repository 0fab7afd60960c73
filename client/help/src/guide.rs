//! The commands that print completion scripts and manual pages.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::layout::manual;

/// Commands about a program itself, which every program has.
#[derive(Clone, Debug, Subcommand)]
pub enum Guide {
    /// Print a completion script for your shell
    #[command(after_help = "Examples:
  {program} completions bash > ~/.local/share/bash-completion/completions/{program}
  {program} completions zsh > ~/.zfunc/_{program}    # with ~/.zfunc in $fpath
  {program} completions fish > ~/.config/fish/completions/{program}.fish")]
    Completions {
        /// The shell that will read the script.
        shell: Shell,
    },
    /// Print the manual page of the program or of a command (roff), or write all of them
    #[command(after_help = "Examples:
  {program} man | man -l -
  {program} man completions | man -l -
  {program} man --dir ~/.local/share/man/man1")]
    Man {
        /// The command; without one, the page of the program is printed.
        command: Vec<String>,
        /// Write the pages of all commands to this folder instead.
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        dir: Option<PathBuf>,
    },
}

/// Why a page or script was not written.
#[derive(Debug, thiserror::Error)]
pub enum GuideError {
    /// The program has no such command.
    #[error("there is no command `{0}`; --help lists the commands")]
    NoSuchCommand(String),
    /// Writing failed.
    #[error("can't write {what}: {source}")]
    Io {
        /// What was to be written.
        what: String,
        /// The cause, from the operating system.
        source: io::Error,
    },
}

impl Guide {
    /// Runs the command for a program. A reader that has gone away (`| head`) is not an error.
    ///
    /// # Errors
    /// The program has no such command, or writing failed.
    pub fn run(&self, program: Command, out: &mut dyn Write) -> Result<(), GuideError> {
        match self {
            Self::Completions { shell } => written(out, &completions(program, *shell), "the script"),
            Self::Man { dir: Some(dir), .. } => write_pages(program, dir),
            Self::Man { command, dir: None } => written(out, &page(program, command)?, "the manual page"),
        }
    }
}

fn completions(mut program: Command, shell: Shell) -> Vec<u8> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name.as_str(), &mut script);
    match String::from_utf8(script) {
        // clap_complete (4.6.11) writes the hyphen of a program's name in two ways, and so does not find the commands
        // below such a program's commands.
        Ok(text) if shell == Shell::Bash && name.contains('-') => {
            text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__")).into_bytes()
        }
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

fn written(out: &mut dyn Write, text: &[u8], what: &str) -> Result<(), GuideError> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(GuideError::Io { what: what.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Returns the manual page of a command of the program, or of the program itself if no command is named.
///
/// # Errors
/// The program has no such command.
pub(crate) fn page(program: Command, command: &[String]) -> Result<Vec<u8>, GuideError> {
    let program = pages_of(program);
    let no_such = || GuideError::NoSuchCommand(command.join(" "));
    let found = command.iter().try_fold(&program, |above, name| above.find_subcommand(name));
    rendered(found.ok_or_else(no_such)?).map(|(_, page)| page)
}

/// Writes a page for each command to a folder, which is created.
fn write_pages(program: Command, dir: &Path) -> Result<(), GuideError> {
    fn write(command: &Command, dir: &Path) -> Result<(), GuideError> {
        let (name, page) = rendered(command)?;
        let path = dir.join(name);
        fs::write(&path, page).map_err(|source| failed(&path, source))?;
        command.get_subcommands().try_for_each(|below| write(below, dir))
    }
    fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
    write(&pages_of(program), dir)
}

fn failed(path: &Path, source: io::Error) -> GuideError {
    GuideError::Io { what: path.display().to_string(), source }
}

/// Returns the commands as manual pages show them.
fn pages_of(program: Command) -> Command {
    // `help` is about the other commands, which have pages of their own.
    let mut program = manual(program.disable_help_subcommand(true));
    program.build();
    program
}

/// Returns the file name of a page, and the page.
fn rendered(command: &Command) -> Result<(String, Vec<u8>), GuideError> {
    let page = Man::new(command.clone()).source("Souk").manual("Souk");
    let mut text = Vec::new();
    page.render(&mut text).map_err(|source| GuideError::Io { what: "the manual page".to_owned(), source })?;
    Ok((page.get_filename(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let ride = Command::new("ride").about("Rides").subcommand(Command::new("end").about("End a ride"));
        Command::new("shop").about("A shop").subcommand(Guide::augment_subcommands(ride))
    }

    fn printed(guide: &Guide) -> Result<String, GuideError> {
        let mut out = Vec::new();
        guide.run(program(), &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_command_has_a_page() {
        let man = |words: &[&str]| {
            printed(&Guide::Man { command: words.iter().map(|&word| word.to_owned()).collect(), dir: None })
        };
        assert!(man(&[]).unwrap().contains("shop \\- A shop"));
        let end = man(&["ride", "end"]).unwrap();
        assert!(end.contains(".TH shop-ride-end 1") && end.contains("End a ride"), "{end}");
        assert!(man(&["ride", "start"]).unwrap_err().to_string().contains("`ride start`"));
    }

    #[test]
    fn all_pages_are_written_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("share/man1");
        printed(&Guide::Man { command: Vec::new(), dir: Some(dir.clone()) }).unwrap();
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected =
            ["shop-ride-completions.1", "shop-ride-end.1", "shop-ride-man.1", "shop-ride.1", "shop.1"];
        assert_eq!(names, expected);
    }

    #[test]
    fn scripts_name_the_commands() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = printed(&Guide::Completions { shell }).unwrap();
            assert!(script.contains("ride") && script.contains("shop"), "{shell}");
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        Guide::Completions { shell: Shell::Bash }.run(program(), &mut Gone).unwrap();
    }
}
