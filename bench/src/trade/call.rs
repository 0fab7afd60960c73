//! One attempt at a call, and what is known of its outcome.

use std::{future::Future, time::Duration};

use souk_client::{
    Error, MarketAddresses, Refusal,
    error::{Step, required},
};
use souk_proto::Reason;
use tokio::time::timeout;
use tonic::{Code, Response, Status};

/// Deadline of one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The outcome of one attempt.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    /// The market has acknowledged the call.
    Acknowledged(T),
    /// The market has refused the call, which had no effect.
    Refused(Box<Refusal>),
    /// The call may or may not have taken effect.
    Unknown(Error),
}

/// Awaits the answer to a call, which is sent once.
pub(crate) async fn attempt<T>(
    market: &MarketAddresses,
    sent: impl Future<Output = Result<Response<T>, Status>>,
) -> Attempt<T> {
    let failure = match timeout(ATTEMPT, sent).await {
        Ok(Ok(answer)) => return Attempt::Acknowledged(answer.into_inner()),
        Ok(Err(status)) => Error::from_status(status, market, ATTEMPT),
        Err(_) => Error::TimedOut { market: market.clone(), after: ATTEMPT },
    };
    match failure {
        Error::Refused(refusal) if is_final(&refusal) => Attempt::Refused(refusal),
        failure => Attempt::Unknown(failure),
    }
}

/// Returns whether a repetition would be refused too: neither overload nor a failure of the market.
fn is_final(refusal: &Refusal) -> bool {
    let is_about_the_request = matches!(
        refusal.code(),
        Code::FailedPrecondition
            | Code::NotFound
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::Aborted
    );
    refusal.reason().is_some() && is_about_the_request
}

/// Returns whether the market was never asked, because there was no connection to it.
pub(crate) fn was_not_sent(failure: &Error) -> bool {
    matches!(failure, Error::Unreachable { step: Step::Tcp | Step::Tls, .. })
}

impl<T> Attempt<T> {
    /// Takes the field of the answer that reports the result.
    pub(crate) fn field<F>(self, name: &'static str, field: impl FnOnce(T) -> Option<F>) -> Attempt<F> {
        match self {
            Self::Acknowledged(answer) => match required(field(answer), name) {
                Ok(field) => Attempt::Acknowledged(field),
                Err(error) => Attempt::Unknown(error),
            },
            Self::Refused(refusal) => Attempt::Refused(refusal),
            Self::Unknown(error) => Attempt::Unknown(error),
        }
    }
}

/// Returns whether a refusal is for lack of stock.
pub(crate) fn is_out_of_stock(refusal: &Refusal) -> bool {
    refusal.reason() == Some(Reason::OutOfStock)
}
