//! The name under which a program follows its party's mailbox.

/// The maximum length of a consumer's name, by the contract.
const MAX_CHARS: usize = 64;

/// Returns the default name: the program and the host, such as `seller@shop-1`. The next run on the same host
/// thereby continues where this one stops, and programs on different hosts each get every event.
pub(super) fn default_name(program: &str) -> String {
    name(program, &rustix::system::uname().nodename().to_string_lossy())
}

fn name(program: &str, host: &str) -> String {
    let allowed =
        |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    format!("{program}@").chars().chain(host.chars().map(allowed)).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_of_any_kind_make_allowed_names() {
        assert_eq!(name("seller", "Shop-1.example"), "seller@shop-1.example");
        assert_eq!(name("buyer", "Zoë's Mac"), "buyer@zo--s-mac");
        assert_eq!(name("buyer", &"h".repeat(300)).len(), MAX_CHARS);
        assert_eq!(default_name("seller"), default_name("seller"));
    }
}
