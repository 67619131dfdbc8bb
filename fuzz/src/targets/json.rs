//! Documents: bodies and filters of requests, manifests and configurations of images, seccomp profiles; and the
//! instructions of `--change`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use dhow_api::{
    AuthConfig, ContainerConfig, ContainerCreateRequest, ContainerUpdateRequest, Event,
    ExecCreateRequest, ExecStartRequest, Filters, VolumeCreateRequest, read,
};
use dhow_oci::{Document, ImageConfig, RunConfig, media_type};
use dhow_registry::MemoryContent;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::choice;

pub fn body(data: &[u8]) {
    let (which, text) = choice(data);
    match which % 8 {
        0 => comes_back::<ContainerCreateRequest>(text),
        1 => comes_back::<ContainerConfig>(text),
        2 => comes_back::<ContainerUpdateRequest>(text),
        3 => comes_back::<ExecCreateRequest>(text),
        4 => comes_back::<ExecStartRequest>(text),
        5 => comes_back::<VolumeCreateRequest>(text),
        6 => comes_back::<AuthConfig>(text),
        _ => {
            let _ = serde_json::from_slice::<Event>(text);
        }
    }
}

/// What was read is written so that it is read as the same.
fn comes_back<T: DeserializeOwned + Serialize + Debug>(text: &[u8]) {
    let Ok(value) = read::from_slice::<T>(text) else {
        return;
    };
    let written = serde_json::to_string(&value).expect("what was read can be written");
    let again = match read::from_slice::<T>(written.as_bytes()) {
        Ok(again) => again,
        Err(e) => panic!("{written} can't be read: {e}"),
    };
    let rewritten = serde_json::to_string(&again).expect("what was read can be written");
    assert_eq!(written, rewritten);
}

pub fn filters(data: &[u8]) {
    let (mut lines, nothing) = (data.splitn(2, |byte| *byte == b'\n'), BTreeMap::new());
    let Some(Ok(text)) = lines.next().map(std::str::from_utf8) else {
        return;
    };
    let source = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let Ok(filters) = Filters::parse(text) else {
        return;
    };
    let written = serde_json::to_string(&filters).expect("filters can be written");
    assert_eq!(Filters::parse(&written).as_ref(), Ok(&filters), "{text:?}");
    let _ = filters.validate(&["label", "name", "dangling"]);
    let _ = filters.boolean("dangling");
    for name in ["label", "name"] {
        filters.exact_match(name, &source);
        filters.prefix_match(name, &source);
        filters.regex_match(name, &source);
        filters.labels_match(name, &nothing);
    }
}

pub fn manifest(data: &[u8]) {
    let (which, bytes) = choice(data);
    let types = [
        "",
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_INDEX,
        "text/plain",
    ];
    let _ = Document::parse(types[usize::from(which) % types.len()], bytes);
    if let Ok(config) = ImageConfig::parse(bytes) {
        config.platform();
        config.created_seconds();
        assert_eq!(config.chain_ids().len(), config.rootfs.diff_ids.len());
        let written = serde_json::to_vec(&config).expect("a configuration can be written");
        ImageConfig::parse(&written).expect("what was written can be read");
    }
    let name = "library/it".parse().expect("it is a name");
    let _ = MemoryContent::default().manifest(&name, bytes, None);
}

pub fn seccomp(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = dhow_engine::check_seccomp_profile(text);
    }
}

pub fn changes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let changes: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let mut config = RunConfig::default();
    if dhow_image::changes::apply(&mut config, &changes).is_ok() {
        serde_json::to_vec(&config).expect("a configuration can be written");
    }
}
