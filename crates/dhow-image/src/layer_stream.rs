//! A layer's way in: one stream from the sender, or from a blob that is here, to the unpacked tree.
//!
//! Two threads work on it. The first takes the bytes as they come, hashes them, writes them to the
//! content store and inflates them; the second hashes what was inflated and unpacks it. Neither holds
//! more than a few buffers, and a slow disk slows the sender down.

use std::fs;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as sync;

use dhow_oci::digest::Hasher;
use dhow_oci::{Algorithm, Digest};

use crate::blob::{BlobWriter, StagedBlob};
use crate::chunks::{Chunks, Sink};
use crate::compression::{Compression, Decoder};
use crate::error::{Context, ImageError, Result};
use crate::images::Inner;
use crate::layer_source::{Passed, Source};
use crate::unpack::{Limits, Unfinished, unpack};

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

/// Where the stream of a layer goes.
pub type LayerSink = Sink<NewLayer>;

/// A layer that is all there, but not in its place. Dropped, it is removed.
#[derive(Debug)]
pub struct NewLayer {
    pub diff_id: Digest,
    /// Of the unpacked files, in bytes.
    pub size: u64,
    pub(crate) media_type: String,
    pub(crate) blob: LayerBlob,
    pub(crate) dir: TemporaryDir,
    pub(crate) unfinished: Unfinished,
}

/// The stream that a layer came as.
#[derive(Debug)]
pub(crate) enum LayerBlob {
    Staged(StagedBlob),
    /// In its place already.
    Kept(Digest),
}

impl LayerBlob {
    pub fn digest(&self) -> &Digest {
        match self {
            LayerBlob::Staged(blob) => &blob.digest,
            LayerBlob::Kept(digest) => digest,
        }
    }
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

/// Takes a layer's stream in, on a thread of its own.
pub(crate) fn start(inner: Arc<Inner>, spec: LayerSpec) -> Result<LayerSink> {
    Sink::start("layer", move |chunks: Chunks| {
        let algorithm = spec
            .blob
            .as_ref()
            .map_or(Algorithm::Sha256, |(d, _)| d.algorithm());
        let blob = BlobWriter::create(inner.temporary(), algorithm)?;
        let limit = spec.blob.as_ref().map(|(_, size)| *size);
        run(&inner, spec, Source::sender(chunks, blob, limit))
    })
}

/// Unpacks a layer from its blob, which is in its place and stays there. `passed` is told of the bytes that
/// were read, and gives up by false. Blocks.
pub(crate) fn from_blob(
    inner: &Inner,
    blob: &Digest,
    spec: LayerSpec,
    passed: Passed<'_>,
) -> Result<NewLayer> {
    let file = inner.blobs.open_blob(blob)?;
    run(inner, spec, Source::blob(file, blob.clone(), passed))
}

fn run(inner: &Inner, spec: LayerSpec, mut source: Source<'_>) -> Result<NewLayer> {
    let dir = TemporaryDir::create(inner.temporary())?;
    let diff_algorithm = spec
        .diff_id
        .as_ref()
        .map_or(Algorithm::Sha256, |d| d.algorithm());
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
        let inflated = inflate(inner, &mut source, spec.blob.is_some(), &full, &empty);
        drop(full);
        let unpacked = untar
            .join()
            .unwrap_or_else(|_| Err(ImageError::Layer("unpacking it failed".into())));
        Ok::<_, ImageError>((inflated, unpacked))
    })?;
    // A stream that is not what was promised explains whatever else went wrong with it.
    let ended = source.ended();
    let blob = source.finish();
    if ended && let (LayerBlob::Staged(staged), Some((digest, size))) = (&blob, &spec.blob) {
        staged.verify("the layer's blob", digest, *size)?;
    }
    // The thread that failed first has the reason; the other found the stream abandoned.
    let (inflated, (unpacked, diff_id)) = match (inflated, unpacked) {
        (Ok(inflated), Ok(done)) => (inflated, done),
        (Ok(_) | Err(ImageError::Abandoned), Err(e)) | (Err(e), _) => return Err(e),
    };
    let (compression, blob) = match inflated {
        Inflation::Kept(compression) => (compression, blob),
        Inflation::Undone(plain) => (Compression::None, LayerBlob::Staged(plain)),
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

/// What became of a stream's compression.
enum Inflation {
    Kept(Compression),
    /// It is none for layers: what it was before is the layer's blob.
    Undone(StagedBlob),
}

/// The first thread's work: until the stream ends, or the other thread does not want more.
fn inflate(
    inner: &Inner,
    source: &mut Source<'_>,
    promised: bool,
    full: &sync::SyncSender<Inflated>,
    empty: &sync::Receiver<Vec<u8>>,
) -> Result<Inflation> {
    let limits = &inner.limits;
    let taken = source.taken();
    let mut decoder = Decoder::new(&mut *source).map_err(from_stream)?;
    let compression = decoder.compression();
    let mut plain = match compression.is_for_layers() || promised {
        true => None,
        false => Some(BlobWriter::create(inner.temporary(), Algorithm::Sha256)?),
    };
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
        if compression != Compression::None {
            limits.check_ratio(taken.get(), total)?;
        }
        if let Some(plain) = &mut plain {
            plain.write(&buffer)?;
        }
        if full.send(Inflated::Data(buffer)).is_err() {
            return Err(ImageError::Abandoned);
        }
    }
    drop(decoder);
    // What follows the compressed data belongs to the blob, too.
    loop {
        let rest = source.fill_buf().map_err(from_stream)?.len();
        if rest == 0 {
            break;
        }
        source.consume(rest);
    }
    full.send(Inflated::End)
        .map_err(|_| ImageError::Abandoned)?;
    Ok(match plain {
        Some(plain) => Inflation::Undone(plain.finish()),
        None => Inflation::Kept(compression),
    })
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
