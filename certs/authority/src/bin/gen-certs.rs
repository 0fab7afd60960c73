//! `gen-certs`: issues and manages the certificates of a Souk market. The commands are in
//! [`souk_authority::command`].

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use souk_authority::command;
use souk_certs::clock;

fn main() -> ExitCode {
    let cli = command::Cli::parse();
    let mut out = io::stdout().lock();
    let done = cli.run(clock::now(), &mut out).and_then(|()| Ok(out.flush()?));
    let Err(error) = done else { return ExitCode::SUCCESS };
    // A closed pipe, as in `gen-certs list | head -1`, is not a failure.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::from(command::exit_code(&error))
}
