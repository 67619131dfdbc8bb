//! What images come as: layers, and archives of `save`.

use std::sync::OnceLock;

use bytes::Bytes;
use dhow_image::{Images, LayerSpec, Limits, Options};
use dhow_store::Store;

use super::choice;
use crate::{scratch, tars};

struct Kept {
    images: Images,
    root: tempfile::TempDir,
}

/// A store of images, one for all that this process tries.
fn images() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(|| {
        let root = scratch();
        let store = Store::open(&root.path().join("db"), &[Images::schema()]);
        let options = Options {
            limits: Limits {
                max_bytes: 16 << 20,
                free_bytes: 1 << 20,
                ..Limits::default()
            },
            ..Options::default()
        };
        let store = store.expect("a store can be opened");
        let images = Images::open_with(root.path(), store, options);
        Kept {
            images: images.expect("a store can be opened"),
            root,
        }
    })
}

/// Nothing is left of what was not kept.
fn nothing_left(root: &std::path::Path) {
    for place in ["ingest", "layers"] {
        let left = std::fs::read_dir(root.join(place)).map(|entries| entries.count());
        assert_eq!(left.ok(), Some(0), "left in {place}");
    }
}

pub fn layer(data: &[u8]) {
    let (how, data) = choice(data);
    let kept = images();
    let archive = if how & 1 == 0 {
        tars::mended(data)
    } else {
        data.to_vec()
    };
    {
        let ingest = kept.images.begin();
        let sink = ingest
            .layer(LayerSpec::unknown())
            .expect("a thread can be had");
        for piece in archive.chunks(1 + usize::from(how) * 64) {
            if !sink.send_blocking(Bytes::copy_from_slice(piece)) {
                break;
            }
        }
        drop(sink.finish_blocking());
    }
    nothing_left(kept.root.path());
}

pub fn load(data: &[u8]) {
    let (how, data) = choice(data);
    let kept = images();
    let archive = match how & 1 {
        0 => tars::assembled(data),
        _ => tars::mended(data),
    };
    {
        let sink = kept.images.receive_archive().expect("a thread can be had");
        for piece in archive.chunks(64 << 10) {
            if !sink.send_blocking(Bytes::copy_from_slice(piece)) {
                break;
            }
        }
        if let Ok(archive) = sink.finish_blocking()
            && let Ok(found) = archive.images(&[])
        {
            for image in &found {
                // One that is there twice is removed once.
                let _ = archive.load(image, &|_, _, _| true);
            }
            for image in &found {
                let id = image.id.to_string();
                let _ = kept.images.remove(&id, true, &|_| Vec::new());
            }
        }
    }
    nothing_left(kept.root.path());
}
