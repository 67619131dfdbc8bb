//! A layer's way in: one stream from the sender to the unpacked tree.
//!
//! Two threads work on it. The first takes the bytes as they come, hashes them, writes them to the
//! content store and inflates them; the second hashes what was inflated and unpacks it. Neither holds
//! more than a few buffers, and a slow disk slows the sender down.

use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as sync;

use bytes::Bytes;
use dhow_oci::digest::Hasher;
use dhow_oci::{Algorithm, Digest};
use tokio::sync::{mpsc, oneshot};

use crate::blob::{BlobWriter, StagedBlob};
use crate::compression::{Compression, Decoder};
use crate::error::{Context, ImageError, Result};
use crate::images::Inner;
use crate::unpack::{Limits, Unfinished, unpack};

/// Chunks on their way from the sender; each is as large as the sender makes it.
const CHUNKS: usize = 16;
/// Inflated buffers on their way to the second thread.
const BUFFERS: usize = 4;
const BUFFER: usize = 256 << 10;

/// What is known of a layer before it comes.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// The compressed stream's digest and size in bytes, if they are promised.
    pub blob: Option<(Digest, u64)>,
    /// The uncompressed stream's digest, if it is promised.
    pub diff_id: Option<Digest>,
    /// Of the stream, as a manifest calls it; if empty, it is told by the stream.
    pub media_type: String,
}

enum Chunk {
    Data(Bytes),
    End,
}

/// Where the stream of a layer goes. Dropped before [`LayerSink::finish`], it takes back all that was
/// written.
#[derive(Debug)]
pub struct LayerSink {
    chunks: mpsc::Sender<Chunk>,
    result: oneshot::Receiver<Result<NewLayer>>,
}

impl LayerSink {
    /// Hands over the next bytes; waits while the disk is behind. False once the layer was refused or
    /// failed: [`LayerSink::finish`] tells why.
    pub async fn send(&self, bytes: Bytes) -> bool {
        self.chunks.send(Chunk::Data(bytes)).await.is_ok()
    }

    /// As [`LayerSink::send`], for threads that may block.
    pub fn send_blocking(&self, bytes: Bytes) -> bool {
        self.chunks.blocking_send(Chunk::Data(bytes)).is_ok()
    }

    /// The stream has ended: waits for the layer.
    pub async fn finish(self) -> Result<NewLayer> {
        // If nobody listens any more, the result says why.
        let _ = self.chunks.send(Chunk::End).await;
        self.result.await.unwrap_or(Err(ImageError::Abandoned))
    }

    /// The stream will not be completed: waits until all that was written of it is gone.
    pub async fn abandon(self) {
        drop(self.chunks);
        // Whatever it says, there is no layer.
        drop(self.result.await);
    }

    /// As [`LayerSink::abandon`], for threads that may block.
    pub fn abandon_blocking(self) {
        drop(self.chunks);
        drop(self.result.blocking_recv());
    }

    /// As [`LayerSink::finish`], for threads that may block.
    pub fn finish_blocking(self) -> Result<NewLayer> {
        let _ = self.chunks.blocking_send(Chunk::End);
        self.result
            .blocking_recv()
            .unwrap_or(Err(ImageError::Abandoned))
    }
}

/// A layer that is all there, but not in its place. Dropped, it is removed.
#[derive(Debug)]
pub struct NewLayer {
    pub diff_id: Digest,
    /// Of the unpacked files, in bytes.
    pub size: u64,
    pub(crate) media_type: String,
    pub(crate) blob: StagedBlob,
    pub(crate) dir: TemporaryDir,
    pub(crate) unfinished: Unfinished,
}

/// A directory in the making; dropped, it is removed.
#[derive(Debug)]
pub(crate) struct TemporaryDir(Option<PathBuf>);

impl TemporaryDir {
    fn create(path: PathBuf) -> Result<TemporaryDir> {
        let tree = path.join("fs");
        fs::create_dir_all(&tree).context(|| format!("making {}", tree.display()))?;
        Ok(TemporaryDir(Some(path)))
    }

    pub fn tree(&self) -> PathBuf {
        self.0.as_deref().unwrap_or(Path::new("")).join("fs")
    }

    /// Moves it to its place.
    pub fn publish(mut self, to: &Path) -> Result<()> {
        if let Some(from) = &self.0 {
            fs::rename(from, to).context(|| format!("moving a layer to {}", to.display()))?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(e) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), error = %e, "could not remove an unfinished layer");
        }
    }
}

/// Starts the two threads.
pub(crate) fn start(inner: Arc<Inner>, spec: LayerSpec) -> Result<LayerSink> {
    let (chunks, incoming) = mpsc::channel(CHUNKS);
    let (report, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("layer".into())
        .spawn(move || {
            // A sender that is gone does not want the layer: dropping it removes it.
            let _ = report.send(run(&inner, spec, incoming));
        })
        .context(|| "starting a thread for a layer".into())?;
    Ok(LayerSink { chunks, result })
}

fn run(inner: &Inner, spec: LayerSpec, incoming: mpsc::Receiver<Chunk>) -> Result<NewLayer> {
    let dir = TemporaryDir::create(inner.temporary())?;
    let algorithm = spec
        .blob
        .as_ref()
        .map_or(Algorithm::Sha256, |(d, _)| d.algorithm());
    let diff_algorithm = spec
        .diff_id
        .as_ref()
        .map_or(Algorithm::Sha256, |d| d.algorithm());
    let mut incoming = Incoming {
        chunks: incoming,
        current: Bytes::new(),
        blob: BlobWriter::create(inner.temporary(), algorithm)?,
        limit: spec.blob.as_ref().map(|(_, size)| *size),
        ended: false,
    };
    let (full, full_end) = sync::sync_channel::<Inflated>(BUFFERS);
    let (empty_end, empty) = sync::channel::<Vec<u8>>();
    let limits = inner.limits;
    let tree = dir.tree();
    let (inflated, unpacked) = std::thread::scope(|scope| {
        let untar = std::thread::Builder::new()
            .name("untar".into())
            .spawn_scoped(scope, || {
                untar(full_end, empty_end, diff_algorithm, &tree, &limits)
            })
            .context(|| "starting a thread for a layer".into())?;
        let inflated = inflate(&mut incoming, &full, &empty, &limits);
        drop(full);
        let unpacked = untar
            .join()
            .unwrap_or_else(|_| Err(ImageError::Layer("unpacking it failed".into())));
        Ok::<_, ImageError>((inflated, unpacked))
    })?;
    // A stream that is not what was promised explains whatever else went wrong with it.
    let blob = incoming.blob.finish();
    if incoming.ended
        && let Some((digest, size)) = &spec.blob
    {
        blob.verify("the layer's blob", digest, *size)?;
    }
    // The thread that failed first has the reason; the other found the stream abandoned.
    let (compression, (unpacked, diff_id)) = match (inflated, unpacked) {
        (Ok(compression), Ok(done)) => (compression, done),
        (Ok(_) | Err(ImageError::Abandoned), Err(e)) | (Err(e), _) => return Err(e),
    };
    let media_type = if spec.media_type.is_empty() {
        compression.layer_media_type().to_owned()
    } else {
        spec.media_type
    };
    if let Some(expected) = spec.diff_id
        && expected != diff_id
    {
        return Err(ImageError::WrongDigest {
            what: "the layer's contents",
            expected,
            found: diff_id,
        });
    }
    Ok(NewLayer {
        diff_id,
        size: unpacked.size,
        media_type,
        blob,
        dir,
        unfinished: unpacked.unfinished,
    })
}

enum Inflated {
    Data(Vec<u8>),
    End,
}

/// The first thread's work: until the stream ends, or the other thread does not want more.
fn inflate(
    incoming: &mut Incoming,
    full: &sync::SyncSender<Inflated>,
    empty: &sync::Receiver<Vec<u8>>,
    limits: &Limits,
) -> Result<Compression> {
    let compression = Compression::detect(incoming.fill_buf().map_err(from_stream)?);
    let mut decoder = Decoder::new(compression, &mut *incoming).map_err(from_stream)?;
    let mut total: u64 = 0;
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER]);
        buffer.resize(BUFFER, 0);
        let filled = fill(&mut decoder, &mut buffer).map_err(from_stream)?;
        if filled == 0 {
            break;
        }
        buffer.truncate(filled);
        total += filled as u64;
        let taken = decoder.get_ref().blob.size();
        let allowed = limits
            .free_bytes
            .saturating_add(taken.saturating_mul(limits.max_ratio));
        if compression != Compression::None && total > allowed {
            return Err(ImageError::Layer(format!(
                "it is a decompression bomb: {taken} bytes inflate to more than {total}"
            )));
        }
        if full.send(Inflated::Data(buffer)).is_err() {
            return Err(ImageError::Abandoned);
        }
    }
    drop(decoder);
    // What follows the compressed data belongs to the blob, too.
    loop {
        let rest = incoming.fill_buf().map_err(from_stream)?.len();
        if rest == 0 {
            break;
        }
        incoming.consume(rest);
    }
    full.send(Inflated::End)
        .map_err(|_| ImageError::Abandoned)?;
    Ok(compression)
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// The second thread's work.
fn untar(
    full: sync::Receiver<Inflated>,
    empty: sync::Sender<Vec<u8>>,
    algorithm: Algorithm,
    tree: &Path,
    limits: &Limits,
) -> Result<(crate::unpack::Unpacked, Digest)> {
    let mut reader = Buffers {
        full,
        empty,
        hasher: algorithm.hasher(),
        current: Vec::new(),
        at: 0,
        ended: false,
    };
    let unpacked = unpack(&mut reader, tree, limits)?;
    io::copy(&mut reader, &mut io::sink()).map_err(from_stream)?;
    Ok((unpacked, reader.hasher.finish()))
}

/// An error of a decoder: the data's fault, unless it came from the stream below.
fn from_stream(e: io::Error) -> ImageError {
    ImageError::carried(e)
        .unwrap_or_else(|e| ImageError::Layer(format!("its stream can't be decompressed: {e}")))
}

/// The chunks as a reader that hashes and stores what passes.
struct Incoming {
    chunks: mpsc::Receiver<Chunk>,
    current: Bytes,
    blob: BlobWriter,
    limit: Option<u64>,
    ended: bool,
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Chunk::Data(bytes)) => {
                    self.blob.write(&bytes).map_err(io::Error::other)?;
                    if let Some(limit) = self.limit
                        && self.blob.size() > limit
                    {
                        return Err(io::Error::other(ImageError::WrongSize {
                            what: "the layer's blob",
                            expected: limit,
                            found: self.blob.size(),
                        }));
                    }
                    self.current = bytes;
                }
                Some(Chunk::End) => self.ended = true,
                None => return Err(io::Error::other(ImageError::Abandoned)),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.current.split_to(amount);
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buffer.len());
        buffer[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// The inflated buffers as a reader that hashes what passes.
struct Buffers {
    full: sync::Receiver<Inflated>,
    empty: sync::Sender<Vec<u8>>,
    hasher: Hasher,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Buffers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() && !self.ended {
            match self.full.recv() {
                Ok(Inflated::Data(next)) => {
                    self.hasher.update(&next);
                    let used = std::mem::replace(&mut self.current, next);
                    self.at = 0;
                    if used.capacity() > 0 {
                        // The other thread may be through.
                        let _ = self.empty.send(used);
                    }
                }
                Ok(Inflated::End) => self.ended = true,
                Err(_) => return Err(io::Error::other(ImageError::Abandoned)),
            }
        }
        if self.ended && self.at == self.current.len() {
            return Ok(0);
        }
        let n = (self.current.len() - self.at).min(buffer.len());
        buffer[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
