//! A registry on a port of its own, and a client for it.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use dhow_oci::Digest;
use dhow_registry::{
    FilesystemLimits, FilesystemStorage, Recovered, Registry, RegistryConfig, Server, ServerConfig,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

pub struct TestRegistry {
    pub root: TempDir,
    pub address: SocketAddr,
    pub storage: FilesystemStorage,
    pub recovered: Recovered,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        match self.headers.get(name) {
            Some(value) => value.to_str().unwrap(),
            None => panic!("no header {name} in {:?}", self.headers),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts the status, and for an error its code.
    #[track_caller]
    pub fn expect(self, status: u16, code: &str) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        if !code.is_empty() {
            assert_eq!(self.json()["errors"][0]["code"], code, "{:?}", self.body);
        }
        self
    }
}

/// Builds one request, and sends it.
pub struct Asking<'a> {
    registry: &'a TestRegistry,
    request: http::request::Builder,
    body: Bytes,
}

impl Asking<'_> {
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.request = self.request.header(name, value.to_string());
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        self.registry
            .send(self.request.body(Full::new(self.body)).unwrap())
            .await
    }
}

impl TestRegistry {
    pub async fn start() -> TestRegistry {
        TestRegistry::on(
            tempfile::tempdir().unwrap(),
            RegistryConfig::default(),
            FilesystemLimits::default(),
        )
        .await
    }

    pub async fn on(
        root: TempDir,
        config: RegistryConfig,
        limits: FilesystemLimits,
    ) -> TestRegistry {
        let (storage, recovered) = open_when_free(root.path(), limits);
        let server = Server::bind(ServerConfig::new("127.0.0.1:0".parse().unwrap()))
            .await
            .unwrap();
        let address = server.local_addr().unwrap();
        let registry = Registry::new(storage.clone(), config);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(registry, async move {
            let _ = stopped.await;
        }));
        TestRegistry {
            root,
            address,
            storage,
            recovered,
            stop: Some(stop),
            server,
        }
    }

    /// Ends the server as SIGTERM does, and gives back its directory.
    pub async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        self.server.await.unwrap();
        drop(self.storage);
        self.root
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.address)
        }
    }

    pub fn ask(&self, method: Method, path: &str) -> Asking<'_> {
        let request = Request::builder().method(method).uri(self.url(path));
        Asking {
            registry: self,
            request,
            body: Bytes::new(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).send().await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.ask(Method::HEAD, path).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path).send().await
    }

    pub async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let client: Client<HttpConnector, B> = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Ends an upload that is complete.
    pub async fn finish(&self, path: &str) {
        let answer = self.ask(Method::PUT, path).send().await;
        answer.expect(201, "");
    }

    /// What is there is this.
    pub async fn holds(&self, path: &str, bytes: &[u8]) {
        let answer = self.get(path).await.expect(200, "");
        // Not printed: it may be long.
        assert!(answer.body == bytes, "other bytes than were pushed: {path}");
    }

    /// Begins an upload; returns its address.
    pub async fn begin(&self, repository: &str) -> String {
        let answer = self
            .ask(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))
            .send()
            .await;
        answer.expect(202, "").header("location").to_owned()
    }

    /// Pushes a blob in one request.
    pub async fn push(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.ask(Method::POST, &path)
            .body(bytes)
            .send()
            .await
            .expect(201, "");
        digest
    }

    pub async fn put_manifest(
        &self,
        path: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Answer {
        self.ask(Method::PUT, path)
            .header("content-type", media_type)
            .body(bytes)
            .send()
            .await
    }

    /// Pushes an image of one layer under a tag; returns its manifest.
    pub async fn push_image(&self, repository: &str, tag: &str, layer: &str) -> (Digest, Vec<u8>) {
        let layer = self.push(repository, layer.to_owned()).await;
        let config = self.push(repository, "{}").await;
        let manifest = image(&config, &[layer]).to_string().into_bytes();
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.put_manifest(&path, OCI_IMAGE, manifest.clone())
            .await
            .expect(201, "");
        (Digest::sha256(&manifest), manifest)
    }
}

/// Opens a directory whose server has just ended. A process that another test forks at that moment has the
/// lock's descriptor, too, until it executes its program.
pub fn open_when_free(root: &Path, limits: FilesystemLimits) -> (FilesystemStorage, Recovered) {
    loop {
        match FilesystemStorage::open(root, limits.clone()) {
            Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

pub fn image(config: &Digest, layers: &[Digest]) -> Value {
    let layers: Vec<_> = layers
        .iter()
        .map(|d| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": 1}))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": layers,
    })
}

pub fn sha512(bytes: &[u8]) -> Digest {
    let mut hasher = dhow_oci::Algorithm::Sha512.hasher();
    hasher.update(bytes);
    hasher.finish()
}

/// Bytes that don't compress and differ by seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// All files below a directory, for tests of what is left behind.
pub fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path.strip_prefix(directory).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
