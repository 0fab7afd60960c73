//! The contract as documentation: its messages, fields, enums, services and methods, with their comments.

use std::collections::HashMap;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::methods::files;

/// The package of the contract. The files that it imports are not part of it.
const PACKAGE: &str = "shopping.v1";

// Numbers of fields in descriptor.proto, of which the path of a comment consists.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const FIELDS: i32 = 2;
const NESTED_MESSAGES: i32 = 3;
const NESTED_ENUMS: i32 = 4;
const VALUES: i32 = 2;
const METHODS: i32 = 2;

/// What a name of the contract stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message.
    Message,
    /// A field of a message.
    Field,
    /// An enum.
    Enum,
    /// A value of an enum.
    Value,
    /// A service.
    Service,
    /// A method of a service.
    Method,
}

impl Kind {
    /// Returns the name of the kind, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Field => "field",
            Self::Enum => "enum",
            Self::Value => "value",
            Self::Service => "service",
            Self::Method => "method",
        }
    }
}

/// A name of the contract and what its comment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What the name stands for.
    pub kind: Kind,
    /// The name within the package, such as `Item` or `Item.unit_price`.
    pub name: String,
    /// The definition without its braces, such as `Money unit_price`.
    pub declaration: String,
    /// The comment, without comment signs. Its lines are as in the file.
    pub comment: String,
    /// The message or enum that a field has as its type, within the package.
    pub type_name: Option<String>,
}

/// Returns all definitions, each enclosing one before those in it. Decodes the descriptors on each call, so callers keep
/// the result.
///
/// # Examples
/// ```
/// let definitions = souk_proto::contract::definitions();
/// let price = definitions.iter().find(|definition| definition.name == "Item.unit_price").unwrap();
/// assert_eq!(price.declaration, "Money unit_price");
/// assert_eq!(price.comment, "The price of one unit.");
/// ```
pub fn definitions() -> Vec<Definition> {
    let files = files();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.package() == PACKAGE) {
        let mut reader = Reader { comments: comments(file), found: &mut found };
        for (number, service) in file.service.iter().enumerate() {
            reader.service(&[SERVICES, index(number)], service);
        }
        for (number, message) in file.message_type.iter().enumerate() {
            reader.message(&[MESSAGES, index(number)], "", message);
        }
        for (number, listed) in file.enum_type.iter().enumerate() {
            reader.listed(&[ENUMS, index(number)], "", listed);
        }
    }
    found
}

/// Returns the comments of a file by the paths of what they are about.
fn comments(file: &FileDescriptorProto) -> HashMap<Vec<i32>, String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let commented = locations.filter(|location| location.leading_comments.is_some());
    commented.map(|location| (location.path.clone(), plain(location.leading_comments()))).collect()
}

/// Returns a comment without the blank at the beginning of each line.
fn plain(comment: &str) -> String {
    let lines: Vec<_> =
        comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}

/// Converts a position to an element of a path. A file has far fewer than `i32::MAX` definitions.
fn index(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

struct Reader<'a> {
    comments: HashMap<Vec<i32>, String>,
    found: &'a mut Vec<Definition>,
}

impl Reader<'_> {
    fn add(
        &mut self,
        kind: Kind,
        path: &[i32],
        name: String,
        declaration: String,
        type_name: Option<String>,
    ) {
        let comment = self.comments.get(path).cloned().unwrap_or_default();
        self.found.push(Definition { kind, name, declaration, comment, type_name });
    }

    fn service(&mut self, path: &[i32], service: &ServiceDescriptorProto) {
        let name = service.name();
        self.add(Kind::Service, path, name.to_owned(), format!("service {name}"), None);
        for (number, method) in service.method.iter().enumerate() {
            let stream = |is_stream: bool| if is_stream { "stream " } else { "" };
            let declaration = format!(
                "rpc {}({}{}) returns ({}{})",
                method.name(),
                stream(method.client_streaming()),
                short(method.input_type()),
                stream(method.server_streaming()),
                short(method.output_type()),
            );
            let path = [path, &[METHODS, index(number)]].concat();
            self.add(Kind::Method, &path, format!("{name}.{}", method.name()), declaration, None);
        }
    }

    fn message(&mut self, path: &[i32], above: &str, message: &DescriptorProto) {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return;
        }
        let name = format!("{above}{}", message.name());
        self.add(Kind::Message, path, name.clone(), format!("message {}", message.name()), None);
        for (number, field) in message.field.iter().enumerate() {
            let path = [path, &[FIELDS, index(number)]].concat();
            let type_name = field.type_name.as_deref().and_then(within).map(str::to_owned);
            self.add(Kind::Field, &path, format!("{name}.{}", field.name()), declared(field), type_name);
        }
        let above = format!("{name}.");
        for (number, nested) in message.nested_type.iter().enumerate() {
            self.message(&[path, &[NESTED_MESSAGES, index(number)]].concat(), &above, nested);
        }
        for (number, nested) in message.enum_type.iter().enumerate() {
            self.listed(&[path, &[NESTED_ENUMS, index(number)]].concat(), &above, nested);
        }
    }

    fn listed(&mut self, path: &[i32], above: &str, listed: &EnumDescriptorProto) {
        let name = format!("{above}{}", listed.name());
        self.add(Kind::Enum, path, name.clone(), format!("enum {}", listed.name()), None);
        for (number, value) in listed.value.iter().enumerate() {
            let path = [path, &[VALUES, index(number)]].concat();
            let declaration = format!("{} = {}", value.name(), value.number());
            self.add(Kind::Value, &path, format!("{name}.{}", value.name()), declaration, None);
        }
    }
}

/// Returns the declaration of a field, such as `optional int64 quantity`.
fn declared(field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let of = match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        // TYPE_INT64 is written int64.
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    format!("{label}{of} {}", field.name())
}

/// Returns the name of a type as it is written within the package: `Money` for `.shopping.v1.Money`.
fn short(full: &str) -> &str {
    within(full).unwrap_or(full.trim_start_matches('.'))
}

/// Returns the name of a type of the package without the package; `None` for others.
fn within(full: &str) -> Option<&str> {
    full.strip_prefix('.')?.strip_prefix(PACKAGE)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_declarations_and_comments() {
        let definitions = definitions();
        let find = |name: &str| definitions.iter().find(|definition| definition.name == name).unwrap();
        let buy = find("BuyerService.BuyItem");
        assert_eq!(buy.declaration, "rpc BuyItem(BuyItemRequest) returns (BuyItemResponse)");
        assert!(!buy.comment.is_empty());
        assert_eq!(find("Item.unit_price").type_name.as_deref(), Some("Money"));
        assert_eq!(find("SellerService.ImportItems").kind, Kind::Method);
        assert!(find("SellerService.ImportItems").declaration.contains("(stream ImportItemsRequest)"));
        assert_eq!(find("OrderStatus").kind, Kind::Enum);
    }

    #[test]
    fn every_message_and_method_has_a_comment() {
        let bare: Vec<_> = definitions()
            .into_iter()
            .filter(|definition| {
                matches!(definition.kind, Kind::Message | Kind::Method | Kind::Service | Kind::Enum)
                    && definition.comment.is_empty()
            })
            .map(|definition| definition.name)
            .collect();
        assert!(bare.is_empty(), "{bare:?}");
    }
}
