//! Requests that go away in the middle of a change.

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::*;
use crate::manifest::ManifestKind;
use crate::storage::{Need, Upload};

/// A storage whose one thread for blocking work waits until it is told to go on, so that a change can be left in
/// its middle.
struct Stalled {
    storage: FilesystemStorage,
    root: tempfile::TempDir,
    go_on: Option<std::sync::mpsc::Sender<()>>,
}

impl Stalled {
    /// Runs `test` in a runtime of its own.
    fn run<F: Future<Output = ()>>(test: impl FnOnce(Stalled) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let root = tempfile::tempdir().unwrap();
        let (storage, _) =
            FilesystemStorage::open(root.path(), FilesystemLimits::default()).unwrap();
        runtime.block_on(test(Stalled {
            storage,
            root,
            go_on: None,
        }));
    }

    async fn stall(&mut self) {
        let (go_on, told) = std::sync::mpsc::channel();
        let (begun, stalled) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _ = begun.send(());
            let _ = told.recv();
        });
        stalled.await.unwrap();
        self.go_on = Some(go_on);
    }

    /// Lets the work go on, and returns when all that was waiting is done.
    async fn go_on(&mut self) {
        self.go_on = None;
        for _ in 0..100 {
            tokio::task::yield_now().await;
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
    }

    fn uploads(&self) -> usize {
        let directory = self.root.path().join("uploads");
        std::fs::read_dir(directory).unwrap().count()
    }
}

/// A client that sends its request, waits until it is taken up and hangs up.
async fn abandon<T>(request: impl Future<Output = T>) {
    let mut request = Box::pin(request);
    for _ in 0..20 {
        assert!(request.as_mut().now_or_never().is_none(), "it is stalled");
        tokio::task::yield_now().await;
    }
}

fn repository() -> RepositoryName {
    "a/b".parse().unwrap()
}

async fn push(storage: &FilesystemStorage, bytes: &'static [u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    let (_, mut upload) = storage
        .start_upload(&repository(), Algorithm::Sha256)
        .await
        .unwrap();
    upload.write(Bytes::from_static(bytes)).await.unwrap();
    upload.commit(&digest).await.unwrap();
    digest
}

fn manifest(needs: Digest) -> PutManifest {
    let bytes = Bytes::from_static(b"{}");
    let digest = Digest::sha256(&bytes);
    let kind = ManifestKind::OciImage;
    PutManifest {
        record: ManifestRecord {
            digest: digest.clone(),
            kind,
            size: 2,
            subject: None,
        },
        descriptor: Descriptor::new(kind.media_type(), digest, 2),
        bytes,
        needs: vec![Need::Blob(needs)],
        tags: vec!["latest".parse().unwrap()],
    }
}

#[test]
fn a_change_keeps_its_lock_when_its_client_hangs_up() {
    Stalled::run(|mut stalled| async move {
        let (storage, name) = (stalled.storage.clone(), repository());
        let lock = storage.0.lock_of(&name);
        let blob = push(&storage, b"layer").await;
        let other: RepositoryName = "other".parse().unwrap();
        assert!(storage.mount_blob(&other, None, &blob).await.unwrap());
        let digest = manifest(blob.clone()).record.digest;

        stalled.stall().await;
        abandon(storage.put_manifest(&name, manifest(blob.clone()))).await;
        assert!(lock.try_write().is_err(), "the manifest is being written");
        let mut second = Box::pin(storage.delete_blob(&name, &blob));
        assert!(second.as_mut().now_or_never().is_none());
        stalled.go_on().await;
        // The one that was abandoned came first and is whole; then the one that waited for it.
        let reference = TagOrDigest::Digest(digest.clone());
        assert!(storage.manifest(&name, &reference).await.unwrap().is_some());
        assert!(second.await.unwrap());
        assert!(lock.try_write().is_ok());

        stalled.stall().await;
        abandon(storage.mount_blob(&name, Some(&other), &blob)).await;
        assert!(lock.try_write().is_err(), "the blob is being linked");
        stalled.go_on().await;
        assert!(storage.blob(&name, &blob).await.unwrap().is_some());

        for tag in [true, false] {
            stalled.stall().await;
            if tag {
                abandon(storage.delete_tag(&name, &"latest".parse().unwrap())).await;
            } else {
                abandon(storage.delete_blob(&name, &blob)).await;
            }
            assert!(lock.try_read().is_err(), "something is being removed");
            stalled.go_on().await;
            assert!(lock.try_write().is_ok());
        }
        assert!(storage.blob(&name, &blob).await.unwrap().is_none());
    });
}

#[test]
fn a_blob_is_placed_under_its_lock_when_its_client_hangs_up() {
    Stalled::run(|mut stalled| async move {
        let (storage, name) = (stalled.storage.clone(), repository());
        let lock = storage.0.lock_of(&name);
        let digest = Digest::sha256(b"layer");
        let (_, mut upload) = storage
            .start_upload(&name, Algorithm::Sha256)
            .await
            .unwrap();
        upload.write(Bytes::from_static(b"layer")).await.unwrap();
        upload.flush().await.unwrap();
        stalled.stall().await;
        abandon(upload.commit(&digest)).await;
        assert!(lock.try_write().is_err(), "the blob is being placed");
        stalled.go_on().await;
        assert!(lock.try_write().is_ok());
        assert!(storage.blob(&name, &digest).await.unwrap().is_some());
        assert_eq!(stalled.uploads(), 0);
    });
}

#[test]
fn an_upload_that_nobody_waits_for_leaves_no_half_of_its_files() {
    Stalled::run(|mut stalled| async move {
        let (storage, name) = (stalled.storage.clone(), repository());
        stalled.stall().await;
        abandon(storage.start_upload(&name, Algorithm::Sha256)).await;
        stalled.go_on().await;
        assert_eq!(stalled.uploads(), 0);
        assert!(storage.0.sessions().is_empty());

        let (id, upload) = storage
            .start_upload(&name, Algorithm::Sha256)
            .await
            .unwrap();
        stalled.stall().await;
        abandon(upload.keep()).await;
        stalled.go_on().await;
        assert_eq!(stalled.uploads(), 2, "its data and its record");
        let upload = storage.open_upload(&name, id).await.unwrap().unwrap();
        upload.discard().await.unwrap();
        assert_eq!(stalled.uploads(), 0);
    });
}
