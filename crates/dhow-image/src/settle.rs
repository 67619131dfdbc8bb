//! Settling: how a layer's tree gets to the disk after its image was acknowledged.
//!
//! A commit flushes an image's blobs, documents and record, and no tree: a tree can be made again from its
//! blob, and is several times as large. Until a later flush of the file system has put it on the disk, the
//! layer's row in `image_unsettled` says so, and names the boot that the tree was written in. Opening after
//! power loss finds rows of another boot, and unpacks those layers again.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use dhow_oci::Digest;
use dhow_store::Durability;

use crate::error::{Context, ImageError, Result};
use crate::images::{Images, Inner, Recovered};
use crate::layer_stream::LayerSpec;

/// By then the kernel has written most of a tree by itself, in its own time: it begins when data is 30 s old
/// (`vm.dirty_expire_centisecs`). An earlier flush would stand in the way of the container that the image
/// was pulled for.
pub(crate) const AFTER: Duration = Duration::from_secs(45);

/// Chain ids, and the boots that their trees were written in.
pub(crate) type Unsettled = HashMap<Digest, String>;

/// What waits to be settled.
#[derive(Debug)]
pub(crate) struct Settler {
    /// The boot that this process runs in.
    pub boot: String,
    after: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    layers: Vec<Digest>,
    newest: Option<Instant>,
    /// Whether a thread takes care of them.
    attended: bool,
}

impl Settler {
    pub fn new(boot: String, after: Duration) -> Settler {
        Settler {
            boot,
            after,
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Inner {
    /// Sees to it that these layers, which are recorded as unsettled, are settled after a while. Does not
    /// block.
    pub fn settle_later(self: &Arc<Inner>, layers: Vec<Digest>) {
        if layers.is_empty() {
            return;
        }
        let mut waiting = self.settler.waiting();
        waiting.layers.extend(layers);
        waiting.newest = Some(Instant::now());
        if waiting.attended {
            return;
        }
        let inner = Arc::downgrade(self);
        let attending = std::thread::Builder::new()
            .name("settle".into())
            .spawn(move || attend(&inner));
        waiting.attended = attending.is_ok();
        if let Err(e) = attending {
            tracing::warn!(error = %e, "could not start the thread that flushes new layers; the next image tries again");
        }
    }

    /// How long to wait until the next flush; `None` if nothing waits, and the thread may end.
    fn until_settling(&self) -> Option<Duration> {
        let mut waiting = self.settler.waiting();
        if waiting.layers.is_empty() {
            waiting.attended = false;
            return None;
        }
        let passed = waiting.newest.map_or(self.settler.after, |at| at.elapsed());
        Some(self.settler.after.saturating_sub(passed))
    }

    /// Drops the rows of layers that are on the disk. One that was removed and made again since waits anew.
    fn forget_unsettled(&self, mut layers: Vec<Digest>) -> Result<()> {
        let _change = self.change();
        let again = self.settler.waiting().layers.clone();
        layers.retain(|chain| !again.contains(chain));
        Ok(self.store.write_blocking(Durability::Process, move |c| {
            for chain in &layers {
                c.prepare_cached("DELETE FROM image_unsettled WHERE chain = ?1")?
                    .execute([chain.to_string()])?;
            }
            Ok(())
        })?)
    }
}

/// The thread's work. It keeps nothing open while it waits or flushes.
fn attend(images: &Weak<Inner>) {
    loop {
        let Some(wait) = images.upgrade().and_then(|inner| inner.until_settling()) else {
            return;
        };
        if !wait.is_zero() {
            std::thread::sleep(wait);
            continue;
        }
        let Some(inner) = images.upgrade() else {
            return;
        };
        let layers = std::mem::take(&mut inner.settler.waiting().layers);
        let dir = inner.layers.clone();
        drop(inner);
        let flushed = File::open(&dir).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
        let Some(inner) = images.upgrade() else {
            return;
        };
        let settled = flushed
            .context(|| "flushing the data-root's file system".into())
            .and_then(|()| inner.forget_unsettled(layers));
        if let Err(e) = settled {
            tracing::error!(error = %e, "new layers may not be on the disk; after a power loss they will be unpacked again");
        }
    }
}

/// The boot that this process runs in, from `/proc/sys/kernel/random/boot_id`.
pub(crate) fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(path).context(|| format!("reading {path}"))?;
    Ok(id.trim().to_owned())
}

/// Unpacks those again that another boot left unsettled, bottom first, and has all of them settled. One that
/// can't be made again is taken out of the catalog.
pub(crate) fn rebuild(
    images: &Images,
    unsettled: Unsettled,
    recovered: &mut Recovered,
) -> Result<()> {
    let inner = &images.inner;
    let doubtful: Vec<Digest> = unsettled
        .iter()
        .filter(|(_, boot)| **boot != inner.settler.boot)
        .map(|(chain, _)| chain.clone())
        .collect();
    let mut doubtful: Vec<(usize, Digest)> = doubtful
        .into_iter()
        .map(|chain| (depth(inner, &chain), chain))
        .collect();
    doubtful.sort();
    if !doubtful.is_empty() {
        tracing::info!(
            layers = doubtful.len(),
            "unpacking layers again: power was lost before they were on the disk"
        );
    }
    for (_, chain) in &doubtful {
        match unpack_again(images, chain) {
            Ok(()) => recovered.rebuilt += 1,
            Err(e) => {
                tracing::error!(layer = %chain, error = %e, "a layer could not be unpacked again");
                recovered.lost += 1;
                inner.catalog().layers.remove(chain);
            }
        }
    }
    inner.settle_later(unsettled.into_keys().collect());
    Ok(())
}

fn depth(inner: &Inner, chain: &Digest) -> usize {
    let catalog = inner.catalog();
    let parent = |chain: &Digest| {
        catalog
            .layers
            .get(chain)
            .and_then(|l| l.value.parent.as_ref())
    };
    std::iter::successors(parent(chain), |c| parent(c)).count()
}

fn unpack_again(images: &Images, chain: &Digest) -> Result<()> {
    let inner = &images.inner;
    let layer = images
        .layer(chain)
        .ok_or_else(|| ImageError::NotFound(chain.to_string()))?;
    let Some((blob, media_type)) = layer.blob else {
        return Err(ImageError::NotFound(format!("the blob of layer {chain}")));
    };
    let below = match &layer.parent {
        None => Vec::new(),
        Some(parent) => images.pin_chain(parent)?.lower_dirs(),
    };
    let spec = LayerSpec {
        blob: images.blob_size(&blob).map(|size| (blob.clone(), size)),
        diff_id: Some(layer.diff_id),
        media_type,
    };
    let made = images.begin().layer_from_blob(&blob, spec)?;
    made.unfinished.finish(&made.dir.tree(), &below)?;
    let place = inner.layers.join(chain.hex());
    inner.remove_tree(&place)?;
    made.dir.publish(&place)?;
    let (row, boot) = (chain.to_string(), inner.settler.boot.clone());
    inner.store.write_blocking(Durability::Process, move |c| {
        c.execute(
            "UPDATE image_unsettled SET boot = ?2 WHERE chain = ?1",
            (row, boot),
        )
    })?;
    Ok(())
}
