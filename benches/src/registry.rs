//! The registry beside distribution: one large blob, many small ones, many at once.
//!
//! Both keep their content in a directory of the same file system and flush it before they answer. The client is
//! the same, on the same two cores, so that its share of the time is in both figures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};

const LARGE: usize = 300 << 20;
const SMALL: usize = 4 << 10;
const SMALL_BLOBS: usize = 1000;
const SMALL_CLIENTS: usize = 8;
const CROWD: usize = 100;
const CROWD_BLOB: usize = 8 << 20;
const PIECE: usize = 256 << 10;

type Pieces = stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>;
type HttpClient = Client<HttpConnector, StreamBody<Pieces>>;

/// What one server took.
#[derive(Default)]
struct Figures {
    large_push: Duration,
    large_pull: Duration,
    small_push: Duration,
    small_pull: Duration,
    crowd: Duration,
    /// Seconds of processor time that the server took for it.
    large_push_cpu: f64,
    large_pull_cpu: f64,
    /// Peak resident sets in KiB: after the large and the small blobs, and after the crowd.
    peak: u64,
    crowd_peak: u64,
}

pub fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut all = Vec::new();
    for (name, command) in [
        ("dhow", dhow(&directory.path().join("dhow"))?),
        (
            "distribution",
            distribution(&directory.path().join("distribution"))?,
        ),
    ] {
        let server = Server::start(command)?;
        all.push((name, runtime.block_on(measure(&server)).context(name)?));
    }
    print!("{}", report(&all));
    Ok(())
}

fn dhow(root: &Path) -> Result<(Command, u16)> {
    let port = free_port()?;
    let binary = std::env::var_os("DHOW_BIN")
        .context("DHOW_BIN names no binary: run it by `cargo xtask bench`")?;
    let mut command = Command::new(binary);
    command
        .args([
            "registry",
            "serve",
            "--addr",
            &format!("127.0.0.1:{port}"),
            "--root",
        ])
        .arg(root);
    Ok((command, port))
}

fn distribution(root: &Path) -> Result<(Command, u16)> {
    let port = free_port()?;
    std::fs::create_dir_all(root)?;
    let config = root.join("config.yml");
    let storage = root.display();
    std::fs::write(
        &config,
        format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {storage}\nhttp:\n  addr: 127.0.0.1:{port}\n"
        ),
    )?;
    let peers = std::env::var_os("DHOW_PEERS_DIR").context("DHOW_PEERS_DIR names no directory")?;
    let mut command = Command::new(PathBuf::from(peers).join("registry"));
    command.arg("serve").arg(config);
    Ok((command, port))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// A registry in a process of its own, ended when this is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start((mut command, port): (Command, u16)) -> Result<Server> {
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {command:?}"))?;
        let server = Server { process, port };
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{command:?} doesn't listen")
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Behind the name in parentheses: utime and stime are the fields 14 and 15 (proc_pid_stat(5)).
        let fields = stat
            .rsplit(')')
            .next()
            .context("no stat")?
            .split_whitespace()
            .skip(11)
            .take(2);
        let ticks: u64 = fields.map(|field| field.parse().unwrap_or(0)).sum();
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    fn peak_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to be done about it here.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn measure(server: &Server) -> Result<Figures> {
    let client = Arc::new(Pusher {
        client: Client::builder(TokioExecutor::new()).build_http(),
        base: format!("http://127.0.0.1:{}/v2/bench", server.port),
    });
    let mut figures = Figures::default();

    let large = Blob::new(0, LARGE);
    let (started, cpu) = (Instant::now(), server.cpu_seconds()?);
    client.push(&large).await?;
    figures.large_push = started.elapsed();
    figures.large_push_cpu = server.cpu_seconds()? - cpu;
    let (started, cpu) = (Instant::now(), server.cpu_seconds()?);
    client.pull(&large).await?;
    figures.large_pull = started.elapsed();
    figures.large_pull_cpu = server.cpu_seconds()? - cpu;

    let small: Arc<Vec<_>> = Arc::new(
        (1..=SMALL_BLOBS)
            .map(|seed| Blob::new(seed, SMALL))
            .collect(),
    );
    for push in [true, false] {
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let workers: Vec<_> = (0..SMALL_CLIENTS)
            .map(|_| {
                let (client, small, next) = (client.clone(), small.clone(), next.clone());
                tokio::spawn(async move {
                    while let Some(blob) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if push {
                            client.push(blob).await?
                        } else {
                            client.pull(blob).await?
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.await??;
        }
        let took = started.elapsed();
        if push {
            figures.small_push = took
        } else {
            figures.small_pull = took
        }
    }
    figures.peak = server.peak_kib()?;

    let crowd: Vec<_> = (0..CROWD)
        .map(|i| Blob::new(1_000_000 + i, CROWD_BLOB))
        .collect();
    let started = Instant::now();
    let pushes: Vec<_> = crowd
        .into_iter()
        .map(|blob| {
            let client = client.clone();
            tokio::spawn(async move { client.push(&blob).await })
        })
        .collect();
    for push in pushes {
        push.await??;
    }
    figures.crowd = started.elapsed();
    figures.crowd_peak = server.peak_kib()?;
    Ok(figures)
}

/// A blob whose pieces are one random piece over and over, but for a number in each.
struct Blob {
    pieces: Vec<Bytes>,
    digest: String,
    size: usize,
}

impl Blob {
    fn new(seed: usize, size: usize) -> Blob {
        let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
        let mut piece: Vec<u8> = (0..PIECE.min(size))
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        piece[..8].copy_from_slice(&(seed as u64).to_le_bytes());
        let piece = Bytes::from(piece);
        let mut hash = Sha256::new();
        let mut pieces = Vec::new();
        let mut left = size;
        while left > 0 {
            let next = piece.slice(..left.min(piece.len()));
            hash.update(&next);
            left -= next.len();
            pieces.push(next);
        }
        Blob {
            pieces,
            digest: format!("sha256:{}", hex::encode(hash.finalize())),
            size,
        }
    }

    fn body(&self) -> StreamBody<Pieces> {
        let frames: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| Ok(Frame::data(piece.clone())))
            .collect();
        StreamBody::new(stream::iter(frames))
    }
}

/// Does what docker does for a blob: look, begin, send.
struct Pusher {
    client: HttpClient,
    base: String,
}

impl Pusher {
    async fn ask(
        &self,
        method: Method,
        url: String,
        blob: Option<&Blob>,
    ) -> Result<Response<Incoming>> {
        let length = blob.map_or(0, |blob| blob.size);
        let body = blob.map_or_else(|| StreamBody::new(stream::iter(Vec::new())), Blob::body);
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-length", length)
            .body(body)?;
        Ok(self.client.request(request).await?)
    }

    async fn push(&self, blob: &Blob) -> Result<()> {
        let look = self
            .ask(
                Method::HEAD,
                format!("{}/blobs/{}", self.base, blob.digest),
                None,
            )
            .await?;
        ensure!(
            look.status() == StatusCode::NOT_FOUND,
            "the blob is there: {}",
            look.status()
        );
        drain(look).await?;
        let begun = self
            .ask(Method::POST, format!("{}/blobs/uploads/", self.base), None)
            .await?;
        ensure!(
            begun.status() == StatusCode::ACCEPTED,
            "begin: {}",
            begun.status()
        );
        let location = begun
            .headers()
            .get("location")
            .context("no location")?
            .to_str()?
            .to_owned();
        drain(begun).await?;
        let host = self.base.split("/v2").next().unwrap_or_default();
        let location = if location.starts_with('/') {
            format!("{host}{location}")
        } else {
            location
        };
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={}", blob.digest);
        let done = self.ask(Method::PUT, url, Some(blob)).await?;
        ensure!(
            done.status() == StatusCode::CREATED,
            "put: {}",
            done.status()
        );
        drain(done).await?;
        Ok(())
    }

    async fn pull(&self, blob: &Blob) -> Result<()> {
        let answer = self
            .ask(
                Method::GET,
                format!("{}/blobs/{}", self.base, blob.digest),
                None,
            )
            .await?;
        ensure!(
            answer.status() == StatusCode::OK,
            "get: {}",
            answer.status()
        );
        let size = drain(answer).await?;
        ensure!(size == blob.size, "{size} bytes instead of {}", blob.size);
        Ok(())
    }
}

async fn drain(response: Response<Incoming>) -> Result<usize> {
    let mut body = response.into_body();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(size)
}

fn report(all: &[(&str, Figures)]) -> String {
    let mut text = String::new();
    let seconds = |duration: Duration| duration.as_secs_f64();
    let mebibytes = |kib: u64| kib as f64 / 1024.0;
    type Row = (String, &'static str, Box<dyn Fn(&Figures) -> f64>);
    let rows: Vec<Row> = vec![
        (
            format!("push {} MiB", LARGE >> 20),
            "s",
            Box::new(move |f| seconds(f.large_push)),
        ),
        (
            format!("pull {} MiB", LARGE >> 20),
            "s",
            Box::new(move |f| seconds(f.large_pull)),
        ),
        (
            format!("push {SMALL_BLOBS} blobs of 4 KiB"),
            "s",
            Box::new(move |f| seconds(f.small_push)),
        ),
        (
            format!("pull {SMALL_BLOBS} blobs of 4 KiB"),
            "s",
            Box::new(move |f| seconds(f.small_pull)),
        ),
        (
            format!("push {CROWD} blobs of 8 MiB at once"),
            "s",
            Box::new(move |f| seconds(f.crowd)),
        ),
        (
            "peak memory, large and small".to_owned(),
            "MiB",
            Box::new(move |f| mebibytes(f.peak)),
        ),
        (
            format!("peak memory, {CROWD} at once"),
            "MiB",
            Box::new(move |f| mebibytes(f.crowd_peak)),
        ),
    ];
    let _ = write!(text, "{:36}", "");
    for (name, _) in all {
        let _ = write!(text, "{name:>16}");
    }
    let _ = writeln!(text, "{:>8}", "ratio");
    for (what, unit, figure) in rows {
        let _ = write!(text, "{what:36}");
        for (_, figures) in all {
            let _ = write!(text, "{:>12.3} {unit:>3}", figure(figures));
        }
        if let [(_, ours), (_, theirs)] = all {
            let _ = write!(text, "{:>8.2}", figure(ours) / figure(theirs));
        }
        let _ = writeln!(text);
    }
    text
}
