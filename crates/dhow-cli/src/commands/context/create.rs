//! `context create` and `context update`, and what `--docker` says of a daemon.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dhow_client::{Host, TlsOptions};

use crate::contexts::{CA, CERT, DEFAULT, ENDPOINT, KEY, Metadata, Store, TlsMaterial, check_name};
use crate::csv::fields;
use crate::error::{Result, message, system_text};
use crate::flags::{Args, Flag, Kind, parse_bool};
use crate::session::Session;
use crate::stdio;

const DESCRIPTION: Flag = Flag::new("description", Kind::String, "What the context is");
const DOCKER: Flag = Flag::new(
    "docker",
    Kind::Pairs,
    "Where the daemon is (host=,ca=,cert=,key=,skip-tls-verify=), or from=CONTEXT",
)
.checked(|text| pairs(text).map(drop));

pub const CREATE: &[Flag] = &[
    DESCRIPTION,
    DOCKER,
    Flag::new("from", Kind::String, "Copy this context"),
];

pub const UPDATE: &[Flag] = &[DESCRIPTION, DOCKER];

const KEYS: [&str; 6] = ["from", "host", "ca", "cert", "key", "skip-tls-verify"];

/// `a=1,b=2`, where a pair may stand in double quotes.
fn pairs(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let all = match text.matches('=').count() {
        0 => return Err(format!("{text} must be formatted as key=value")),
        // As Docker does: what is one pair has no quotes and may have commas.
        1 => vec![text.trim_matches('"').to_owned()],
        _ => fields(text)?,
    };
    all.into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(format!("{pair} must be formatted as key=value")),
        })
        .collect()
}

type Files = BTreeMap<String, Vec<u8>>;

/// What `--docker` says; nothing where it was not given.
fn daemon(session: &Session, args: &Args) -> Result<Option<(Metadata, Files)>> {
    if !args.was_given("docker") {
        return Ok(None);
    }
    let mut options = BTreeMap::new();
    for text in args.list("docker") {
        options.extend(pairs(text).map_err(message)?);
    }
    endpoint(session, &options)
        .map(Some)
        .map_err(|error| message(format!("unable to create docker endpoint config: {error}")))
}

fn endpoint(session: &Session, options: &BTreeMap<String, String>) -> Result<(Metadata, Files)> {
    if let Some(unknown) = options.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(message(format!("unrecognized config key: {unknown}")));
    }
    let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    if let Some(name) = options.get("from") {
        let (source, _) = existing(session, name)?;
        let mut copy = Metadata::default();
        if let Some(endpoint) = source.endpoints.get(ENDPOINT) {
            copy.endpoints.insert(ENDPOINT.into(), endpoint.clone());
            return Ok((copy, Files::new()));
        }
        return Err(message(format!(
            "unable to get endpoint from context {name:?}"
        )));
    }
    let mut files = Files::new();
    for (key, file) in [("ca", CA), ("cert", CERT), ("key", KEY)] {
        let path = option(key);
        if !path.is_empty() {
            let text = fs::read(path)
                .map_err(|error| message(format!("open {path}: {}", system_text(&error))))?;
            files.insert(file.to_owned(), text);
        }
    }
    let skip = match options.get("skip-tls-verify") {
        None => false,
        Some(text) => parse_bool(text)
            .ok_or_else(|| message(format!("skip-tls-verify: parsing {text:?}: invalid syntax")))?,
    };
    let host = option("host");
    if !host.is_empty() {
        // What can't be connected to is told now, not at the first use.
        let host = Host::parse(host, false).map_err(|error| {
            message(format!("unable to apply docker endpoint options: {error}"))
        })?;
        let file =
            |key: &str| Some(PathBuf::from(option(key))).filter(|path| path != Path::new(""));
        let tls = TlsOptions {
            verify: !skip,
            ca: file("ca"),
            cert: file("cert"),
            key: file("key"),
        };
        if matches!(host, Host::Tcp { .. }) && !files.is_empty() {
            tls.check()
                .map_err(|error| message(format!("invalid docker endpoint options: {error}")))?;
        }
    }
    Ok((Metadata::new("", host, skip), files))
}

/// A context with its TLS material; the default one as the environment has it now.
pub fn existing(session: &Session, name: &str) -> Result<(Metadata, TlsMaterial)> {
    if name != DEFAULT {
        let contexts = session.contexts();
        return Ok((contexts.read(name)?, contexts.read_tls(name)?));
    }
    let metadata = default_metadata(session)?;
    let mut files = Files::new();
    if let Some(tls) = session.default_tls() {
        for (path, file) in [(&tls.ca, CA), (&tls.cert, CERT), (&tls.key, KEY)] {
            if let Some(path) = path {
                let text = fs::read(path).map_err(|error| {
                    message(format!("open {}: {}", path.display(), system_text(&error)))
                })?;
                files.insert(file.to_owned(), text);
            }
        }
    }
    let mut tls = TlsMaterial::new();
    if !files.is_empty() {
        tls.insert(ENDPOINT.to_owned(), files);
    }
    Ok((metadata, tls))
}

/// The context that is not kept.
pub fn default_metadata(session: &Session) -> Result<Metadata> {
    let skip = session.default_tls().is_some_and(|tls| !tls.verify);
    Ok(Metadata::new(DEFAULT, &session.default_host()?, skip))
}

/// Keeps a new context; its TLS material first, so that one that can be seen is whole.
pub fn keep(contexts: &Store, metadata: &Metadata, tls: &TlsMaterial) -> Result<()> {
    contexts.remove(&metadata.name)?;
    for (endpoint, files) in tls {
        contexts.reset_tls(&metadata.name, endpoint, files)?;
    }
    contexts.write(metadata)
}

/// Whether a context may be made under this name.
pub fn check_free(contexts: &Store, name: &str) -> Result<()> {
    check_name(name)?;
    match contexts.exists(name) {
        true => Err(message(format!("context {name:?} already exists"))),
        false => Ok(()),
    }
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let name = &args.rest[0];
    let contexts = session.contexts();
    check_free(&contexts, name)?;
    let (mut metadata, tls) = match (args.nonempty("from"), args.was_given("docker")) {
        (Some(_), true) => {
            return Err(message("cannot use --docker flag when --from is set"));
        }
        (None, true) => {
            let (metadata, files) = daemon(session, args)?.unwrap_or_default();
            let mut tls = TlsMaterial::new();
            if !files.is_empty() {
                tls.insert(ENDPOINT.to_owned(), files);
            }
            (metadata, tls)
        }
        (from, false) => existing(session, from.unwrap_or(session.choice.name()))?,
    };
    name.clone_into(&mut metadata.name);
    if let Some(description) = args.nonempty("description") {
        metadata.describe(description);
    }
    keep(&contexts, &metadata, &tls)?;
    stdio::println(name)?;
    eprintln!("Successfully created context {name:?}");
    Ok(())
}

pub async fn update(session: &Session, args: &Args) -> Result<()> {
    let name = &args.rest[0];
    check_name(name)?;
    let contexts = session.contexts();
    let mut metadata = contexts.read(name)?;
    if let Some(description) = args.nonempty("description") {
        metadata.describe(description);
    }
    if let Some((mut changed, files)) = daemon(session, args)? {
        metadata.endpoints.append(&mut changed.endpoints);
        contexts.reset_tls(name, ENDPOINT, &files)?;
    }
    contexts.write(&metadata)?;
    stdio::println(name)?;
    eprintln!("Successfully updated context {name:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_docker_reads_them() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            pairs("host=tcp://a:1,ca=/x"),
            Ok(vec![pair("host", "tcp://a:1"), pair("ca", "/x")])
        );
        assert_eq!(pairs("ca=/a,b"), Ok(vec![pair("ca", "/a,b")]));
        assert_eq!(
            pairs(r#"host=a,"ca=/a,b""#),
            Ok(vec![pair("host", "a"), pair("ca", "/a,b")])
        );
        assert_eq!(
            pairs("host"),
            Err("host must be formatted as key=value".into())
        );
        assert!(pairs("host=a,ca,key=b").is_err());
    }
}
