//! The methods of the contract, read from its descriptors.

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

use crate::FILE_DESCRIPTOR_SET;

/// A method of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// The fully qualified name of the service, such as `shopping.v1.BuyerService`.
    pub service: String,
    /// The name of the method within its service, such as `BuyItem`.
    pub name: String,
    /// Whether the client sends a stream of requests.
    pub has_request_stream: bool,
}

impl Method {
    fn new(package: &str, service: &ServiceDescriptorProto, method: &MethodDescriptorProto) -> Self {
        Self {
            service: format!("{package}.{}", service.name()),
            name: method.name().to_owned(),
            has_request_stream: method.client_streaming(),
        }
    }

    /// Returns the HTTP/2 path, `/SERVICE/METHOD` (gRPC over HTTP/2, "Requests").
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }
}

/// Returns every method of the contract. Decodes the descriptors on each call, so callers keep the result.
///
/// # Examples
/// ```
/// let methods = souk_proto::methods();
/// assert!(methods.iter().any(|method| method.path() == "/shopping.v1.BuyerService/BuyItem"));
/// ```
pub fn methods() -> Vec<Method> {
    let files = files();
    let services =
        files.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    services
        .flat_map(|(package, service)| {
            service.method.iter().map(move |method| Method::new(package, service, method))
        })
        .collect()
}

/// Decodes the descriptors of the contract's files and of those that they import.
pub(crate) fn files() -> Vec<FileDescriptorProto> {
    #[expect(clippy::expect_used, reason = "build.rs of this crate has written the set")]
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    set.file
}
