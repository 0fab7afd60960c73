//! What every mutating request has: an idempotency key, and whether it is only to be checked.

use souk_domain::{Command, Fingerprint, Origin, PartyId, RequestKey};
use tonic::Status;

use super::parse::{Fields, request_key};

/// A mutating request, read: everything of a command but the caller.
pub struct Parsed<A> {
    /// The idempotency key.
    pub request: RequestKey,
    /// Only check.
    pub validate_only: bool,
    /// What is asked for.
    pub action: A,
}

impl<A> Parsed<A> {
    /// The command of a caller.
    pub fn by(self, caller: PartyId, origin: Origin) -> Command<A> {
        let Self { request, validate_only, action } = self;
        Command { caller, request, validate_only, action, origin }
    }
}

/// Takes the parts out of a request that every mutating request has.
macro_rules! mutating {
    ($request:ident, $method:literal) => {{
        let request_id = std::mem::take(&mut $request.request_id);
        Mutating { request_id, validate_only: $request.validate_only, print: fingerprint($method, &$request) }
    }};
}

pub(super) use mutating;

/// What every mutating request has.
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
