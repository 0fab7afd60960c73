//! The commands that all programs share, except the shell.

use souk_proto::v1::{MailboxStatusRequest, RemoveConsumerRequest};
use souk_stdio::Stdout;

use super::{
    CliSession, Failure, examine, exit, explain,
    grammar::{MailboxChange, Program, Shared, grammar},
    listen,
    paging::Live,
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
        Shared::Mailbox { live, change: None } => mailbox(session, live).await.map(|()| exit::OK),
        Shared::Mailbox { change: Some(MailboxChange::Rm { consumer }), .. } => {
            remove(session, consumer).await.map(|()| exit::OK)
        }
        Shared::Join(join) => join.run(session).await.map(|()| exit::OK),
        Shared::Context(command) => command.run(session).await.map(|()| exit::OK),
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

/// Returns the error for joining in the shell, which has a party already.
pub(super) fn joins_in_shell(program: &str) -> Failure {
    Failure::usage("this shell is of another context", format!("quit, and run `{program} join`"))
}

async fn who_am_i(session: &CliSession) -> Result<(), Failure> {
    let connection = session.connection().await?;
    let answer = connection.call_with_metadata(souk_proto::v1::WhoAmIRequest {}).await?;
    let market = connection.answered_by(&answer);
    session.printer().card(&WhoView::new(answer.get_ref(), &market)?)
}

async fn mailbox(session: &CliSession, live: Live) -> Result<(), Failure> {
    live.card(session, async || Ok(MailboxView::from(&session.call(MailboxStatusRequest::default()).await?)))
        .await
}

async fn remove(session: &CliSession, consumer: String) -> Result<(), Failure> {
    session.begin_change();
    session.call(RemoveConsumerRequest { consumer: consumer.clone() }).await?;
    session.printer().say(&format!("consumer {consumer} is removed; nothing waits for it any more"));
    Ok(())
}
