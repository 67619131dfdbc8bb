//! From an archive's image to one that is here: its layers are unpacked side by side, and put in place one above
//! the other. All of an image is there when this returns, and survives power loss; if it fails, none of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use dhow_oci::{Descriptor, Digest, chain_ids};

use super::contents::{ArchivedImage, ArchivedLayer};
use super::receive::Archive;
use super::spool::FileId;
use crate::error::{Context, ImageError, Result};
use crate::ingest::{Committed, Ingest};
use crate::layer_stream::{self, LayerSpec, NewLayer};

/// Layers that are unpacked at once, as many as a pull does.
const AT_ONCE: usize = 3;
/// Bytes read at once from a layer that is kept in another form.
const CHUNK: usize = 256 << 10;

/// Is told of a layer's diff id, how many bytes of it have been read, and of how many; gives up by false.
pub type Told<'a> = &'a (dyn Fn(&Digest, u64, u64) -> bool + Sync);

impl Archive {
    /// Loads one of the archive's images, with its names. Blocks.
    pub fn load(&self, image: &ArchivedImage, told: Told<'_>) -> Result<Committed> {
        let ingest = self.images.begin();
        let config = self.spool.document("configuration", image.config)?;
        let id = ingest.put_document_as(&config, image.id.algorithm())?;
        self.layers(&ingest, image, told)?;
        let mut documents: Vec<Descriptor> = Vec::new();
        if self.is_described(image) {
            for (descriptor, file) in &image.documents {
                let bytes = self.spool.document("manifest", *file)?;
                ingest.put_document_as(&bytes, descriptor.digest.algorithm())?;
                documents.push(descriptor.clone());
            }
            for file in &image.attached {
                let bytes = self.spool.document("attestation", *file)?;
                let algorithm = self.spool.digest(*file).algorithm();
                ingest.attach(&bytes, algorithm)?;
            }
        }
        ingest.commit(&id, &documents, &image.names)
    }

    /// Whether its manifest says what is here: a layer that was here before may be compressed otherwise, and
    /// the image could not be pushed by a manifest that names another blob.
    fn is_described(&self, image: &ArchivedImage) -> bool {
        let chain = chain_ids(&image.diff_ids);
        image.layers.iter().zip(&chain).all(|(layer, chain)| {
            let kept = self.images.layer(chain).and_then(|kept| kept.blob);
            match (&layer.descriptor, kept) {
                (Some(described), Some((blob, _))) => described.digest == blob,
                _ => false,
            }
        })
    }

    fn layers(&self, ingest: &Ingest, image: &ArchivedImage, told: Told<'_>) -> Result<()> {
        let chain = chain_ids(&image.diff_ids);
        let missing = |at: &usize| !ingest.has_layer(&chain[*at]);
        let wanted: Vec<usize> = (0..chain.len()).filter(missing).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (made, layers) = mpsc::channel();
        let work = |made: mpsc::Sender<(usize, Result<NewLayer>)>| {
            while let Some(at) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let layer = &image.layers[*at];
                let goes_on = |diff_id: &Digest, done: u64, total: u64| {
                    !stop.load(Ordering::Relaxed) && told(diff_id, done, total)
                };
                let unpacked = self.unpack(ingest, layer, &image.diff_ids[*at], &goes_on);
                if made.send((*at, unpacked)).is_err() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(wanted.len()) {
                let (made, work) = (made.clone(), &work);
                std::thread::Builder::new()
                    .name("load".into())
                    .spawn_scoped(scope, move || work(made))
                    .context(|| "starting a thread for a layer".into())?;
            }
            drop(made);
            let placed = place(ingest, &chain, &wanted, &layers);
            stop.store(true, Ordering::Relaxed);
            placed
        })
    }

    /// Unpacks a layer, which is not yet in its place afterwards.
    fn unpack(
        &self,
        ingest: &Ingest,
        layer: &ArchivedLayer,
        diff_id: &Digest,
        told: &dyn Fn(&Digest, u64, u64) -> bool,
    ) -> Result<NewLayer> {
        let (digest, size) = match (&layer.descriptor, layer.file) {
            (Some(d), _) => (d.digest.clone(), d.size),
            (None, Some(file)) => (self.spool.digest(file), self.spool.size(file)),
            (None, None) => return Err(missing(diff_id)),
        };
        if let Some(file) = layer.file
            && self.spool.size(file) != size
        {
            return Err(ImageError::WrongSize {
                what: "a layer of the archive",
                expected: size,
                found: self.spool.size(file),
            });
        }
        let passed = |done: u64| told(diff_id, done, size);
        let mut spec = LayerSpec {
            blob: Some((digest.clone(), size)),
            diff_id: Some(diff_id.clone()),
            media_type: String::new(),
        };
        match (&layer.descriptor, layer.file) {
            (Some(descriptor), _) => spec.media_type = descriptor.media_type.clone(),
            (None, Some(file)) if !self.spool.compression(file)?.is_for_layers() => {
                spec.blob = None;
                return self.converted(ingest, file, spec, &passed);
            }
            (None, _) => {}
        }
        self.keep(ingest, &digest, layer.file)?;
        layer_stream::from_blob(&self.images.inner, &digest, spec, &passed)
    }

    /// Sees to it that a layer's blob is in the store, and stays.
    fn keep(&self, ingest: &Ingest, digest: &Digest, file: Option<FileId>) -> Result<()> {
        // An image may have a layer twice, and two threads then want the same file.
        let _one = self.spool.taking();
        if ingest.has_blob(digest) {
            return Ok(());
        }
        match file.and_then(|file| self.spool.take_out(file)) {
            Some(blob) => ingest.keep_blob(blob),
            None => Err(missing(digest)),
        }
    }

    /// A layer whose blob is not to be kept as it is.
    fn converted(
        &self,
        ingest: &Ingest,
        file: FileId,
        spec: LayerSpec,
        passed: &dyn Fn(u64) -> bool,
    ) -> Result<NewLayer> {
        use std::io::Read;
        let mut file = self.spool.open(file)?.ok_or(ImageError::Abandoned)?;
        let sink = ingest.layer(spec)?;
        let mut done = 0;
        loop {
            let mut buffer = bytes::BytesMut::zeroed(CHUNK);
            let n = file
                .read(&mut buffer)
                .context(|| "reading a layer of the archive".into())?;
            buffer.truncate(n);
            done += n as u64;
            if !passed(done) {
                return Err(ImageError::Abandoned);
            }
            if n == 0 || !sink.send_blocking(buffer.freeze()) {
                return sink.finish_blocking();
            }
        }
    }
}

/// Puts layers in place as they come, each above the one below.
fn place(
    ingest: &Ingest,
    chain: &[Digest],
    wanted: &[usize],
    layers: &mpsc::Receiver<(usize, Result<NewLayer>)>,
) -> Result<()> {
    let mut waiting = BTreeMap::new();
    for at in wanted {
        let layer = loop {
            if let Some(layer) = waiting.remove(at) {
                break layer;
            }
            let (other, layer) = layers.recv().map_err(|_| ImageError::Abandoned)?;
            waiting.insert(other, layer?);
        };
        let parent = at.checked_sub(1).map(|below| &chain[below]);
        ingest.place_layer(layer, parent)?;
    }
    Ok(())
}

fn missing(layer: &Digest) -> ImageError {
    ImageError::Archive(format!(
        "it does not contain the layer {layer}, which is not here either"
    ))
}
