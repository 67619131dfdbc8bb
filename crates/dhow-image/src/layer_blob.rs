//! The stream that a layer is pushed as. A layer that was pulled keeps the one that it came by; one that
//! was made here of an uncompressed archive is compressed when it is first pushed, and keeps that.

use std::fs::File;
use std::io::{self, BufReader, Write};

use dhow_oci::{Algorithm, Descriptor, Digest};
use dhow_store::Durability;
use flate2::write::GzEncoder;

use crate::blob::BlobWriter;
use crate::catalog::Held;
use crate::compression::Compression;
use crate::error::{Context, ImageError, Result};
use crate::images::Images;

impl Images {
    /// The stream of a layer, compressed; `None` if it is not kept. Compresses it if need be.
    pub fn layer_for_push(&self, chain: &Digest) -> Result<Option<Descriptor>> {
        let layer = self
            .layer(chain)
            .ok_or_else(|| ImageError::NotFound(chain.to_string()))?;
        let Some((digest, media_type)) = layer.blob else {
            return Ok(None);
        };
        let Some(size) = self.blob_size(&digest) else {
            return Ok(None);
        };
        let mut front = [0; 6];
        let mut file = self.open_blob(&digest)?;
        let read =
            read_front(&mut file, &mut front).context(|| format!("reading blob {digest}"))?;
        if Compression::detect(&front[..read]) != Compression::None {
            return Ok(Some(Descriptor::new(&media_type, digest, size)));
        }
        let made = self.compress(&digest)?;
        self.replace_blob(chain, &made)?;
        Ok(Some(made))
    }

    fn compress(&self, digest: &Digest) -> Result<Descriptor> {
        let inner = &self.inner;
        let file = self.open_blob(digest)?;
        let writer = Writer(BlobWriter::create(inner.temporary(), Algorithm::Sha256)?);
        // The header says neither a name nor a time: the same layer makes the same digest.
        let mut encoder = GzEncoder::new(writer, flate2::Compression::default());
        io::copy(&mut BufReader::with_capacity(1 << 18, file), &mut encoder)
            .and_then(|_| encoder.try_finish())
            .context(|| format!("compressing the layer {digest}"))?;
        let writer = encoder
            .finish()
            .context(|| format!("compressing the layer {digest}"))?;
        let staged = writer.0.finish();
        let media_type = Compression::Gzip.layer_media_type();
        let made = Descriptor::new(media_type, staged.digest.clone(), staged.size);
        let _change = inner.change();
        inner.blobs.publish(staged)?;
        inner.blobs.flush(std::slice::from_ref(&made.digest))?;
        Ok(made)
    }

    fn replace_blob(&self, chain: &Digest, made: &Descriptor) -> Result<()> {
        let change = self.inner.change();
        let (row, digest) = (chain.to_string(), made.digest.to_string());
        let (size, media_type) = (made.size as i64, made.media_type.clone());
        self.inner
            .store
            .write_blocking(Durability::Synced, move |c| {
                c.execute(
                    "INSERT OR IGNORE INTO image_blobs VALUES (?1, ?2)",
                    (&digest, size),
                )?;
                c.execute(
                    "UPDATE image_layers SET blob = ?2, media_type = ?3 WHERE chain = ?1",
                    (&row, &digest, &media_type),
                )
            })?;
        {
            let mut catalog = self.inner.catalog();
            let held = Held {
                value: made.size,
                recorded: true,
                holds: 0,
            };
            catalog.blobs.entry(made.digest.clone()).or_insert(held);
            if let Some(layer) = catalog.layers.get_mut(chain) {
                layer.value.blob = Some((made.digest.clone(), made.media_type.clone()));
            }
        }
        // The uncompressed archive is of no more use.
        self.inner.collect_blobs(&change)
    }
}

fn read_front(file: &mut File, front: &mut [u8]) -> io::Result<usize> {
    use std::io::Read;
    let mut read = 0;
    while read < front.len() {
        match file.read(&mut front[read..])? {
            0 => break,
            n => read += n,
        }
    }
    Ok(read)
}

/// A blob as something to write to.
struct Writer(BlobWriter);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
