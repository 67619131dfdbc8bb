//! What this crate reads of a registry's and shows nobody, as functions of bytes: for the fuzz targets.

use http::HeaderValue;

use crate::auth::Challenge;

/// How a registry wants to know who asks.
pub fn challenge(bytes: &[u8]) {
    let headers = bytes.split(|byte| *byte == b'\n');
    let headers: Vec<_> = headers
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    let _ = Challenge::choose(headers.iter());
}
