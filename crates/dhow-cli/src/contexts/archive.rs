//! Contexts as archives, which `context export` writes and `context import` reads: a tar with `meta.json` and
//! `tls/<endpoint>/<file>`, as Docker's client has it. What is read is not trusted: names and sizes are
//! checked, and nothing is kept before all of it was read.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::contexts::{META, Metadata, TlsMaterial};
use crate::error::{Result, message};

/// All of an archive is smaller than this.
const LIMIT: u64 = 10 << 20;

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";

pub fn write(metadata: &Metadata, tls: &TlsMaterial, out: impl Write) -> Result<()> {
    let mut archive = Builder::new(out);
    let text = serde_json::to_vec(metadata).map_err(|error| message(error.to_string()))?;
    add(&mut archive, META, EntryType::Regular, 0o644, &text)?;
    add(&mut archive, "tls", EntryType::Directory, 0o700, &[])?;
    for (endpoint, files) in tls {
        let directory = format!("tls/{endpoint}");
        add(&mut archive, &directory, EntryType::Directory, 0o700, &[])?;
        for (name, text) in files {
            let path = format!("{directory}/{name}");
            add(&mut archive, &path, EntryType::Regular, 0o600, text)?;
        }
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn add(
    archive: &mut Builder<impl Write>,
    path: &str,
    kind: EntryType,
    mode: u32,
    text: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(text.len() as u64);
    archive.append_data(&mut header, path, text)
}

/// Reads an archive; the context in it gets this name.
pub fn read(name: &str, mut from: impl Read) -> Result<(Metadata, TlsMaterial)> {
    let mut bytes = Vec::new();
    from.by_ref().take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(message("read exceeds the defined limit"));
    }
    if bytes.starts_with(ZIP) {
        return Err(message(
            "this is a zip archive, of which contexts are not read: export the context as a tar archive",
        ));
    }
    let mut metadata = None;
    let mut tls = TlsMaterial::new();
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut text = Vec::new();
        match place(&path).map_err(|reason| message(format!("{path}: {reason}")))? {
            Place::Meta => {
                entry.read_to_end(&mut text)?;
                let mut read: Metadata = serde_json::from_slice(&text)
                    .map_err(|error| message(format!("{META} is not valid: {error}")))?;
                name.clone_into(&mut read.name);
                metadata = Some(read);
            }
            Place::Tls { endpoint, file } => {
                entry.read_to_end(&mut text)?;
                tls.entry(endpoint.to_owned())
                    .or_default()
                    .insert(file.to_owned(), text);
            }
        }
    }
    match metadata {
        Some(metadata) => Ok((metadata, tls)),
        None => Err(message("invalid context: no metadata found")),
    }
}

enum Place<'a> {
    Meta,
    Tls { endpoint: &'a str, file: &'a str },
}

fn place(path: &str) -> std::result::Result<Place<'_>, &'static str> {
    if path == META {
        return Ok(Place::Meta);
    }
    let Some(rest) = path.strip_prefix("tls/") else {
        return Err("unexpected context file");
    };
    if path.contains('\\') {
        return Err("unexpected '\\' in path");
    }
    let Some((endpoint, file)) = rest.split_once('/') else {
        return Err("archive format is invalid");
    };
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['/', '\0']);
    if !plain(endpoint) || !plain(file) {
        return Err("unexpected path format");
    }
    Ok(Place::Tls { endpoint, file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_archive_comes_back_under_another_name() {
        let metadata = Metadata::new("aa", "tcp://h:1", true);
        let files = BTreeMap::from([("ca.pem".to_owned(), b"ca".to_vec())]);
        let tls = TlsMaterial::from([("docker".to_owned(), files)]);
        let mut bytes = Vec::new();
        write(&metadata, &tls, &mut bytes).unwrap();
        let (read, material) = read("bb", bytes.as_slice()).unwrap();
        assert_eq!(read.name, "bb");
        assert_eq!(read.endpoints, metadata.endpoints);
        assert_eq!(material, tls);
    }

    #[test]
    fn what_is_no_context_is_refused() {
        for path in [
            "x",
            "tls/a",
            "tls//a",
            "tls/../a",
            "tls/a/../b",
            "tls/a/b/c",
            "tls/a\\b/c",
        ] {
            assert!(place(path).is_err(), "{path}");
        }
        let text = |bytes: &[u8]| read("bb", bytes).unwrap_err().to_string();
        assert_eq!(text(&[0; 1024]), "invalid context: no metadata found");
        assert!(text(b"PK\x03\x04rest").contains("zip"));
        assert!(!text(&[b'x'; 1024]).is_empty());
        assert_eq!(
            text(&vec![0; (LIMIT + 1) as usize]),
            "read exceeds the defined limit"
        );
    }
}
