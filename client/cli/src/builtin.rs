//! The commands that all programs share, except the shell.

use souk_proto::v1::RemoveConsumerRequest;
use souk_stdio::Stdout;

use super::{
    CliSession, Failure, examine, exit, explain,
    grammar::{MailboxChange, Program, Shared, grammar},
    listen,
    view::{MailboxView, WhoView},
};

/// Runs a command and returns its exit code. The shell is rejected, because one is already open.
///
/// # Errors
/// Returns the error of the command.
pub(super) async fn run<P: Program>(command: Shared, session: &CliSession) -> Result<u8, Failure> {
    match command {
        Shared::Listen => listen::listen(session).await.map(|()| exit::OK),
        Shared::Whoami => who_am_i(session).await.map(|()| exit::OK),
        Shared::Mailbox { change: None } => mailbox(session).await.map(|()| exit::OK),
        Shared::Mailbox { change: Some(MailboxChange::Rm { consumer }) } => {
            remove(session, consumer).await.map(|()| exit::OK)
        }
        Shared::Doctor => examine(session).await,
        Shared::Shell => Err(in_shell()),
        Shared::Explain(topic) => explain(&topic, session.audience(), session.output()).map(|()| exit::OK),
        Shared::Guide(guide) => {
            guide.run(grammar::<P>(), &mut Stdout)?;
            Ok(exit::OK)
        }
    }
}

/// Returns the error for a command that makes no sense within the shell.
pub(super) fn in_shell() -> Failure {
    Failure::usage("this is the shell already", "events appear above the line you type")
}

async fn who_am_i(session: &CliSession) -> Result<(), Failure> {
    let connection = session.connection().await?;
    let answer = connection.call_with_metadata(souk_proto::v1::WhoAmIRequest {}).await?;
    let market = connection.answered_by(&answer);
    session.printer().card(&WhoView::new(answer.get_ref(), &market)?)
}

async fn mailbox(session: &CliSession) -> Result<(), Failure> {
    let request = souk_proto::v1::MailboxStatusRequest::default();
    let status = session.call(request).await?;
    session.printer().card(&MailboxView::from(&status))
}

async fn remove(session: &CliSession, consumer: String) -> Result<(), Failure> {
    session.call(RemoveConsumerRequest { consumer: consumer.clone() }).await?;
    session.printer().say(&format!("consumer {consumer} is removed; nothing waits for it any more"));
    Ok(())
}
