//! What was acknowledged outlives the server, however it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{TestRegistry, noise, open_when_free};
use dhow_oci::Digest;
use dhow_registry::{FilesystemLimits, FilesystemStorage, Recovered, RegistryConfig};
use http::Method;

const ROOT: &str = "DHOW_REGISTRY_TEST_ROOT";

/// No test: the body of the server process that the tests below kill.
#[tokio::test]
async fn server_process() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let (storage, _) =
        FilesystemStorage::open(Path::new(&root), FilesystemLimits::default()).unwrap();
    let config = dhow_registry::ServerConfig::new("127.0.0.1:0".parse().unwrap());
    let server = dhow_registry::Server::bind(config).await.unwrap();
    println!("listening on {}", server.local_addr().unwrap());
    let registry = dhow_registry::Registry::new(storage, RegistryConfig::default());
    server.run(registry, std::future::pending()).await;
}

/// A server in a process of its own.
struct Killable {
    process: Child,
    base: String,
}

impl Killable {
    fn start(root: &Path) -> Killable {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::server_process", "--nocapture"])
            .env(ROOT, root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let base = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("listening on ")
                    .map(|(_, a)| format!("http://{a}"))
            })
            .expect("the server says where it listens");
        Killable { process, base }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_a_kill() {
    let client = TestRegistry::start().await; // for its client only
    let root = tempfile::tempdir().unwrap();
    let bytes = noise(1, 900_000);
    let server = Killable::start(root.path());
    let begin = format!(
        "{}/v2/a/blobs/uploads/?digest-algorithm=sha512",
        server.base
    );
    let location = client
        .ask(Method::POST, &begin)
        .send()
        .await
        .expect(202, "")
        .header("location")
        .to_owned();
    let path = format!("{}{location}", server.base);
    client
        .ask(Method::PATCH, &path)
        .body(bytes[..600_000].to_vec())
        .send()
        .await
        .expect(202, "");
    server.kill();

    let server = Killable::start(root.path());
    let path = format!("{}{location}", server.base);
    let status = client.get(&path).await.expect(204, "");
    assert_eq!(status.header("range"), "0-599999");
    let digest = crate::support::sha512(&bytes);
    client
        .ask(Method::PUT, &format!("{path}?digest={digest}"))
        .header("content-range", "600000-899999")
        .body(bytes[600_000..].to_vec())
        .send()
        .await
        .expect(201, "");
    let blob = client
        .get(&format!("{}/v2/a/blobs/{digest}", server.base))
        .await
        .expect(200, "");
    assert_eq!(blob.body, bytes);
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let client = std::sync::Arc::new(TestRegistry::start().await);
    for round in 0..3u64 {
        let server = Killable::start(root.path());
        let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        let tasks: Vec<_> = (0..8u64)
            .map(|task| {
                let (client, base, sender) = (client.clone(), server.base.clone(), sender.clone());
                tokio::spawn(async move {
                    for n in 0.. {
                        let bytes = noise(
                            round * 1_000_000 + task * 1000 + n,
                            50_000 + 1000 * task as usize,
                        );
                        let digest = Digest::sha256(&bytes);
                        let url = format!("{base}/v2/a/blobs/uploads/?digest={digest}");
                        let request = http::Request::post(&url)
                            .body(http_body_util::Full::new(bytes::Bytes::from(bytes)))
                            .unwrap();
                        match try_send(request).await {
                            Some(201) => sender.send(digest).unwrap(),
                            _ => return client, // killed
                        }
                    }
                    client
                })
            })
            .collect();
        drop(sender);
        let mut digests = Vec::new();
        while digests.len() < 40 {
            digests.push(acknowledged.recv().await.unwrap());
        }
        server.kill();
        for task in tasks {
            task.await.unwrap();
        }
        while let Ok(digest) = acknowledged.try_recv() {
            digests.push(digest);
        }

        let server = Killable::start(root.path());
        for digest in &digests {
            let blob = client
                .get(&format!("{}/v2/a/blobs/{digest}", server.base))
                .await
                .expect(200, "");
            assert_eq!(Digest::sha256(&blob.body), *digest);
        }
        server.kill();
        // And nothing in the store is other than its name says, acknowledged or not.
        for entry in std::fs::read_dir(root.path().join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            assert_eq!(
                Digest::sha256(&bytes).hex(),
                entry.file_name().to_str().unwrap()
            );
        }
    }
    let limits = FilesystemLimits::default();
    drop(open_when_free(root.path(), limits));
    assert_eq!(
        std::fs::read_dir(root.path().join("uploads"))
            .unwrap()
            .count(),
        0
    );
}

/// The status of an answer, or none if the server is gone.
async fn try_send(request: http::Request<http_body_util::Full<bytes::Bytes>>) -> Option<u16> {
    use hyper_util::client::legacy::{Client, connect::HttpConnector};
    let client: Client<HttpConnector, _> =
        Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    client
        .request(request)
        .await
        .ok()
        .map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn start_up_clears_up() {
    let registry = TestRegistry::start().await;
    let location = registry.begin("a").await;
    registry
        .ask(Method::PATCH, &location)
        .body("content")
        .send()
        .await
        .expect(202, "");
    let root = registry.stop().await;
    let uploads = root.path().join("uploads");
    std::fs::write(
        uploads.join("12345678-1234-4234-8234-123456789012.tmp"),
        "half",
    )
    .unwrap();
    std::fs::write(
        uploads.join("12345678-1234-4234-8234-123456789012.data"),
        "orphan",
    )
    .unwrap();
    std::fs::write(
        uploads.join("12345678-1234-4234-8234-123456789013.json"),
        "{",
    )
    .unwrap();

    let registry =
        TestRegistry::on(root, RegistryConfig::default(), FilesystemLimits::default()).await;
    assert_eq!(
        registry.recovered,
        Recovered {
            uploads_kept: 1,
            uploads_expired: 0,
            leftovers: 3
        }
    );
    assert_eq!(
        registry
            .get(&location)
            .await
            .expect(204, "")
            .header("range"),
        "0-6"
    );
    let root = registry.stop().await;

    let limits = FilesystemLimits {
        upload_expiry: Duration::ZERO,
        ..FilesystemLimits::default()
    };
    let registry = TestRegistry::on(root, RegistryConfig::default(), limits).await;
    assert_eq!(
        registry.recovered,
        Recovered {
            uploads_kept: 0,
            uploads_expired: 1,
            leftovers: 0
        }
    );
    registry
        .get(&location)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(
        std::fs::read_dir(registry.root.path().join("uploads"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn forgotten_uploads_expire_while_it_runs() {
    let limits = FilesystemLimits {
        upload_expiry: Duration::ZERO,
        ..FilesystemLimits::default()
    };
    let registry = TestRegistry::on(
        tempfile::tempdir().unwrap(),
        RegistryConfig::default(),
        limits,
    )
    .await;
    let location = registry.begin("a").await;
    assert_eq!(registry.storage.expire_uploads().await.unwrap(), 1);
    registry
        .get(&location)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(
        std::fs::read_dir(registry.root.path().join("uploads"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn content_outlives_a_restart() {
    let registry = TestRegistry::start().await;
    let (digest, manifest) = registry.push_image("a", "v1", "layer").await;
    let root = registry.stop().await;
    let registry =
        TestRegistry::on(root, RegistryConfig::default(), FilesystemLimits::default()).await;
    let answer = registry.get("/v2/a/manifests/v1").await.expect(200, "");
    assert_eq!(answer.body, manifest);
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
}

#[test]
fn a_directory_has_one_server() {
    let root = tempfile::tempdir().unwrap();
    let first = FilesystemStorage::open(root.path(), FilesystemLimits::default()).unwrap();
    let Err(second) = FilesystemStorage::open(root.path(), FilesystemLimits::default()) else {
        panic!("two servers have the same directory");
    };
    assert!(
        second.to_string().contains("another registry is serving"),
        "{second}"
    );
    drop(first);
    open_when_free(root.path(), FilesystemLimits::default());
}

#[test]
fn a_newer_layout_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    drop(FilesystemStorage::open(root.path(), FilesystemLimits::default()).unwrap());
    std::fs::write(root.path().join("registry.json"), r#"{"layout":99}"#).unwrap();
    let error = loop {
        match FilesystemStorage::open(root.path(), FilesystemLimits::default()) {
            Ok(_) => panic!("a directory of layout 99 was opened"),
            Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => continue,
            Err(e) => break e,
        }
    };
    assert!(error.to_string().contains("layout 99"), "{error}");
}
