//! The rooms of each crate, drawn from its own imports: what a module names with `use` or by a path is an arrow,
//! and arrows point down. A module here is what stands at the top of a crate, a file or a folder; what a folder's
//! files have with each other is their own business.

mod graph;
mod source;

use std::path::{Path, PathBuf};

use graph::Graph;
use source::Source;

/// Those that have rooms enough to lose one's way in.
const CRATES: [&str; 7] = [
    "dhow-engine",
    "dhow-cli",
    "dhow-daemon",
    "dhow-runtime",
    "dhow-net",
    "dhow-registry",
    "dhow-image",
];

/// Those of them that have no circle, and are not to get one.
const WITHOUT_CIRCLE: [&str; 1] = ["dhow-engine"];

fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates")
        .join(name)
        .join("src")
}

fn graph(name: &str) -> Graph {
    let source = Source::read(&sources(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    Graph::of(&source)
}

#[test]
fn no_circle_between_modules() {
    let mut found = String::new();
    for name in CRATES {
        let circles = graph(name).circles();
        if circles.is_empty() {
            continue;
        }
        let text = format!("{name}:\n{}\n", circles.join("\n"));
        if WITHOUT_CIRCLE.contains(&name) {
            found.push_str(&text);
        } else {
            println!("{text}");
        }
    }
    assert!(found.is_empty(), "modules that need each other:\n{found}");
}

/// What goes up is a message: nothing below holds the handle of the whole.
#[test]
fn nothing_imports_the_engines_facade() {
    let graph = graph("dhow-engine");
    assert!(
        graph.has("engine"),
        "the facade has another name: say it here"
    );
    let importers = graph.importers("engine");
    assert!(
        importers.is_empty(),
        "the facade is above all other modules, and these import it:\n{}",
        importers.join("\n")
    );
}

/// A crate of these files, in memory.
fn drawn(files: &[(&str, &str)]) -> Graph {
    let dir = tempfile::tempdir().expect("there is room for a few files");
    for (name, text) in files {
        let path = dir.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("the directory is ours");
        }
        std::fs::write(path, text).expect("the directory is ours");
    }
    Graph::of(&Source::read(dir.path()).expect("it is Rust"))
}

#[test]
fn every_way_to_name_a_module_is_an_arrow() {
    for text in [
        "use crate::b::Thing;",
        "use crate::{c, b};",
        "use crate::{c::{self, x::Y}, b::{Thing as Other, *}};",
        "use super::b;",
        "pub(crate) use crate::Thing;",
        "fn f() -> crate::b::Thing { todo!() }",
        "fn f() { println!(\"{}\", crate::b::name()); }",
        "#[serde(with = \"crate::b::seconds\")] struct S;",
        "mod inner { use super::super::b; }",
        "macro_rules! m { () => { $crate::b::x() } }",
    ] {
        let graph = drawn(&[
            ("lib.rs", "mod a; mod b; mod c; pub use b::Thing;"),
            ("a.rs", text),
            ("b.rs", ""),
            ("c.rs", ""),
        ]);
        assert!(graph.arrow("a", "b"), "{text}");
    }
}

#[test]
fn tests_words_and_neighbours_in_a_folder_are_none() {
    let graph = drawn(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "mod one; mod two;
             // use crate::b;
             const S: &str = \"crate::b::x\";
             #[cfg(test)] mod tests { use crate::b; }
             #[cfg(test)] use crate::b::{x, y};
             #[cfg(test)] mod more;
             #[cfg(all(test, unix))] fn helper() { crate::b::x() }",
        ),
        ("a/one.rs", "use super::two; use crate::a::two::X;"),
        ("a/two.rs", "use super::super::a::one;"),
        ("a/more.rs", "use crate::b;"),
        ("b.rs", "#[cfg(not(test))] use crate::a;"),
    ]);
    assert!(!graph.arrow("a", "b"));
    assert!(graph.arrow("b", "a"));
    assert!(graph.circles().is_empty());
}

#[test]
fn a_circle_is_spelled_out() {
    let graph = drawn(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::x;"),
        ("b/mod.rs", "mod deep;"),
        ("b/deep.rs", "\nuse crate::c;"),
        ("c.rs", "use crate::a; use crate::d;"),
        ("d.rs", ""),
    ]);
    assert_eq!(
        graph.circles(),
        ["  a, b, c stand in one circle:
    a -> b at a.rs:1
    b -> c at b/deep.rs:2
    c -> a at c.rs:1"]
    );
    assert_eq!(graph.importers("d"), ["  c at c.rs:1"]);
    let graph = drawn(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::{b, c};"),
        ("b.rs", "use crate::{a, c};"),
        ("c.rs", "use crate::{a};"),
    ]);
    assert_eq!(
        graph.circles(),
        ["  a, b, c stand in one circle:
    a -> b at a.rs:1
    b -> a at b.rs:1
  their arrows among each other:
    a -> b, c
    b -> a, c
    c -> a"]
    );
}
