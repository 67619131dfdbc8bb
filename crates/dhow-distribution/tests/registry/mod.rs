//! A registry with one image, that misbehaves as a test tells it to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use dhow_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, RootFs, media_type};
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Blobs and manifests by digest, and what the tag `1` means.
#[derive(Default)]
pub struct Content {
    blobs: HashMap<String, Bytes>,
    manifests: HashMap<String, (String, Bytes)>,
    largest: (usize, String),
}

impl Content {
    /// An image with a layer for each name; `big` is one of 3 MB.
    pub fn image(files: &[&str]) -> Content {
        let mut content = Content::default();
        let manifest = content.add_image(files, &Platform::host());
        content.tag(&manifest);
        content
    }

    pub fn index(platforms: &[&str]) -> Content {
        let mut content = Content::default();
        let mut manifests = Vec::new();
        for platform in platforms {
            let platform: Platform = platform.parse().unwrap();
            let mut descriptor = content.add_image(&["x"], &platform);
            descriptor.platform = Some(platform);
            manifests.push(descriptor);
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Default::default(),
        };
        let index =
            content.add_manifest(media_type::OCI_INDEX, serde_json::to_vec(&index).unwrap());
        content.tag(&index);
        content
    }

    /// The largest layer is no longer what its digest says.
    pub fn corrupted(mut self) -> Content {
        let blob = self.blobs.get_mut(&self.largest.1).unwrap();
        let mut bytes = blob.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        *blob = bytes.into();
        self
    }

    fn tag(&mut self, descriptor: &Descriptor) {
        let manifest = self.manifests[&descriptor.digest.to_string()].clone();
        self.manifests.insert("1".into(), manifest);
    }

    fn add_image(&mut self, files: &[&str], platform: &Platform) -> Descriptor {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for file in files {
            let tar = tar(file);
            diff_ids.push(Digest::sha256(&tar));
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(&tar).unwrap();
            layers.push(self.add_blob(media_type::OCI_LAYER_GZIP, gz.finish().unwrap()));
        }
        let config = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            rootfs: RootFs {
                diff_ids,
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        let config = serde_json::to_vec(&config).unwrap();
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.into()),
            artifact_type: None,
            config: self.add_blob(media_type::OCI_CONFIG, config),
            layers,
            subject: None,
            annotations: Default::default(),
        };
        self.add_manifest(
            media_type::OCI_MANIFEST,
            serde_json::to_vec(&manifest).unwrap(),
        )
    }

    fn add_blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let digest = Digest::sha256(&bytes);
        let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
        self.largest = self.largest.clone().max((bytes.len(), digest.to_string()));
        self.blobs.insert(digest.to_string(), bytes.into());
        descriptor
    }

    fn add_manifest(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let digest = Digest::sha256(&bytes);
        let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
        let entry = (media_type.to_owned(), bytes.into());
        self.manifests.insert(digest.to_string(), entry);
        descriptor
    }
}

fn tar(file: &str) -> Vec<u8> {
    let data = if file == "big" {
        // Does not compress.
        let mut state = 1u64;
        (0..3_000_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect()
    } else {
        file.as_bytes().to_vec()
    };
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, file, &data[..]).unwrap();
    builder.into_inner().unwrap()
}

#[derive(Default)]
pub struct Faults {
    /// How often an answer with the largest blob breaks off in its middle.
    pub cuts: AtomicUsize,
    pub no_ranges: AtomicBool,
    /// The first half of the largest blob is all that ever comes.
    pub refuse_after_half: AtomicBool,
    /// Nothing comes after the first half of the largest blob.
    pub stall: AtomicBool,
    pub stalled: tokio::sync::Notify,
    /// No answer ever begins.
    pub mute: AtomicBool,
    /// User and password, for a token.
    pub credentials: Mutex<Option<(String, String)>>,
    /// Where blobs are to be found instead.
    pub redirect: Mutex<Option<String>>,
    pub blobs_served: AtomicUsize,
    pub ranges_served: AtomicUsize,
    pub tokens_given: AtomicUsize,
    pub authorizations_seen: AtomicUsize,
}

pub struct Faulty {
    pub address: String,
    faults: Arc<Faults>,
    server: tokio::task::JoinHandle<()>,
}

impl std::ops::Deref for Faulty {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Faulty {
    pub async fn start(content: Content) -> Faulty {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let faults = Arc::new(Faults::default());
        let state = (Arc::new(content), faults.clone(), address.clone());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = state.clone();
                let service = hyper::service::service_fn(move |request| {
                    let (content, faults, address) = state.clone();
                    async move {
                        if faults.mute.load(Ordering::SeqCst) {
                            std::future::pending::<()>().await;
                        }
                        Ok::<_, Infallible>(answer(&content, &faults, &address, request))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Faulty {
            address,
            faults,
            server,
        }
    }
}

fn plain(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(bytes.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

fn answer(
    content: &Content,
    faults: &Arc<Faults>,
    address: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_some() {
        faults.authorizations_seen.fetch_add(1, Ordering::SeqCst);
    }
    let path = request.uri().path().to_owned();
    if let Some((user, password)) = &*faults.credentials.lock().unwrap() {
        if path == "/token" {
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            let right = format!("Basic {encoded}");
            return match authorization {
                None => plain(StatusCode::OK, r#"{"token":"anonymous"}"#),
                Some(given) if given.as_bytes() == right.as_bytes() => {
                    let asked = request.uri().query().unwrap_or_default();
                    if asked.contains("scope=repository%3Aapp%3Apull") {
                        faults.tokens_given.fetch_add(1, Ordering::SeqCst);
                    }
                    plain(StatusCode::OK, r#"{"access_token":"good"}"#)
                }
                Some(_) => plain(StatusCode::UNAUTHORIZED, ""),
            };
        }
        if authorization.is_none_or(|a| a.as_bytes() != b"Bearer good") {
            let mut response = plain(StatusCode::UNAUTHORIZED, "");
            let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"test\"");
            let challenge = challenge.parse().unwrap();
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        }
    }
    if path == "/v2/" {
        return plain(StatusCode::OK, "{}");
    }
    let last = path.rsplit('/').next().unwrap();
    if path.contains("/manifests/") {
        let Some((media_type, bytes)) = content.manifests.get(last) else {
            return plain(
                StatusCode::NOT_FOUND,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            );
        };
        let mut response = plain(StatusCode::OK, bytes.clone());
        let media_type = media_type.parse().unwrap();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        return response;
    }
    let Some(blob) = content.blobs.get(last) else {
        return plain(StatusCode::NOT_FOUND, "");
    };
    if let Some(elsewhere) = &*faults.redirect.lock().unwrap() {
        let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "");
        let location = format!("http://{elsewhere}{path}").parse().unwrap();
        response.headers_mut().insert(header::LOCATION, location);
        return response;
    }
    if request.method() == Method::HEAD {
        return plain(StatusCode::OK, "");
    }
    faults.blobs_served.fetch_add(1, Ordering::SeqCst);
    serve_blob(content, faults, &request, last, blob)
}

fn serve_blob(
    content: &Content,
    faults: &Arc<Faults>,
    request: &Request<Incoming>,
    digest: &str,
    blob: &Bytes,
) -> Response<Body> {
    let from = request
        .headers()
        .get(header::RANGE)
        .and_then(|r| {
            r.to_str()
                .ok()?
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .filter(|_| !faults.no_ranges.load(Ordering::SeqCst))
        .unwrap_or(0usize);
    let largest = content.largest.1 == digest;
    if largest && from > 0 && faults.refuse_after_half.load(Ordering::SeqCst) {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "");
    }
    let rest = blob.slice(from..);
    let half = rest.len() / 2;
    let cut = faults
        .cuts
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
            n.checked_sub(1).filter(|_| largest)
        })
        .is_ok();
    let refuse = largest && faults.refuse_after_half.load(Ordering::SeqCst);
    let stall = largest && faults.stall.load(Ordering::SeqCst);
    let total = rest.len();
    let body: Body = if cut || refuse || stall {
        let first = Ok(Frame::data(rest.slice(..half)));
        let faults = faults.clone();
        let then = futures_util::stream::once(async move {
            if stall {
                faults.stalled.notify_one();
                std::future::pending::<()>().await;
            }
            Err(std::io::Error::other("cut"))
        });
        StreamBody::new(futures_util::stream::iter([first]).chain(then)).boxed_unsync()
    } else {
        Full::new(rest)
            .map_err(|never| match never {})
            .boxed_unsync()
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, total.into());
    if from > 0 {
        faults.ranges_served.fetch_add(1, Ordering::SeqCst);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
        response
            .headers_mut()
            .insert(header::CONTENT_RANGE, range.parse().unwrap());
    }
    response
}
