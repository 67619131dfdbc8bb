//! What this crate reads from outside and shows nobody, as functions of bytes: for the fuzz targets.

use std::path::Path;

use gotmpl::MissingKey;

use crate::commands::container::spec;
use crate::config::ConfigFile;
use crate::contexts::archive;
use crate::format::json::Json;
use crate::format::template::Format;
use crate::format::units;
use crate::reference::Reference;

/// A template of `--format`, and what it is to show.
pub fn template(text: &str, value: &str) {
    let (Ok(format), Ok(value)) = (
        Format::parse(text, MissingKey::Invalid),
        serde_json::from_str::<Json>(value),
    ) else {
        return;
    };
    let _ = format.execute(&value.to_template());
}

/// The client's settings, in a directory.
pub fn config(directory: &Path) {
    let Ok(config) = ConfigFile::load(directory) else {
        return;
    };
    config.auth("https://index.docker.io/v1/");
    config.auth("127.0.0.1:5000");
    config.credential_helper("127.0.0.1:5000");
    config.proxy_environment("unix:///var/run/docker.sock");
    config.map("HttpHeaders");
}

/// A context that is imported.
pub fn context(bytes: &[u8]) {
    let _ = archive::read("it", bytes);
}

/// What an image is called.
pub fn reference(text: &str) {
    let Ok(read) = Reference::parse(text) else {
        return;
    };
    let again = Reference::parse(&read.to_string());
    assert_eq!(again.map(|r| r.canonical()).ok(), Some(read.canonical()));
}

/// Bytes and processors.
pub fn amounts(text: &str) {
    if let Ok(bytes) = units::parse_bytes(text) {
        units::size(bytes);
    }
    let _ = units::parse_nano_cpus(text);
}

/// The value of a flag of `run`.
pub fn flag(which: u8, text: &str) {
    spec::untrusted(which, text);
}
