//! Compiles the contract without `protoc`: protox parses the files and tonic-prost-build generates the code.
//! Also generates `unary.rs`, which maps each unary request to its RPC.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, field_descriptor_proto::Type};

const PACKAGE: &str = "shopping.v1";

fn main() -> Result<(), Box<dyn Error>> {
    let mut protos: Vec<PathBuf> = fs::read_dir("shopping/v1")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    protos.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    protos.sort();
    println!("cargo:rerun-if-changed=shopping/v1");

    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(&protos, ["."])?;
    fs::write(out.join("shopping.v1.bin"), descriptors.encode_to_vec())?;
    write_unary(&descriptors, &out)?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// Generates an implementation of `Unary` for every request of a unary RPC.
///
/// The trait identifies an RPC by its request message, so the build fails if two RPCs share one.
fn write_unary(descriptors: &FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = descriptors.file.iter().filter(|file| file.package() == PACKAGE).collect();
    let messages: Vec<_> = files.iter().flat_map(|file| &file.message_type).collect();
    let mut rpcs: BTreeMap<&str, (&str, &MethodDescriptorProto)> = BTreeMap::new();
    for service in files.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            if method.client_streaming() || method.server_streaming() {
                continue;
            }
            let request = short_name(method.input_type());
            if let Some((_, other)) = rpcs.insert(request, (service.name(), method)) {
                return Err(
                    format!("{request} is the request of {} and {}", other.name(), method.name()).into()
                );
            }
        }
    }
    let mut code = String::new();
    for (request, (service, method)) in rpcs {
        let response = short_name(method.output_type());
        let message = messages.iter().find(|message| message.name() == request).ok_or("unknown request")?;
        let request_id =
            message.field.iter().any(|field| field.name() == "request_id" && field.r#type() == Type::String);
        let request_id = if request_id { "Some(&mut self.request_id)" } else { "None" };
        write!(
            code,
            r#"impl Unary for v1::{request} {{
    type Response = v1::{response};
    const SERVICE: &'static str = "{PACKAGE}.{service}";
    const METHOD: &'static str = "{method}";
    const PATH: &'static str = "/{PACKAGE}.{service}/{method}";
    fn request_id_mut(&mut self) -> Option<&mut String> {{
        {request_id}
    }}
}}
"#,
            method = method.name(),
        )?;
    }
    fs::write(out.join("unary.rs"), code)?;
    Ok(())
}

/// Returns the last part of a qualified name: `Money` for `.shopping.v1.Money`.
fn short_name(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}
