//! The fields common to all mutating requests: the idempotency key, and whether only to validate.

use souk_domain::{Command, Fingerprint, Origin, PartyId, RequestKey};
use tonic::Status;

use super::parse::{Fields, request_key};

/// A parsed mutating request: a command without its caller.
pub struct Parsed<A> {
    /// The idempotency key: the request id and the fingerprint of the parameters.
    pub request: RequestKey,
    /// Whether to validate the request without changing anything.
    pub validate_only: bool,
    /// The change that is requested.
    pub action: A,
}

impl<A> Parsed<A> {
    /// Adds the caller, which turns this into a command.
    pub fn by(self, caller: PartyId, origin: Origin) -> Command<A> {
        let Self { request, validate_only, action } = self;
        Command { caller, request, validate_only, action, origin }
    }
}

/// Moves the fields common to all mutating requests out of a request.
macro_rules! mutating {
    ($request:ident, $method:literal) => {{
        let request_id = std::mem::take(&mut $request.request_id);
        Mutating { request_id, validate_only: $request.validate_only, print: fingerprint($method, &$request) }
    }};
}

pub(super) use mutating;

/// The fields common to all mutating requests.
pub(super) struct Mutating {
    pub(super) request_id: String,
    pub(super) validate_only: bool,
    pub(super) print: Fingerprint,
}

impl Mutating {
    pub(super) fn finish<A>(self, mut fields: Fields, action: Option<A>) -> Result<Parsed<A>, Status> {
        let request = request_key(&mut fields, &self.request_id, self.print);
        let validate_only = self.validate_only;
        fields.finish(request.zip(action).map(|(request, action)| Parsed { request, validate_only, action }))
    }
}
