//! `market join`: the certificate of this host's market, for an invitation code.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use souk_certs::{clock::Clock, random::Random};
use souk_cli::{Failure, Output, ended, exit, invitation_code, join_refused};
use souk_enrolment::{
    context::{Context, Description},
    host::{HostJoinError, join_host},
    renewal::nominal_due,
};

use super::home;

/// Get this market's certificate with an invitation code
///
/// The code comes from `gen-certs invite market NAME`, on the authority's machine. `market serve` finds the certificate, and
/// renews it. After an interruption, the same command continues. A code of `gen-certs invite market NAME --again` replaces the
/// certificate of the same market, also while it is open.
#[derive(Args)]
#[command(after_help = "Examples:\n  market join souk1ae3k…\n  market join --dir /srv/souk/market <code.txt")]
pub(super) struct JoinArgs {
    /// The invitation code; without it, you are asked, or it is read from standard input.
    code: Option<String>,
    /// The folder for the certificate and the market's keys [default: /etc/souk/market; for users other than root
    /// ~/.local/share/souk/market].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) async fn run(args: JoinArgs) -> ExitCode {
    ended(args.join().await, Output::default())
}

impl JoinArgs {
    async fn join(self) -> Result<(), Failure> {
        let no_home =
            || Failure::usage("this user has no home folder", "name a folder: market join --dir DIR");
        let is_default = self.dir.is_none();
        let folder = self.dir.or_else(home::market).ok_or_else(no_home)?;
        let code = invitation_code(self.code.as_deref(), "market").await?;
        let context = Context::at(&folder);
        let joined = join_host(&context, &code, Vec::new(), (Clock::SYSTEM, Random::SYSTEM)).await;
        let description = joined.map_err(|error| match error {
            HostJoinError::Join(error) => join_refused(error, &code, "market"),
            HostJoinError::Context(error) => error.into(),
            taken @ HostJoinError::Taken { .. } => Failure::undone(
                taken.to_string(),
                Some("name another folder with --dir, or remove this one first"),
                exit::CONFLICT,
            ),
            HostJoinError::OtherName { ref found, .. } => {
                let hint = format!(
                    "the code is used up: get another one with `gen-certs invite market {found} --again`, and name another \
                     folder with --dir"
                );
                Failure::undone(error.to_string(), Some(&hint), exit::CONFLICT)
            }
            other => Failure::undone(
                other.to_string(),
                Some("tell the authority's operator; then run the same command again"),
                exit::IDENTITY,
            ),
        })?;
        let serve = match is_default {
            true => "market serve".to_owned(),
            false => format!("market serve --set tls.context={}", folder.display()),
        };
        report(&context, &description, &serve)
    }
}

fn report(context: &Context, description: &Description, serve: &str) -> Result<(), Failure> {
    let certificate = context.certificate(&description.trust_domain)?;
    let (until, renewed) = (certificate.not_after().date(), nominal_due(&certificate).date());
    let name = souk_cli::plain(&description.name);
    souk_stdio::print(format_args!(
        "joined as market {name}, valid until {until}, renewed by itself from {renewed}\nstart it: {serve}\n"
    ));
    Ok(())
}
