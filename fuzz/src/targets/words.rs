//! Words of requests and command lines: references, digests, platforms, times, keys, flags' values.

use dhow_api::{duration, time};
use dhow_engine::{DetachKeys, DetachScanner};
use dhow_oci::{Digest, Platform, Reference, reference::is_identifier};
use dhow_registry::{RepositoryName, Tag};

use super::choice;

pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = Reference::parse_normalized(text) {
        for shown in [read.to_string(), read.familiar()] {
            let again = Reference::parse_normalized(&shown);
            assert_eq!(again.as_ref(), Ok(&read), "{text:?} is shown as {shown:?}");
        }
        assert!(read.same_repository(&read.name_only()));
        let tagged = read.clone().with_default_tag();
        assert!(tagged.tag().is_some() || tagged.digest().is_some());
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.hex().len(), digest.algorithm().hex_len());
    }
    if let Ok(platform) = text.parse::<Platform>() {
        let again = platform.to_string().parse::<Platform>();
        assert_eq!(again.as_ref(), Ok(&platform), "{text:?}");
        platform.matcher().rank(&Platform::host());
    }
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
    }
    is_identifier(text);
    dhow_cli::untrusted::reference(text);
}

pub fn times(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(nanoseconds) = duration::parse(text) {
        let shown = duration::format(nanoseconds);
        assert_eq!(duration::parse(&shown), Ok(nanoseconds), "{text:?}");
        duration::human(nanoseconds / 1_000_000_000);
    }
    if let Ok(nanoseconds) = time::parse(text) {
        time::rfc3339_nano(nanoseconds);
    }
    dhow_cli::untrusted::amounts(text);
}

/// The keys that detach, and a terminal's input that comes in pieces.
pub fn keys(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(spec), Some(pieces), Some(input)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let Ok(spec) = std::str::from_utf8(spec) else {
        return;
    };
    let Ok(keys) = DetachKeys::parse(spec) else {
        return;
    };
    let scan = |sizes: &mut dyn Iterator<Item = usize>| {
        let mut scanner = DetachScanner::new(keys.clone());
        let (mut forward, mut rest) = (Vec::new(), input);
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
            let scanned = scanner.scan(&rest[..size]);
            forward.extend(scanned.forward);
            if scanned.detached {
                return (forward, true);
            }
            rest = &rest[size..];
        }
        forward.extend(scanner.finish());
        (forward, false)
    };
    let whole = scan(&mut std::iter::empty());
    let pieced = scan(&mut pieces.iter().map(|size| usize::from(*size)));
    assert_eq!(whole, pieced, "keys {spec:?}");
}

/// The values of flags that have a grammar of their own.
pub fn flags(data: &[u8]) {
    let (which, rest) = choice(data);
    if let Ok(text) = std::str::from_utf8(rest) {
        dhow_cli::untrusted::flag(which, text);
    }
}
