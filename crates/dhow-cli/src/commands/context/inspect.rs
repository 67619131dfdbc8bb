//! `context inspect`.

use gotmpl::MissingKey;
use serde_json::{Value, json};

use super::create::{default_metadata, existing};
use crate::contexts::DEFAULT;
use crate::error::{Result, all_done, message};
use crate::flags::{Args, Flag};
use crate::format::json::{Json, escape_html};
use crate::format::template::Format;
use crate::lists::FORMAT_SHORT;
use crate::session::Session;
use crate::stdio;

pub const INSPECT: &[Flag] = &[FORMAT_SHORT];

/// Where the default context is kept.
const NOWHERE: &str = "<IN MEMORY>";

fn describe(session: &Session, name: &str) -> Result<Json> {
    let contexts = session.contexts();
    let (metadata, material, storage) = match name {
        DEFAULT => {
            let (_, tls) = existing(session, name)?;
            let names: Value = tls
                .into_iter()
                .map(|(endpoint, files)| (endpoint, files.into_keys().collect::<Value>()))
                .collect();
            let storage = json!({"MetadataPath": NOWHERE, "TLSPath": NOWHERE});
            (default_metadata(session)?, names, storage)
        }
        name => {
            let metadata = contexts.read(name)?;
            let storage = json!({
                "MetadataPath": contexts.meta_directory(name).display().to_string(),
                "TLSPath": contexts.tls_directory(name).display().to_string(),
            });
            (metadata, json!(contexts.tls_names(name)?), storage)
        }
    };
    let all = json!({
        "Name": metadata.name,
        "Metadata": metadata.metadata,
        "Endpoints": metadata.endpoints,
        "TLSMaterial": material,
        "Storage": storage,
    });
    serde_json::from_value(all).map_err(|error| message(error.to_string()))
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let template = match args.nonempty("format") {
        None | Some("json") => None,
        Some(text) => Some(Format::parse(text, MissingKey::Error)?),
    };
    let current = [session.choice.name().to_owned()];
    let names = match args.rest.is_empty() {
        true => &current[..],
        false => &args.rest[..],
    };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match describe(session, name) {
            Ok(json) => found.push(json),
            Err(error) => failures.push(error.to_string()),
        }
    }
    match template {
        Some(format) => {
            for json in &found {
                stdio::println(&format.execute(&json.to_template())?)?;
            }
        }
        None if args.nonempty("format").is_some() => {
            let text = serde_json::to_string(&found).map_err(|e| message(e.to_string()))?;
            stdio::println(&escape_html(&text))?;
        }
        None => stdio::println(&escape_html(&Json::List(found).pretty()))?,
    }
    all_done(failures)
}
