//! What the tests stand on: an engine with a data-root of its own, and short ways to run containers.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dhow_api::ContainerCreateRequest;
use dhow_engine::{
    AttachOptions, Engine, EngineConfig, EngineError, LogOptions, RemoveOptions, WaitCondition,
};
use dhow_runtime::Spawner;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub type Test = fn(Arc<World>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Long enough for anything that works.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Leaves the host's network, and its mounts.
pub fn own_namespaces() {
    let flags = rustix::thread::UnshareFlags::NEWNET | rustix::thread::UnshareFlags::NEWNS;
    // SAFETY: no thread but this one exists yet.
    unsafe { rustix::thread::unshare_unsafe(flags) }.expect("new namespaces");
    let private =
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private mounts");
    let up = std::process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("iproute2").success());
}

pub struct World {
    dir: tempfile::TempDir,
    spawner: Spawner,
    engine: Mutex<Option<Engine>>,
    made: Mutex<Vec<String>>,
}

impl World {
    pub async fn new(spawner: Spawner) -> Arc<World> {
        let dir = tempfile::Builder::new()
            .prefix("dhow-engine-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let world = Arc::new(World {
            dir,
            spawner,
            engine: Mutex::new(None),
            made: Mutex::new(Vec::new()),
        });
        world.open().await;
        let images = world.engine().images().store().clone();
        tokio::task::spawn_blocking(move || crate::images::import_busybox(&images))
            .await
            .unwrap();
        world
    }

    pub fn config(&self) -> EngineConfig {
        let mut config =
            EngineConfig::new(self.dir.path().join("data"), self.dir.path().join("run"));
        config.net.warm = 2;
        config
    }

    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub async fn open(&self) -> dhow_engine::RecoveryReport {
        let (engine, report) = Engine::open(self.config(), self.spawner.clone())
            .await
            .unwrap();
        *self.engine.lock().unwrap() = Some(engine);
        report
    }

    /// Ends the engine and nothing else, as if the daemon had been stopped.
    pub async fn close(&self) {
        let engine = self.engine.lock().unwrap().take();
        if let Some(engine) = engine {
            engine.shutdown().await;
        }
        // Its last handle may be in a task that is just ending.
        let deadline = std::time::Instant::now() + PATIENCE;
        while dhow_engine::DataRootLock::take(&self.data_root()).is_err() {
            assert!(
                std::time::Instant::now() < deadline,
                "the engine does not let go"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    pub fn engine(&self) -> Engine {
        self.engine.lock().unwrap().clone().expect("an open engine")
    }

    pub async fn clear(&self) {
        if self.engine.lock().unwrap().is_none() {
            self.open().await;
        }
        let engine = self.engine();
        let all = dhow_engine::ListOptions {
            all: true,
            ..Default::default()
        };
        for container in engine.containers().list(&all).unwrap() {
            let options = RemoveOptions {
                force: true,
                volumes: true,
                link: false,
            };
            let _ = engine.containers().remove(&container.id, options).await;
        }
        drop(engine);
        self.close().await;
    }

    /// Creates a container of busybox; `more` is laid over the request.
    pub async fn create(&self, command: &[&str], more: Value) -> String {
        self.try_create(None, command, more).await.unwrap()
    }

    pub async fn try_create(
        &self,
        name: Option<&str>,
        command: &[&str],
        more: Value,
    ) -> Result<String, EngineError> {
        let mut request = json!({"Image": "busybox", "Cmd": command});
        for (key, value) in more.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        let request: ContainerCreateRequest = serde_json::from_value(request).unwrap();
        let id = self
            .engine()
            .containers()
            .create(name, request, None)
            .await?
            .id;
        self.made.lock().unwrap().push(id.clone());
        Ok(id)
    }

    pub async fn start(&self, id: &str) {
        self.engine().containers().start(id).await.unwrap();
    }

    /// Runs to the end; the exit code and what it wrote to both streams.
    pub async fn run(&self, command: &[&str], more: Value) -> (i64, String) {
        let id = self.create(command, more).await;
        let session = self
            .engine()
            .streams()
            .attach(
                &id,
                AttachOptions {
                    stdout: true,
                    stderr: true,
                    stream: true,
                    ..Default::default()
                },
            )
            .await
            .unwrap();
        let tty = session.tty;
        let mut stream = session.stream.unwrap();
        let wait = self
            .engine()
            .containers()
            .wait(&id, WaitCondition::NextExit)
            .unwrap();
        self.start(&id).await;
        let mut bytes = Vec::new();
        timeout(stream.read_to_end(&mut bytes)).await.unwrap();
        let code = timeout(wait).await.status_code;
        let text = if tty {
            String::from_utf8_lossy(&bytes).into_owned()
        } else {
            unframe(&bytes).concat()
        };
        (code, text)
    }

    pub async fn wait(&self, id: &str) -> i64 {
        timeout(
            self.engine()
                .containers()
                .wait(id, WaitCondition::NotRunning)
                .unwrap(),
        )
        .await
        .status_code
    }

    pub async fn logs(&self, id: &str, options: LogOptions) -> Vec<String> {
        let mut stream = self.engine().streams().logs(id, options).unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = timeout(stream.next()).await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        unframe(&bytes)
    }

    pub fn status(&self, id: &str) -> String {
        self.engine().containers().inspect(id).unwrap().state.status
    }
}

pub fn both() -> LogOptions {
    LogOptions {
        stdout: true,
        stderr: true,
        ..LogOptions::default()
    }
}

pub async fn timeout<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("an answer in time")
}

/// Waits until `done` holds.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited in vain for: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The texts of a framed stream.
pub fn unframe(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while bytes.len() >= 8 {
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        texts.push(String::from_utf8_lossy(&bytes[8..8 + length]).into_owned());
        bytes = &bytes[8 + length..];
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:?}");
    texts
}

/// Reads until `text` has been seen.
pub async fn read_until(stream: &mut tokio::net::UnixStream, text: &str) -> String {
    let mut seen = String::new();
    let mut buffer = [0u8; 4096];
    while !seen.contains(text) {
        let n = timeout(stream.read(&mut buffer)).await.unwrap();
        assert!(n > 0, "the stream ended after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    seen
}

pub async fn type_in(stream: &mut tokio::net::UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// What a test's containers can leave behind on a machine: nothing is expected, and other programs'
/// containers are none of its business.
pub async fn assert_nothing_left(world: &World) -> Result<(), String> {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let left = leftovers(world);
        if left.is_empty() {
            return Ok(());
        }
        if std::time::Instant::now() > deadline {
            return Err(format!("left behind: {left:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn leftovers(world: &World) -> Vec<String> {
    let mut left = Vec::new();
    for id in world.made.lock().unwrap().iter() {
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            for parent in [hierarchy.path(), PathBuf::from("/sys/fs/cgroup")] {
                let group = parent.join("dhow").join(id);
                if group.exists() {
                    left.push(group.display().to_string());
                }
            }
        }
        for socket in std::fs::read_dir(world.dir.path().join("run"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if socket.file_name().to_string_lossy().contains(id.as_str()) {
                left.push(socket.path().display().to_string());
            }
        }
    }
    let own = world.dir.path().display().to_string();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let mounts = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        if mounts.contains(&own) {
            left.push(format!("a mount of {}", process.path().display()));
        }
    }
    left
}
