//! The API contract of Souk: the messages and services of `shopping.v1`, generated from
//! `shopping/v1/*.proto`, the table of error reasons, and the layer by which every error has one.
//!
//! The `.proto` files are the authoritative documentation. Clients in other languages generate their own
//! code from them.

pub mod contract;
pub mod explain;
pub mod metadata;
mod methods;
pub mod reason;
mod unary;

pub use methods::{Method, methods};
pub use prost_types::{FieldMask, Timestamp};
pub use reason::Reason;
pub use unary::Unary;

/// The generated messages, clients and servers of package `shopping.v1`.
pub mod v1 {
    #![expect(
        clippy::large_enum_variant,
        clippy::too_many_lines,
        reason = "generated; boxing one variant would surprise its readers"
    )]
    tonic::include_proto!("shopping.v1");
}

/// The encoded descriptor set of the contract and its imports, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shopping.v1.bin"));
