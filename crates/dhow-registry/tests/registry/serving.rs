//! The server around the service: TLS, the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::{TestRegistry, noise};
use dhow_registry::{
    FilesystemLimits, FilesystemStorage, Registry, RegistryConfig, ServeError, Server, ServerConfig,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/registry/fixtures")
        .join(name)
}

fn with_tls(certificate: PathBuf, key: PathBuf) -> ServerConfig {
    ServerConfig {
        tls: Some((certificate, key)),
        ..ServerConfig::new("127.0.0.1:0".parse().unwrap())
    }
}

#[tokio::test]
async fn it_speaks_tls() {
    let root = tempfile::tempdir().unwrap();
    let (storage, _) = FilesystemStorage::open(root.path(), FilesystemLimits::default()).unwrap();
    let config = with_tls(fixture("localhost.crt"), fixture("localhost.key"));
    let server = Server::bind(config).await.unwrap();
    let address = server.local_addr().unwrap();
    let registry = Registry::new(storage, RegistryConfig::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(registry, async move {
        let _ = stopped.await;
    }));

    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(fixture("localhost.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    stream
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(stop);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_bad_certificate_is_named() {
    let missing = Server::bind(with_tls("/nowhere/x.crt".into(), fixture("localhost.key"))).await;
    assert!(matches!(&missing, Err(ServeError::Pem { path, .. }) if path.ends_with("x.crt")));
    // A key where the certificate should be.
    let swapped = Server::bind(with_tls(fixture("localhost.key"), fixture("localhost.key"))).await;
    assert!(
        matches!(&swapped, Err(ServeError::Pem { reason, .. }) if reason.contains("no certificate"))
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let registry = TestRegistry::start().await;
    let error = match Server::bind(ServerConfig::new(registry.address)).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("two servers have the same port"),
    };
    assert!(error.contains(&registry.address.to_string()), "{error}");
}

#[tokio::test]
async fn requests_under_way_are_answered_before_the_end() {
    let registry = TestRegistry::start().await;
    let bytes = noise(1, 5_000_000);
    let digest = registry.push("a", bytes.clone()).await;
    let mut stream = tokio::net::TcpStream::connect(registry.address)
        .await
        .unwrap();
    let request = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 100_000];
    stream.read_exact(&mut answer).await.unwrap();
    let reading = tokio::spawn(async move {
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    });
    registry.stop().await;
    let answer = reading.await.unwrap();
    assert!(answer.ends_with(&bytes[4_000_000..]));
}
