//! `buyer register`: the same as `seller register`, for the certificate of a buyer.

use clap::Args;
use souk_cli::{CliSession, Failure, registering, view::AccountView};
use souk_client::error::required;
use souk_proto::v1::RegisterBuyerRequest;

/// Open your account, or change its name and callback address
///
/// With --listen, the market calls you there from now on; it tries once at registration, for which this
/// command listens itself. Without, events come by a stream (`listen`, `shell`).
#[derive(Args)]
#[command(after_help = "Examples:\n  buyer register Bob\n  buyer register Bob --listen 0.0.0.0:7444")]
pub(crate) struct Register {
    /// The name that sellers see.
    name: String,
    /// Repeat an earlier call by its request id.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl Register {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<AccountView>()?;
        let (callback, inbox) = registering::callback(session).await?;
        let request = RegisterBuyerRequest {
            request_id: self.request_id.unwrap_or_default(),
            display_name: self.name,
            callback,
            ..Default::default()
        };
        let registered = session.call(request).await;
        inbox.close().await;
        session.printer().card(&AccountView::from(&required(registered?.account, "account")?))
    }
}
