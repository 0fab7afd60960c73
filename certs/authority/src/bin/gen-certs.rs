//! `gen-certs`: issues and manages the certificates of a Souk market. The commands are in
//! [`souk_authority::command`].

use std::{io::Write as _, process::ExitCode};

use souk_authority::command;
use souk_certs::clock;
use souk_stdio::{Stdout, errln};

fn main() -> ExitCode {
    let cli = command::Cli::read();
    let done = cli.run(clock::now(), &mut Stdout).and_then(|()| Ok(Stdout.flush()?));
    let Err(error) = done else { return ExitCode::SUCCESS };
    errln!("error: {error:#}");
    ExitCode::from(command::exit_code(&error))
}
