//! No module cycle inside any crate: the modules of a folder can be read in an order in which each one uses only
//! those before it.
//!
//! An edge leads from the module of a file to the module that a path in it names: in `use` declarations, types and
//! expressions, through re-exports. Tests make no edges.
//!
//! What the check does not see:
//! - uses between a parent and its child, in either direction: edges exist only between siblings;
//! - paths in the bodies and arguments of macros, which are tokens to the parser;
//! - names that a glob import (`use x::*`) brings into scope;
//! - names that an ordinary `use` brought into scope are attributed to that `use`, wherever they are written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    path::Path,
};

use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

use super::{assert_none, members, root};

/// A module by its path from the root of its crate.
type Module = Vec<String>;

/// The modules of a crate, one for each file.
struct Crate {
    files: BTreeMap<Module, syn::File>,
    /// What a module re-exports, by name: the path that it comes from.
    exports: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    fn load(source: &Path) -> Self {
        let mut loaded = Self { files: BTreeMap::new(), exports: BTreeMap::new() };
        let entry =
            ["lib.rs", "main.rs"].into_iter().map(|name| source.join(name)).find(|path| path.exists());
        if let Some(entry) = entry {
            loaded.add(Vec::new(), &entry, source);
        }
        loaded
    }

    /// Parses a file and the files of its child modules, which lie in `folder`.
    fn add(&mut self, module: Module, file: &Path, folder: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for item in &parsed.items {
            let Item::Mod(child) = item else { continue };
            if child.content.is_some() || is_for_tests(&child.attrs) {
                continue;
            }
            let name = child.ident.to_string();
            let (plain, nested) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
            let path = if plain.exists() { plain } else { nested };
            self.add([module.clone(), vec![name.clone()]].concat(), &path, &folder.join(&name));
        }
        let mut exports = BTreeMap::new();
        for item in &parsed.items {
            if let Item::Use(declaration) = item
                && !matches!(declaration.vis, syn::Visibility::Inherited)
            {
                for (path, name) in leaves(&declaration.tree) {
                    exports.insert(name, path);
                }
            }
        }
        self.exports.insert(module.clone(), exports);
        self.files.insert(module, parsed);
    }

    /// Returns the module that a path names or that contains the named item; `None` if it is in another
    /// crate.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => (from.split_last()?.1.to_vec(), &path[1..]),
            first => {
                let child = [from.clone(), vec![first.to_owned()]].concat();
                if !self.files.contains_key(&child) {
                    return None;
                }
                (from.clone(), path)
            }
        };
        while let Some(segment) = rest.first() {
            if segment == "super" {
                at.pop()?;
                rest = &rest[1..];
                continue;
            }
            let child = [at.clone(), vec![segment.clone()]].concat();
            if self.files.contains_key(&child) {
                at = child;
                rest = &rest[1..];
                continue;
            }
            if let Some(source) = self.exports.get(&at).and_then(|exports| exports.get(segment))
                && let Some(found) = self.resolve(&at, source)
            {
                return Some(found);
            }
            break;
        }
        Some(at)
    }

    /// Returns, for each folder, which of its modules use which of their siblings, each with an example.
    fn sibling_edges(&self) -> BTreeMap<Module, BTreeMap<(String, String), String>> {
        let mut edges: BTreeMap<Module, BTreeMap<(String, String), String>> = BTreeMap::new();
        for (module, file) in &self.files {
            let mut paths = Paths::default();
            paths.visit_file(file);
            for path in paths.found {
                let Some(target) = self.resolve(module, &path) else { continue };
                let depth = module.iter().zip(&target).take_while(|(one, other)| one == other).count();
                if let (Some(one), Some(other)) = (module.get(depth), target.get(depth)) {
                    let example = format!("{} uses {}", module.join("::"), path.join("::"));
                    let pair = (one.clone(), other.clone());
                    edges.entry(module[..depth].to_vec()).or_default().insert(pair, example);
                }
            }
        }
        edges
    }
}

/// Collects every path in a file, except in tests.
#[derive(Default)]
struct Paths {
    found: BTreeSet<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, declaration: &'ast syn::ItemUse) {
        if !is_for_tests(&declaration.attrs) {
            self.found.extend(leaves(&declaration.tree).into_iter().map(|(path, _)| path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.found.insert(segments);
        }
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Returns the paths of a `use` declaration, each with the name that it imports.
fn leaves(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let head = path.ident.to_string();
            let below = leaves(&path.tree).into_iter();
            below
                .map(|(rest, name)| {
                    let whole = if rest == ["self"] {
                        vec![head.clone()]
                    } else {
                        [vec![head.clone()], rest].concat()
                    };
                    let name = if name == "self" { head.clone() } else { name };
                    (whole, name)
                })
                .collect()
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(rename) => vec![(vec![rename.ident.to_string()], rename.rename.to_string())],
        UseTree::Glob(_) => Vec::new(),
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// Returns an order in which each module comes after those that it uses, or the modules of its cycles.
fn order(edges: &BTreeMap<(String, String), String>) -> Result<Vec<String>, BTreeSet<String>> {
    let mut left: BTreeSet<_> = edges.keys().flat_map(|(one, other)| [one.clone(), other.clone()]).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let uses_one_left =
            |name: &String| edges.keys().any(|(one, other)| one == name && left.contains(other));
        let ready: Vec<_> = left.iter().filter(|name| !uses_one_left(name)).cloned().collect();
        if ready.is_empty() {
            return Err(cycles(left, edges));
        }
        left.retain(|name| !ready.contains(name));
        order.extend(ready);
    }
    Ok(order)
}

/// Removes the modules that are not part of a cycle but only use those that are.
fn cycles(mut left: BTreeSet<String>, edges: &BTreeMap<(String, String), String>) -> BTreeSet<String> {
    loop {
        let is_used = |name: &String| edges.keys().any(|(one, other)| other == name && left.contains(one));
        let used: BTreeSet<_> = left.iter().filter(|name| is_used(name)).cloned().collect();
        if used.len() == left.len() {
            return left;
        }
        left = used;
    }
}

#[test]
fn modules_of_a_folder_form_no_cycle() {
    let mut offences = Vec::new();
    for member in members() {
        for (parent, edges) in Crate::load(&root().join(&member).join("src")).sibling_edges() {
            let place = [vec![member.clone()], parent].concat().join("/");
            match order(&edges) {
                // Not through `println!`, which the test runner captures.
                Ok(order) => writeln!(io::stdout(), "{place}: {}", order.join(" < ")).unwrap(),
                Err(cycle) => {
                    offences.push(format!("{place}: these form a cycle:"));
                    let within =
                        |(one, other): &(String, String)| cycle.contains(one) && cycle.contains(other);
                    let ties = edges.iter().filter(|(pair, _)| within(pair));
                    offences
                        .extend(ties.map(|((one, other), example)| format!("  {one} -> {other}: {example}")));
                }
            }
        }
    }
    assert_none(offences);
}

#[test]
fn a_cycle_is_found_through_re_exports() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod one; mod other; pub use one::One;");
    write("one.rs", "pub struct One; fn f() { crate::other::g() }");
    write("other.rs", "pub fn g() { let _ = crate::One; }");
    let edges = Crate::load(folder.path()).sibling_edges();
    assert!(order(&edges[&Vec::new()]).is_err());
    write("other.rs", "pub fn g() {} #[cfg(test)] mod tests { use crate::One; }");
    let edges = Crate::load(folder.path()).sibling_edges();
    assert_eq!(order(&edges[&Vec::new()]).unwrap(), ["other", "one"]);
}
