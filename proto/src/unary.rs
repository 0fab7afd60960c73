//! The mapping from unary requests to their RPCs.

use crate::v1;

/// The request of a unary RPC. The message type identifies the RPC, so a client can send a request without
/// naming the method.
///
/// Implemented for every unary request of the contract; generated from the descriptors by `build.rs`.
///
/// # Examples
/// ```
/// use souk_proto::{Unary, v1::BuyItemRequest};
///
/// assert_eq!(BuyItemRequest::PATH, "/shopping.v1.BuyerService/BuyItem");
/// ```
pub trait Unary: prost::Message + Clone + Default + 'static {
    /// The response message of the RPC.
    type Response: prost::Message + Default + 'static;
    /// The fully qualified name of the service, such as `shopping.v1.BuyerService`.
    const SERVICE: &'static str;
    /// The name of the RPC within its service, such as `BuyItem`.
    const METHOD: &'static str;
    /// The HTTP/2 path of the RPC, `/SERVICE/METHOD` (gRPC over HTTP/2, "Requests").
    const PATH: &'static str;

    /// Returns the field `request_id` (AIP-155), or `None` for a request that only reads.
    fn request_id_mut(&mut self) -> Option<&mut String>;
}

include!(concat!(env!("OUT_DIR"), "/unary.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutating_requests_have_a_request_id_and_reads_have_none() {
        assert!(v1::SellItemRequest::default().request_id_mut().is_some());
        assert!(v1::GetItemRequest::default().request_id_mut().is_none());
    }

    #[test]
    fn paths_are_those_of_the_generated_clients() {
        assert_eq!(v1::IssueTokenRequest::PATH, "/shopping.v1.AccountService/IssueToken");
        assert_eq!(v1::WhoAmIRequest::SERVICE, "shopping.v1.SessionService");
        assert_eq!(v1::WhoAmIRequest::METHOD, "WhoAmI");
    }
}
