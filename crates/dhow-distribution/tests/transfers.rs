//! Transfers to and from registries: our own, and one that misbehaves on purpose.

mod registry;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use dhow_distribution::{
    Auth, Client, Config, DistributionError, Embedded, Progress, ProgressEvent,
};
use dhow_image::Images;
use dhow_oci::{Platform, Reference};
use dhow_registry::{FilesystemStorage, Registry, RegistryConfig, Server, ServerConfig};
use dhow_store::Store;
use registry::{Content, Faulty};
use tokio_util::sync::CancellationToken;

struct Host {
    dir: tempfile::TempDir,
    images: Images,
    told: Arc<Mutex<Vec<String>>>,
}

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("meta.db"), &[Images::schema()]).unwrap();
        let images = Images::open(dir.path(), store).unwrap();
        Host {
            dir,
            images,
            told: Arc::default(),
        }
    }

    fn progress(&self) -> Progress {
        let told = self.told.clone();
        Arc::new(move |event| {
            let text = match event {
                ProgressEvent::Message { id: Some(id), text } => format!("{id}: {text}"),
                ProgressEvent::Message { id: None, text } => text,
                ProgressEvent::Part { state, .. } => state.into_owned(),
                ProgressEvent::Pushed { tag, digest, size } => format!("{tag} {digest} {size}"),
            };
            told.lock().unwrap().push(text);
        })
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    async fn pull(
        &self,
        client: &Client,
        name: &str,
    ) -> Result<dhow_distribution::Pulled, DistributionError> {
        self.pull_as(client, name, None, None).await
    }

    async fn pull_as(
        &self,
        client: &Client,
        name: &str,
        platform: Option<Platform>,
        auth: Option<Auth>,
    ) -> Result<dhow_distribution::Pulled, DistributionError> {
        let reference: Reference = name.parse().unwrap();
        client
            .pull(&self.images, &reference, platform, auth, self.progress())
            .await
    }

    /// Other layers of a failed pull are ended with it, and are gone a moment later.
    async fn assert_emptied(&self) {
        let left = |what: &str| {
            let entries = std::fs::read_dir(self.dir.path().join(what)).unwrap();
            entries.count()
        };
        while left("ingest") + left("blobs/sha256") + left("layers") > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn assert_empty(&self) {
        for what in ["layers", "ingest", "blobs/sha256"] {
            let left = std::fs::read_dir(self.dir.path().join(what))
                .unwrap()
                .count();
            assert_eq!(left, 0, "{what}");
        }
    }
}

fn config() -> Config {
    Config {
        max_attempts: 4,
        idle_timeout: std::time::Duration::from_secs(10),
        ..Config::default()
    }
}

fn client() -> Client {
    Client::new(config()).unwrap()
}

/// A registry of our own on a port of its own.
struct Own {
    address: String,
    _stop: tokio_util::sync::DropGuard,
    _dir: tempfile::TempDir,
}

async fn own() -> Own {
    let dir = tempfile::tempdir().unwrap();
    let (storage, _) = FilesystemStorage::open(dir.path(), Default::default()).unwrap();
    let registry = Registry::new(storage, RegistryConfig::default());
    let server = Server::bind(ServerConfig::new("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let address = server.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(registry, stop.clone().cancelled_owned()));
    Own {
        address,
        _stop: stop.drop_guard(),
        _dir: dir,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_says_what_docker_says_and_fetches_once() {
    let faulty = Faulty::start(Content::image(&["base", "top"])).await;
    let host = Host::new();
    let client = client();
    let name = format!("{}/app:1", faulty.address);
    let pulled = host.pull(&client, &name).await.unwrap();
    assert!(pulled.changed && !pulled.from_embedded);
    let told = host.told();
    assert_eq!(told[0], "1: Pulling from app");
    for state in [
        "Pulling fs layer",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
    ] {
        assert!(
            told.iter().any(|t| t == state),
            "{state} is not in {told:?}"
        );
    }
    let last = &told[told.len() - 2..];
    assert_eq!(last[0], format!("Digest: {}", pulled.digest));
    assert_eq!(
        last[1],
        format!("Status: Downloaded newer image for {name}")
    );
    assert_eq!(pulled.image.repo_tags(), std::slice::from_ref(&name));
    let digest = format!("{}/app@{}", faulty.address, pulled.digest);
    assert_eq!(pulled.image.repo_digests(), [digest]);
    let lower = host.images.lower_dirs(&pulled.image.id).unwrap();
    assert_eq!(std::fs::read(lower[0].join("top")).unwrap(), b"top");

    let blobs = faulty.blobs_served.load(Ordering::SeqCst);
    let again = host.pull(&client, &name).await.unwrap();
    assert!(!again.changed);
    let told = host.told();
    assert!(told.contains(&"Already exists".to_owned()));
    assert_eq!(
        told.last().unwrap(),
        &format!("Status: Image is up to date for {name}")
    );
    let now = faulty.blobs_served.load(Ordering::SeqCst);
    assert_eq!(
        now - blobs,
        1,
        "nothing but the configuration was fetched again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_dockers_words() {
    let registry = own().await;
    let host = Host::new();
    let client = client();
    let name = format!("{}/nosuch:1", registry.address);
    let error = host.pull(&client, &name).await.unwrap_err();
    assert!(matches!(error, DistributionError::NotFound(_)), "{error:?}");
    assert!(error.to_string().contains("not found"), "{error}");
    assert!(host.told().is_empty(), "nothing was told before");

    let error = host.pull(&client, "127.0.0.1:1/app").await.unwrap_err();
    assert!(
        matches!(error, DistributionError::Unreachable(_)),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("dial tcp 127.0.0.1:1"),
        "{error}"
    );
    host.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_yields_the_platforms_manifest() {
    let faulty = Faulty::start(Content::index(&["linux/s390x", "linux/arm64"])).await;
    let host = Host::new();
    let client = client();
    let name = format!("{}/app:1", faulty.address);
    let arm: Platform = "linux/arm64".parse().unwrap();
    let pulled = host.pull_as(&client, &name, Some(arm), None).await.unwrap();
    assert_eq!(pulled.image.config.architecture, "arm64");
    assert_eq!(
        pulled.image.documents.len(),
        2,
        "the index and the manifest are kept"
    );
    let ppc: Platform = "linux/ppc64le".parse().unwrap();
    let error = host
        .pull_as(&client, &name, Some(ppc), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/ppc64le in the manifest list entries"
    );
    let single = Faulty::start(Content::image(&["x"])).await;
    let name = format!("{}/app:1", single.address);
    let other: Platform = "linux/s390x".parse().unwrap();
    let error = host
        .pull_as(&client, &name, Some(other), None)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("does not match the specified platform: wanted linux/s390x"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_off_is_taken_up_again() {
    let faulty = Faulty::start(Content::image(&["big"])).await;
    faulty.cuts.store(3, Ordering::SeqCst);
    let host = Host::new();
    let name = format!("{}/app:1", faulty.address);
    host.pull(&client(), &name).await.unwrap();
    assert!(
        faulty.ranges_served.load(Ordering::SeqCst) >= 2,
        "it went on where it was"
    );

    // A registry that takes no notice of ranges.
    let faulty = Faulty::start(Content::image(&["big"])).await;
    faulty.cuts.store(1, Ordering::SeqCst);
    faulty.no_ranges.store(true, Ordering::SeqCst);
    let host = Host::new();
    let name = format!("{}/app:1", faulty.address);
    host.pull(&client(), &name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_gives_up_or_lies_leaves_nothing() {
    let faulty = Faulty::start(Content::image(&["big"])).await;
    faulty.refuse_after_half.store(true, Ordering::SeqCst);
    let host = Host::new();
    let name = format!("{}/app:1", faulty.address);
    let error = host.pull(&client(), &name).await.unwrap_err().to_string();
    assert!(error.contains("broke off after"), "{error}");
    host.assert_emptied().await;

    let faulty = Faulty::start(Content::image(&["base", "big"]).corrupted()).await;
    let name = format!("{}/app:1", faulty.address);
    let error = host.pull(&client(), &name).await.unwrap_err().to_string();
    assert!(
        error.contains("expected digest") || error.contains("refusing the layer"),
        "{error}"
    );
    host.assert_emptied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_dropped_leaves_nothing() {
    let faulty = Faulty::start(Content::image(&["base", "big"])).await;
    faulty.stall.store(true, Ordering::SeqCst);
    let host = Host::new();
    let name = format!("{}/app:1", faulty.address);
    let client = client();
    tokio::select! {
        r = host.pull(&client, &name) => panic!("it came to an end: {r:?}"),
        () = faulty.stalled.notified() => {}
    }
    host.assert_emptied().await;
}

/// Of silence, in the tests of silence.
const BRIEF: std::time::Duration = std::time::Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_never_answers_is_given_up_by_name() {
    // It takes connections and says nothing: not even TLS begins.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let _accepting = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let mut connections = Vec::new();
        loop {
            connections.push(silent.accept().await.unwrap());
        }
    }));
    let brief = Config {
        connect_timeout: BRIEF,
        answer_timeout: BRIEF,
        ..config()
    };
    let reference: Reference = format!("{address}/app:1").parse().unwrap();
    let client = Client::new(brief.clone()).unwrap();
    let error = client
        .inspect(&reference, None)
        .await
        .unwrap_err()
        .to_string();
    let expected = format!("no connection to {address} within 0.3 s");
    assert!(error.contains(&expected), "{error}");

    // It begins well, and then no answer's head comes any more.
    let faulty = Faulty::start(Content::image(&["a"])).await;
    let reference: Reference = format!("{}/app:1", faulty.address).parse().unwrap();
    let client = Client::new(brief).unwrap();
    client.inspect(&reference, None).await.unwrap();
    faulty.mute.store(true, Ordering::SeqCst);
    let error = client
        .inspect(&reference, None)
        .await
        .unwrap_err()
        .to_string();
    let expected = format!("{} gave no answer within 0.3 s", faulty.address);
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stalls_is_given_up_by_name() {
    let faulty = Faulty::start(Content::image(&["big"])).await;
    faulty.stall.store(true, Ordering::SeqCst);
    let brief = Config {
        idle_timeout: BRIEF,
        max_attempts: 1,
        ..config()
    };
    let host = Host::new();
    let name = format!("{}/app:1", faulty.address);
    let error = host.pull(&Client::new(brief).unwrap(), &name).await;
    let error = error.unwrap_err().to_string();
    let expected = format!("{} was silent for 0.3 s", faulty.address);
    assert!(error.contains(&expected), "{error}");
    host.assert_emptied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pulls_share_a_layer() {
    let faulty = Faulty::start(Content::image(&["one", "big"])).await;
    let host = Host::new();
    let client = client();
    let name = format!("{}/app:1", faulty.address);
    let (a, b) = tokio::join!(host.pull(&client, &name), host.pull(&client, &name));
    assert_eq!(a.unwrap().image.id, b.unwrap().image.id);
    let layers = faulty.blobs_served.load(Ordering::SeqCst) - 2;
    assert_eq!(
        layers, 2,
        "each layer came once, and the configuration twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_with_the_credentials_and_used() {
    let faulty = Faulty::start(Content::image(&["x"])).await;
    *faulty.credentials.lock().unwrap() = Some(("me".into(), "secret".into()));
    let host = Host::new();
    let client = client();
    let name = format!("{}/app:1", faulty.address);
    let error = host.pull(&client, &name).await.unwrap_err();
    assert!(
        matches!(error, DistributionError::Unauthorized(_)),
        "{error:?}"
    );
    let auth = |password: &str| Auth {
        username: "me".into(),
        password: password.into(),
        ..Auth::default()
    };
    let wrong = host
        .pull_as(&client, &name, None, Some(auth("guess")))
        .await
        .unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("unauthorized: incorrect username or password"),
        "{wrong}"
    );
    host.pull_as(&client, &name, None, Some(auth("secret")))
        .await
        .unwrap();
    assert_eq!(
        faulty.tokens_given.load(Ordering::SeqCst),
        1,
        "one token was enough"
    );
    assert_eq!(
        client
            .login(&faulty.address, &auth("secret"))
            .await
            .unwrap(),
        None
    );
    assert!(client.login(&faulty.address, &auth("guess")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let elsewhere = Faulty::start(Content::image(&["x"])).await;
    let faulty = Faulty::start(Content::image(&["x"])).await;
    *faulty.credentials.lock().unwrap() = Some(("me".into(), "secret".into()));
    *faulty.redirect.lock().unwrap() = Some(elsewhere.address.clone());
    let host = Host::new();
    let auth = Auth {
        username: "me".into(),
        password: "secret".into(),
        ..Auth::default()
    };
    let name = format!("{}/app:1", faulty.address);
    host.pull_as(&client(), &name, None, Some(auth))
        .await
        .unwrap();
    assert!(elsewhere.blobs_served.load(Ordering::SeqCst) > 0);
    assert_eq!(elsewhere.authorizations_seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_io_is_asked_at_its_mirrors_first() {
    let mirror = Faulty::start(Content::image(&["x"])).await;
    let config = Config {
        mirrors: vec![
            "http://127.0.0.1:1".into(),
            format!("http://{}", mirror.address),
        ],
        ..config()
    };
    let host = Host::new();
    let client = Client::new(config).unwrap();
    let pulled = host.pull(&client, "app:1").await.unwrap();
    assert!(!pulled.from_embedded);
    assert_eq!(pulled.image.repo_tags(), ["app:1"]);
    let told = host.told();
    assert_eq!(told[0], "1: Pulling from library/app");
}

/// In a network namespace of the test's own, which leads nowhere.
#[test]
fn hello_world_is_here_where_docker_io_is_out_of_reach() {
    let test = std::thread::spawn(|| {
        use rustix::thread::{UnshareFlags, unshare_unsafe};
        // SAFETY: the namespace is this thread's, and nothing that others share changes.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let registry = dhow_hello::registry().unwrap();
            let embedded = Embedded(Arc::new(move || {
                let (client, server) = tokio::io::duplex(64 << 10);
                tokio::spawn(dhow_registry::serve_connection(server, registry.clone()));
                client
            }));
            let config = Config {
                embedded: Some(embedded),
                ..config()
            };
            let client = Client::new(config).unwrap();
            let host = Host::new();
            let pulled = host.pull(&client, "hello-world").await.unwrap();
            assert!(pulled.from_embedded);
            assert_eq!(pulled.image.repo_tags(), ["hello-world:latest"]);
            assert!(host.told()[0].contains("docker.io can't be reached"));
            let error = host.pull(&client, "busybox").await.unwrap_err();
            assert!(
                error.to_string().contains("lookup registry-1.docker.io"),
                "{error}"
            );
        });
    });
    test.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sends_what_was_pulled_byte_for_byte() {
    let faulty = Faulty::start(Content::image(&["base", "top"])).await;
    let registry = own().await;
    let host = Host::new();
    let client = client();
    let pulled = host
        .pull(&client, &format!("{}/app:1", faulty.address))
        .await
        .unwrap();
    host.told();
    let push = async |name: &str| {
        let reference: Reference = format!("{}/{name}", registry.address).parse().unwrap();
        host.images.tag(&pulled.image.id, &reference).unwrap();
        let pushed = client
            .push(&host.images, &reference, None, host.progress())
            .await
            .unwrap();
        (pushed, host.told())
    };
    let (pushed, told) = push("team/app:2").await;
    assert_eq!(pushed.digest, pulled.digest, "the same manifest");
    assert_eq!(
        told[0],
        format!(
            "The push refers to repository [{}/team/app]",
            registry.address
        )
    );
    for state in ["Preparing", "Pushing", "Pushed"] {
        assert!(
            told.iter().any(|t| t == state),
            "{state} is not in {told:?}"
        );
    }
    let line = format!("2: digest: {} size: {}", pushed.digest, pushed.size);
    assert_eq!(told[told.len() - 2], line);

    let (_, told) = push("team/app:3").await;
    assert!(
        told.contains(&"Layer already exists".to_owned()),
        "{told:?}"
    );
    assert!(!told.contains(&"Pushed".to_owned()), "{told:?}");
    let (_, told) = push("other/app:1").await;
    assert!(
        told.contains(&"Mounted from team/app".to_owned()),
        "{told:?}"
    );

    let other = Host::new();
    let name = format!("{}/other/app:1", registry.address);
    let back = other.pull(&client, &name).await.unwrap();
    assert_eq!(
        (back.digest, &back.image.id),
        (pulled.digest.clone(), &pulled.image.id)
    );
    let inspected = client.inspect(&name.parse().unwrap(), None).await.unwrap();
    assert_eq!(inspected.descriptor.digest, pulled.digest);

    let missing: Reference = format!("{}/nosuch:1", registry.address).parse().unwrap();
    let error = client
        .push(&host.images, &missing, None, host.progress())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "An image does not exist locally with the tag: {}/nosuch",
            registry.address
        )
    );
}

/// Against another registry, if `DHOW_TEST_REGISTRY` gives its address.
#[tokio::test(flavor = "multi_thread")]
async fn another_registry_gives_back_what_it_got() {
    let Ok(address) = std::env::var("DHOW_TEST_REGISTRY") else {
        return;
    };
    let faulty = Faulty::start(Content::image(&["base", "big"])).await;
    let host = Host::new();
    let client = client();
    let pulled = host
        .pull(&client, &format!("{}/app:1", faulty.address))
        .await
        .unwrap();
    for name in ["peer/app:1", "peer/app:1", "peer/other:1"] {
        let reference: Reference = format!("{address}/{name}").parse().unwrap();
        host.images.tag(&pulled.image.id, &reference).unwrap();
        host.told();
        let pushed = client
            .push(&host.images, &reference, None, host.progress())
            .await
            .unwrap();
        assert_eq!(pushed.digest, pulled.digest);
        println!("{:?}", host.told());
    }
    let other = Host::new();
    let back = other
        .pull(&client, &format!("{address}/peer/other:1"))
        .await
        .unwrap();
    assert_eq!(
        (back.digest, &back.image.id),
        (pulled.digest, &pulled.image.id)
    );
    let error = other
        .pull(&client, &format!("{address}/peer/nosuch:1"))
        .await
        .unwrap_err();
    println!("{error}");
    assert!(matches!(error, DistributionError::NotFound(_)));
}
