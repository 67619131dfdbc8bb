//! What comes from outside, thrown at everything that reads it.
//!
//! A target is a function of bytes that reads them as a client, a registry, an archive or a file would have them
//! read, and panics where something does not hold that must: what was read and written is read as the same, what
//! comes in pieces means what it means whole, nothing is made outside. It may not hang, nor take more memory than
//! a bound; libFuzzer watches both.
//!
//! `cargo xtask fuzz` runs them, guided by what they reach. Each has a small corpus in `corpus/`, what it once
//! failed on included, which an ordinary test goes through.

pub mod targets;
mod tars;

/// Something that reads.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

pub const TARGETS: &[Target] = &[
    target("archive", targets::archive::archive),
    target("body", targets::json::body),
    target("challenge", targets::streams::challenge),
    target("changes", targets::json::changes),
    target("client-config", targets::config::client),
    target("compression", targets::archive::compression),
    target("context", targets::config::context),
    target("daemon-config", targets::config::daemon),
    target("dockerfile", targets::dockerfile::dockerfile),
    target("expansion", targets::dockerfile::words),
    target("filters", targets::json::filters),
    target("flags", targets::words::flags),
    target("frames", targets::streams::frames),
    target("ignore", targets::dockerfile::ignore),
    target("keys", targets::words::keys),
    target("layer", targets::images::layer),
    target("load", targets::images::load),
    target("logs", targets::logs::logs),
    target("manifest", targets::json::manifest),
    target("messages", targets::streams::messages),
    target("place", targets::archive::place),
    target("reference", targets::words::reference),
    target("registry", targets::registry::registry),
    target("seccomp", targets::json::seccomp),
    target("template", targets::template::template),
    target("times", targets::words::times),
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// A directory in memory where there is one: most targets that write do so thousands of times.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.expect("a directory for what is written can be made")
}
