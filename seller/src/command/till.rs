//! `seller till`: lists and removes the tills that `seller sync` has opened.

use clap::Subcommand;
use souk_cli::{CliSession, Failure, view::TillView};
use souk_proto::v1::{ListTillsRequest, RemoveTillRequest};

/// Your tills: the programs that keep count of stock with `seller sync`
#[derive(Subcommand)]
pub(crate) enum Till {
    /// List your tills
    #[command(after_help = "Example:\n  seller till list")]
    List,
    /// Remove a till, with its count of lines
    #[command(after_help = "Example:\n  seller till rm shop-2")]
    Rm {
        /// The till's name, as `till list` shows it.
        till: String,
    },
}

impl Till {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        match self {
            Self::List => {
                let request = ListTillsRequest {};
                let listed = session.call(request).await?;
                let tills: Vec<_> = listed.tills.iter().map(TillView::from).collect();
                session.printer().list(&tills)
            }
            Self::Rm { till } => {
                let request = RemoveTillRequest { till: till.clone(), ..Default::default() };
                session.call(request).await?;
                session.printer().say(&format!("till {till} is forgotten"));
                Ok(())
            }
        }
    }
}
