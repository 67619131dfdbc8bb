//! The registry's requests: paths, queries, ranges.

use std::sync::OnceLock;

use bytes::Bytes;
use dhow_registry::{MemoryStorage, Registry};
use http::Request;
use http_body_util::{BodyExt, Full};

use super::streams::block_on;

static REGISTRY: OnceLock<Registry<MemoryStorage>> = OnceLock::new();

/// `METHOD path\nRange\nbody`. `$` in a path stands for the digest of something that is there.
pub fn registry(data: &[u8]) {
    let registry = REGISTRY.get_or_init(|| dhow_hello::registry().expect("the image can be made"));
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (first, range, body) = (line(), line(), line());
    let Ok(first) = std::str::from_utf8(first) else {
        return;
    };
    let (method, path) = first.split_once(' ').unwrap_or(("GET", first));
    static DIGEST: OnceLock<String> = OnceLock::new();
    let digest = DIGEST.get_or_init(|| {
        let image = dhow_hello::image().expect("the image can be made");
        image.blobs[0].0.to_string()
    });
    let request = Request::builder()
        .method(method)
        .uri(path.replace('$', digest))
        .header("Range", range)
        .header("Content-Range", range)
        .body(Full::new(Bytes::copy_from_slice(body)));
    let Ok(request) = request else {
        return;
    };
    let asked = format!("{} {}", request.method(), request.uri());
    block_on(async {
        let answer = registry.handle(request).await;
        let status = answer.status();
        assert!(status.as_u16() != 500, "{asked}: {status}");
        let length = answer.headers().get("content-length").cloned();
        let body = answer.into_body().collect().await;
        let body = body.expect("the whole body comes").to_bytes();
        if let Some(length) = length
            && !asked.starts_with("HEAD ")
        {
            assert_eq!(
                length.to_str().ok(),
                Some(&*body.len().to_string()),
                "{asked}"
            );
        }
    });
}
