//! Server reflection (`grpc.reflection.v1` and `v1alpha`), from which tools such as grpcurl learn the contract.
//!
//! Not tonic-reflection's own service, of which only the messages are used: it ends the stream at the first unknown
//! symbol. As the protocol has it, an error is an answer like any other, and the stream goes on.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::Arc,
};

use futures::{Stream, StreamExt as _};
use prost::{DecodeError, Message as _};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

/// The files of the contract and everything that is served beside it, by name and by the symbols that they define.
#[derive(Debug, Default)]
pub(super) struct Schema {
    /// The encoded files.
    files: HashMap<String, Vec<u8>>,
    /// The name of the file that defines a symbol.
    symbols: HashMap<String, String>,
    messages: BTreeSet<String>,
    services: BTreeSet<String>,
}

impl Schema {
    /// Reads sets of descriptors. A file that is in several of them counts once.
    pub(super) fn of(sets: &[&[u8]]) -> Result<Self, DecodeError> {
        let mut schema = Self::default();
        for set in sets {
            for mut file in FileDescriptorSet::decode(*set)?.file {
                // tonic-types has these without the path by which everybody imports them.
                if file.package() == "google.rpc" && !file.name().contains('/') {
                    file.name = Some(format!("google/rpc/{}", file.name()));
                }
                schema.add(&file);
            }
        }
        Ok(schema)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        if self.files.contains_key(file.name()) {
            return;
        }
        self.files.insert(file.name().to_owned(), file.encode_to_vec());
        for message in &file.message_type {
            self.add_message(file.name(), file.package(), message);
        }
        for described in &file.enum_type {
            self.add_enum(file.name(), file.package(), described);
        }
        for service in &file.service {
            let name = self.define(file.name(), file.package(), service.name());
            for method in &service.method {
                self.define(file.name(), &name, method.name());
            }
            self.services.insert(name);
        }
        for extension in &file.extension {
            self.define(file.name(), file.package(), extension.name());
        }
    }

    fn add_message(&mut self, file: &str, scope: &str, message: &DescriptorProto) {
        let name = self.define(file, scope, message.name());
        for field in &message.field {
            self.define(file, &name, field.name());
        }
        for oneof in &message.oneof_decl {
            self.define(file, &name, oneof.name());
        }
        for nested in &message.nested_type {
            self.add_message(file, &name, nested);
        }
        for described in &message.enum_type {
            self.add_enum(file, &name, described);
        }
        self.messages.insert(name);
    }

    fn add_enum(&mut self, file: &str, scope: &str, described: &EnumDescriptorProto) {
        self.define(file, scope, described.name());
        for value in &described.value {
            // A value is a sibling of its enum, not a part of it.
            self.define(file, scope, value.name());
        }
    }

    /// Records a symbol, and returns its full name.
    fn define(&mut self, file: &str, scope: &str, name: &str) -> String {
        let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(full.clone(), file.to_owned());
        full
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, NotFound> {
        self.files.get(name).cloned().ok_or_else(|| NotFound(format!("there is no file `{name}`")))
    }

    fn file_with(&self, symbol: &str) -> Result<Vec<u8>, NotFound> {
        // Some tools send the name as a descriptor refers to it, with a leading dot.
        let file = self.symbols.get(symbol.trim_start_matches('.'));
        file.map_or_else(|| Err(NotFound(format!("there is no symbol `{symbol}`"))), |file| self.file(file))
    }

    /// Returns the full name of a message; none of them has extensions.
    fn message(&self, name: &str) -> Result<String, NotFound> {
        let name = name.trim_start_matches('.');
        self.messages.get(name).cloned().ok_or_else(|| NotFound(format!("there is no message `{name}`")))
    }
}

/// Why a question has no answer. The text names what was asked for.
struct NotFound(String);

/// Answers the questions of both versions.
#[derive(Clone, Debug)]
pub(super) struct Reflection {
    schema: Arc<Schema>,
    /// Ends the streams, which have no end of their own, when the market shuts down.
    closing: CancellationToken,
}

impl Reflection {
    pub(super) fn new(schema: Schema, closing: CancellationToken) -> Self {
        Self { schema: Arc::new(schema), closing }
    }
}

/// Implements a version of the service. Their messages are the same, but are types of their own.
macro_rules! serve {
    ($version:ident) => {
        mod $version {
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
                ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
                server_reflection_server::ServerReflection,
            };

            use super::*;

            fn answer(schema: &Schema, asked: &MessageRequest) -> Result<MessageResponse, NotFound> {
                let file = |file| FileDescriptorResponse { file_descriptor_proto: vec![file] };
                Ok(match asked {
                    MessageRequest::FileByFilename(name) => {
                        MessageResponse::FileDescriptorResponse(file(schema.file(name)?))
                    }
                    MessageRequest::FileContainingSymbol(symbol) => {
                        MessageResponse::FileDescriptorResponse(file(schema.file_with(symbol)?))
                    }
                    MessageRequest::FileContainingExtension(extension) => {
                        let number = extension.extension_number;
                        let of = schema.message(&extension.containing_type)?;
                        return Err(NotFound(format!("`{of}` has no extension {number}")));
                    }
                    MessageRequest::AllExtensionNumbersOfType(name) => {
                        MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                            base_type_name: schema.message(name)?,
                            extension_number: Vec::new(),
                        })
                    }
                    MessageRequest::ListServices(_) => {
                        let services = schema.services.iter().cloned();
                        let service = services.map(|name| ServiceResponse { name }).collect();
                        MessageResponse::ListServicesResponse(ListServiceResponse { service })
                    }
                })
            }

            #[async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream =
                    Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let schema = Arc::clone(&self.schema);
                    let answers = request.into_inner().map(move |request| {
                        let request = request?;
                        let error = |code: Code, error_message| {
                            MessageResponse::ErrorResponse(ErrorResponse {
                                error_code: i32::from(code),
                                error_message,
                            })
                        };
                        let answer = match &request.message_request {
                            Some(asked) => answer(&schema, asked)
                                .unwrap_or_else(|NotFound(what)| error(Code::NotFound, what)),
                            None => error(Code::InvalidArgument, "the request asks for nothing".to_owned()),
                        };
                        Ok(ServerReflectionResponse {
                            valid_host: request.host.clone(),
                            original_request: Some(request),
                            message_response: Some(answer),
                        })
                    });
                    let closing = self.closing.clone().cancelled_owned();
                    Ok(Response::new(Box::pin(answers.take_until(closing))))
                }
            }
        }
    };
}

serve!(v1);
serve!(v1alpha);
