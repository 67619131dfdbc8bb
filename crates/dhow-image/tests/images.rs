//! The images of a data-root, from ingest to removal, and what is left on disk.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dhow_image::{
    ImageError, ImageUser, Images, ImportOptions, LayerSpec, Limits, Options, Recovered, Removed,
};
use dhow_oci::{Descriptor, Digest, ImageConfig, Reference, RootFs, media_type};
use dhow_store::{Durability, Store};
use flate2::write::GzEncoder;

struct Root {
    dir: tempfile::TempDir,
    images: Images,
}

impl Root {
    fn new() -> Root {
        let dir = tempfile::tempdir().unwrap();
        let images = open(dir.path());
        Root { dir, images }
    }

    /// Opens the same data-root once more, as a later daemon does.
    fn reopen(self) -> Root {
        let Root { dir, images } = self;
        drop(images);
        let images = open(dir.path());
        Root { dir, images }
    }

    fn count(&self, what: &str) -> usize {
        fs::read_dir(self.dir.path().join(what)).unwrap().count()
    }

    fn assert_empty(&self) {
        for what in ["layers", "ingest", "blobs/sha256", "blobs/sha512"] {
            assert_eq!(self.count(what), 0, "{what}");
        }
    }

    /// An image with one layer a file.
    fn image(&self, files: &[&str], names: &[&str]) -> Digest {
        let ingest = self.images.begin();
        let mut below = None;
        let mut diff_ids = Vec::new();
        for file in files {
            let tar = tar(&[(file, file.as_bytes())]);
            diff_ids.push(Digest::sha256(&tar));
            let gz = gzip(&tar);
            let layer = send(&ingest, spec(&gz, &tar), &gz).unwrap();
            below = Some(ingest.place_layer(layer, below.as_ref()).unwrap());
        }
        let config = ImageConfig {
            architecture: "amd64".into(),
            os: "linux".into(),
            rootfs: RootFs {
                diff_ids,
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        let config = serde_json::to_vec(&config).unwrap();
        let id = ingest.put_document(&config).unwrap();
        let manifest = format!("{{\"of\":\"{id}\"}}");
        let digest = ingest.put_document(manifest.as_bytes()).unwrap();
        let size = manifest.len() as u64;
        let documents = [Descriptor::new(media_type::OCI_MANIFEST, digest, size)];
        let names: Vec<Reference> = names.iter().map(|n| n.parse().unwrap()).collect();
        ingest.commit(&id, &documents, &names).unwrap();
        id
    }

    fn remove(&self, name: &str, force: bool) -> Result<Vec<String>, String> {
        self.remove_used(name, force, &[])
    }

    fn remove_used(
        &self,
        name: &str,
        force: bool,
        users: &[ImageUser],
    ) -> Result<Vec<String>, String> {
        let removed = self.images.remove(name, force, &|_| users.to_vec());
        removed
            .map(|list| {
                list.into_iter()
                    .map(|r| match r {
                        Removed::Untagged(name) => format!("-{name}"),
                        Removed::Deleted(id) => format!("x{}", id.short()),
                    })
                    .collect()
            })
            .map_err(|e| e.to_string())
    }
}

fn open(dir: &Path) -> Images {
    let store = Store::open(&dir.join("meta.db"), &[Images::schema()]).unwrap();
    Images::open(dir, store).unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn spec(blob: &[u8], tar: &[u8]) -> LayerSpec {
    LayerSpec {
        blob: Some((Digest::sha256(blob), blob.len() as u64)),
        diff_id: Some(Digest::sha256(tar)),
        media_type: media_type::OCI_LAYER_GZIP.into(),
    }
}

fn send(
    ingest: &dhow_image::Ingest,
    spec: LayerSpec,
    blob: &[u8],
) -> Result<dhow_image::NewLayer, ImageError> {
    let sink = ingest.layer(spec).unwrap();
    for piece in blob.chunks(1000) {
        if !sink.send_blocking(Bytes::copy_from_slice(piece)) {
            break;
        }
    }
    sink.finish_blocking()
}

#[test]
fn an_image_is_found_by_what_it_is_called_and_survives() {
    let root = Root::new();
    let id = root.image(&["a", "b"], &["busybox:latest", "me/app:1"]);
    let root = root.reopen();
    assert_eq!(root.images.recovered(), Default::default());
    let digest = format!("me/app@{}", root.images.list()[0].documents[0].digest);
    for name in [
        "busybox",
        "docker.io/library/busybox:latest",
        "me/app:1",
        &digest,
        &id.to_string(),
        id.hex(),
        id.short(),
        &id.to_string()[..12],
        &id.hex()[..1],
    ] {
        let image = root.images.resolve(name);
        assert_eq!(
            image.map(|i| i.id.clone()).map_err(|e| e.to_string()),
            Ok(id.clone()),
            "{name}"
        );
    }
    let error = |name: &str| root.images.resolve(name).unwrap_err().to_string();
    assert_eq!(error("nosuch"), "No such image: nosuch:latest");
    assert_eq!(error("me/app"), "No such image: me/app:latest");
    assert_eq!(
        error("Foo"),
        "invalid reference format: repository name (library/Foo) must be lowercase"
    );
    let image = root.images.resolve("busybox").unwrap();
    assert_eq!(image.repo_tags(), ["busybox:latest", "me/app:1"]);
    assert_eq!(image.size, 2);
    let lower = root.images.lower_dirs(&id).unwrap();
    assert_eq!(fs::read(lower[0].join("b")).unwrap(), b"b");
    assert_eq!(fs::read(lower[1].join("a")).unwrap(), b"a");
}

#[test]
fn names_move_and_images_go_with_their_last() {
    let root = Root::new();
    let one = root.image(&["base", "one"], &["app:1", "app:latest"]);
    let two = root.image(&["base", "two"], &["app:2"]);
    assert_eq!(root.count("layers"), 3, "the base is shared");

    root.images.tag(&two, &"app".parse().unwrap()).unwrap();
    assert_eq!(root.images.resolve("app").unwrap().id, two);
    assert_eq!(root.images.get(&one).unwrap().repo_tags(), ["app:1"]);
    let digest = format!("app@{two}").parse().unwrap();
    let error = root.images.tag(&one, &digest).unwrap_err().to_string();
    assert_eq!(error, "refusing to create a tag with a digest reference");

    assert_eq!(root.remove("app:2", false).unwrap(), ["-app:2"]);
    let removed = root.remove("app:1", false).unwrap();
    assert_eq!(removed[0], "-app:1");
    assert_eq!(removed[1], format!("x{}", one.short()));
    assert_eq!(removed.len(), 3, "its own layer alone went: {removed:?}");
    assert_eq!(root.count("layers"), 2);

    root.images.tag(&two, &"other".parse().unwrap()).unwrap();
    assert_eq!(
        root.remove(two.short(), false).unwrap_err(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            two.short()
        )
    );
    let removed = root.remove(two.short(), true).unwrap();
    assert_eq!(&removed[..2], ["-app:latest", "-other:latest"]);
    root.assert_empty();
    root.reopen().assert_empty();
}

#[test]
fn containers_keep_images() {
    let root = Root::new();
    let id = root.image(&["a"], &["app:1"]);
    let container = "0123456789abcdef".to_owned();
    let stopped = [ImageUser {
        container_id: container.clone(),
        running: false,
    }];
    let running = [ImageUser {
        container_id: container,
        running: true,
    }];
    let short = id.short();
    assert_eq!(
        root.remove_used("app:1", false, &stopped).unwrap_err(),
        format!(
            "conflict: unable to remove repository reference \"app:1\" (must force) - container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        root.remove_used(short, false, &stopped).unwrap_err(),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    assert_eq!(
        root.remove_used(short, true, &running).unwrap_err(),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    // By its name, force takes the name; the image stays for its container.
    assert_eq!(
        root.remove_used("app:1", true, &running).unwrap(),
        ["-app:1"]
    );
    assert!(root.images.get(&id).unwrap().is_dangling());

    let pin = root.images.pin(&id).unwrap();
    let top = pin.top().unwrap().clone();
    root.remove_used(short, true, &stopped).unwrap();
    assert!(root.images.get(&id).is_none());
    let dirs = pin.lower_dirs();
    assert_eq!(
        fs::read(dirs[0].join("a")).unwrap(),
        b"a",
        "a pin keeps the layers"
    );

    drop(pin);
    let root = root.reopen();
    let pin = root.images.pin_chain(&top).unwrap();
    root.images.collect().unwrap();
    assert_eq!(fs::read(pin.lower_dirs()[0].join("a")).unwrap(), b"a");
    drop(pin);
    assert_eq!(root.images.collect().unwrap(), [top]);
    root.assert_empty();
}

#[test]
fn an_ambiguous_id_is_not_guessed() {
    let root = Root::new();
    let mut ids = Vec::new();
    let clash = loop {
        let id = root.image(&[&format!("f{}", ids.len())], &[]);
        let first = id.hex()[..1].to_owned();
        if ids.iter().any(|d: &Digest| d.hex().starts_with(&first)) {
            break first;
        }
        ids.push(id);
    };
    let error = root.images.resolve(&clash).unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous(_)), "{error}");
    let (removed, freed) = root
        .images
        .prune(&|i| i.is_dangling(), &|_| Vec::new())
        .unwrap();
    assert!(removed.len() > 2 && freed > 2);
    root.assert_empty();
}

#[test]
fn content_that_is_not_what_was_promised_is_refused_and_leaves_nothing() {
    let root = Root::new();
    let tar_ = tar(&[("a", &[7; 5000])]);
    let gz = gzip(&tar_);
    let ingest = root.images.begin();
    let refused = |spec: LayerSpec, blob: &[u8]| send(&ingest, spec, blob).unwrap_err();
    let other = Digest::sha256(b"other");
    let good = || spec(&gz, &tar_);

    let error = refused(
        LayerSpec {
            blob: Some((other.clone(), gz.len() as u64)),
            ..good()
        },
        &gz,
    );
    assert!(
        matches!(
            error,
            ImageError::WrongDigest {
                what: "the layer's blob",
                ..
            }
        ),
        "{error}"
    );
    let error = refused(
        LayerSpec {
            diff_id: Some(other.clone()),
            ..good()
        },
        &gz,
    );
    assert!(
        matches!(
            error,
            ImageError::WrongDigest {
                what: "the layer's contents",
                ..
            }
        ),
        "{error}"
    );
    let mut longer = gz.clone();
    longer.push(0);
    let error = refused(good(), &longer);
    assert!(matches!(error, ImageError::WrongSize { .. }), "{error}");
    let error = refused(good(), &gz[..gz.len() - 9]);
    assert!(matches!(error, ImageError::WrongSize { .. }), "{error}");
    let mut torn = gz.clone();
    torn[20] ^= 0xff;
    let error = refused(spec(&torn, &tar_), &torn);
    assert!(error.to_string().contains("refusing the layer"), "{error}");
    // Both hashes are right, but it is not an archive.
    let noise = gzip(&[b'x'; 2000]);
    let error = refused(spec(&noise, &[b'x'; 2000]), &noise);
    assert!(
        error.to_string().contains("its archive can't be read"),
        "{error}"
    );

    let sink = ingest.layer(good()).unwrap();
    sink.send_blocking(Bytes::copy_from_slice(&gz[..20]));
    // Its directory and its blob.
    while root.count("ingest") < 2 {
        std::thread::yield_now();
    }
    drop(sink);
    while root.count("ingest") > 0 {
        std::thread::yield_now();
    }
    drop(ingest);
    root.assert_empty();
}

#[test]
fn bombs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("meta.db"), &[Images::schema()]).unwrap();
    let limits = Limits {
        free_bytes: 1 << 20,
        max_ratio: 20,
        ..Limits::default()
    };
    let images = Images::open_with(
        dir.path(),
        store,
        Options {
            limits,
            ..Options::default()
        },
    )
    .unwrap();
    let tar_ = tar(&[("zeros", &vec![0; 8 << 20])]);
    for blob in [gzip(&tar_), zstd::encode_all(&tar_[..], 3).unwrap()] {
        let error = send(&images.begin(), spec(&blob, &tar_), &blob).unwrap_err();
        assert!(error.to_string().contains("decompression bomb"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn every_compression_makes_the_same_layer() {
    let root = Root::new();
    let tar_ = tar(&[("a", b"one"), ("b", &[9; 700_000])]);
    let half = tar_.len() / 2;
    let mut members = gzip(&tar_[..half]);
    members.extend(gzip(&tar_[half..]));
    let zst = zstd::encode_all(&tar_[..], 3).unwrap();
    for blob in [&tar_, &gzip(&tar_), &members, &zst] {
        let ingest = root.images.begin();
        let layer = send(&ingest, spec(blob, &tar_), blob).unwrap();
        let chain = ingest.place_layer(layer, None).unwrap();
        assert_eq!(chain, Digest::sha256(&tar_));
        let at = root
            .dir
            .path()
            .join("layers")
            .join(chain.hex())
            .join("fs/b");
        assert_eq!(fs::metadata(at).unwrap().len(), 700_000);
        assert!(root.images.blob_size(&Digest::sha256(blob)).is_some());
        drop(ingest);
        root.assert_empty();
    }
}

#[test]
fn what_a_crash_leaves_is_removed_and_counted() {
    let root = Root::new();
    let id = root.image(&["a"], &["app:1"]);
    let dir = root.dir.path();
    fs::create_dir_all(dir.join("ingest/7/fs/half")).unwrap();
    fs::write(dir.join("ingest/8"), "half a blob").unwrap();
    fs::create_dir_all(dir.join("layers").join("ab".repeat(32)).join("fs")).unwrap();
    fs::write(dir.join("blobs/sha256").join("cd".repeat(32)), "stray").unwrap();
    fs::write(dir.join("blobs/sha256/junk"), "stray").unwrap();
    let root = root.reopen();
    let recovered = root.images.recovered();
    assert_eq!(
        (recovered.unfinished, recovered.strays, recovered.lost),
        (2, 3, 0)
    );
    assert_eq!(root.count("layers"), 1);
    assert_eq!(root.images.resolve("app:1").unwrap().id, id);

    // An image whose layer is gone is not offered.
    let layers = root.dir.path().join("layers");
    let layer = fs::read_dir(&layers)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::remove_dir_all(layer).unwrap();
    let root = root.reopen();
    assert_eq!(root.images.recovered().lost, 2);
    assert!(root.images.resolve("app:1").is_err());
    let again = root.image(&["a"], &["app:1"]);
    assert_eq!(again, id, "it can be pulled again");
    assert_eq!(root.reopen().images.resolve("app:1").unwrap().id, id);
}

#[test]
fn an_archive_is_imported_and_compressed_once_it_is_pushed() {
    let root = Root::new();
    let tar_ = tar(&[("bin/sh", &[1; 90_000])]);
    let ingest = root.images.begin();
    let layer = send(&ingest, LayerSpec::unknown(), &tar_).unwrap();
    let options = ImportOptions {
        reference: Some("mine".parse().unwrap()),
        changes: vec!["CMD [\"sh\"]".into()],
        message: "hello".into(),
        platform: None,
    };
    let image = ingest.import(layer, &options).unwrap().image;
    assert_eq!(image.repo_tags(), ["mine:latest"]);
    assert_eq!(image.config.comment, "hello");
    assert_eq!(
        image.config.config.cmd.as_deref(),
        Some(&["sh".to_owned()][..])
    );
    assert_eq!(image.config.rootfs.diff_ids, [Digest::sha256(&tar_)]);
    let pushed = root
        .images
        .layer_for_push(&image.chain[0])
        .unwrap()
        .unwrap();
    assert_eq!(pushed.media_type, media_type::OCI_LAYER_GZIP);
    assert!(pushed.size < 5_000);
    let root = root.reopen();
    let again = root
        .images
        .layer_for_push(&image.chain[0])
        .unwrap()
        .unwrap();
    assert_eq!(again, pushed, "what was pushed is kept");
    assert_eq!(root.count("blobs/sha256"), 2, "the archive itself is not");
    root.remove("mine", false).unwrap();
    root.assert_empty();
}

/// A file system of a few MiB, mounted in the test's own mount namespace.
#[test]
fn a_full_disk_is_a_clean_error() {
    let dir = tempfile::tempdir().unwrap();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    let at = full.clone();
    // The namespace is the thread's: nobody else sees the mount, and it ends with the thread.
    std::thread::spawn(move || {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        use rustix::thread::{UnshareFlags, unshare_unsafe};
        // SAFETY: this thread shares no file system state that another one relies on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        mount("tmpfs", &at, "tmpfs", MountFlags::empty(), Some(c"size=4m")).unwrap();
        let store = Store::open(&dir.path().join("meta.db"), &[Images::schema()]).unwrap();
        let images = Images::open(&at, store).unwrap();
        let mut noise = vec![0; 8 << 20];
        let mut state = 1u64;
        for byte in &mut noise {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        let tar_ = tar(&[("big", &noise)]);
        let gz = gzip(&tar_);
        let error = send(&images.begin(), spec(&gz, &tar_), &gz).unwrap_err();
        assert!(
            error.to_string().contains("No space left on device"),
            "{error}"
        );
        assert_eq!(fs::read_dir(at.join("ingest")).unwrap().count(), 0);
    })
    .join()
    .unwrap();
}

/// A data-root as a machine finds it that started at `boot`.
fn open_in(dir: &Path, boot: &str, settle_after: Duration) -> Images {
    let store = Store::open(&dir.join("meta.db"), &[Images::schema()]).unwrap();
    let options = Options {
        boot: Some(boot.into()),
        settle_after,
        ..Options::default()
    };
    Images::open_with(dir, store, options).unwrap()
}

const LATER: Duration = Duration::from_secs(3600);

#[test]
fn power_loss_before_a_flush_costs_no_image() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root {
        images: open_in(dir.path(), "first", LATER),
        dir,
    };
    let id = root.image(&["a", "b", "c"], &["busybox"]);
    let Root { dir, images } = root;
    let trees = images.lower_dirs(&id).unwrap();
    drop(images);

    // The daemon ended and the machine did not: the trees are as they were.
    fs::write(trees[0].join("mark"), "").unwrap();
    let images = open_in(dir.path(), "first", LATER);
    assert_eq!(images.recovered(), Recovered::default());
    assert!(trees[0].join("mark").exists());
    drop(images);

    // Power loss: one tree is gone, one empty, one full of zeros.
    fs::remove_dir_all(trees[0].parent().unwrap()).unwrap();
    fs::remove_file(trees[1].join("b")).unwrap();
    fs::write(trees[2].join("a"), [0]).unwrap();
    let images = open_in(dir.path(), "second", LATER);
    let rebuilt = Recovered {
        rebuilt: 3,
        ..Recovered::default()
    };
    assert_eq!(images.recovered(), rebuilt);
    for (tree, file) in trees.iter().zip(["c", "b", "a"]) {
        assert_eq!(fs::read_to_string(tree.join(file)).unwrap(), file);
    }
    drop(images);

    // Still not settled, but of this boot now; then settled, as fast as the disk allows.
    let store = Store::open(&dir.path().join("meta.db"), &[Images::schema()]).unwrap();
    let options = Options {
        boot: Some("second".into()),
        settle_after: Duration::ZERO,
        ..Options::default()
    };
    let images = Images::open_with(dir.path(), store.clone(), options).unwrap();
    assert_eq!(images.recovered(), Recovered::default());
    let settled = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        let count = store.write_blocking(Durability::Process, |c| {
            c.query_row("SELECT count(*) FROM image_unsettled", [], |r| {
                r.get::<_, i64>(0)
            })
        });
        count.unwrap() == 0
    });
    assert!(settled);
    drop((images, store));

    // Another boot believes what it finds.
    fs::write(trees[0].join("mark"), "").unwrap();
    let images = open_in(dir.path(), "third", LATER);
    assert_eq!(images.recovered(), Recovered::default());
    assert!(images.get(&id).is_some() && trees[0].join("mark").exists());
}

#[test]
fn a_layer_that_cannot_be_made_again_is_said_to_be_lost() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root {
        images: open_in(dir.path(), "first", LATER),
        dir,
    };
    let id = root.image(&["a"], &["busybox"]);
    let Root { dir, images } = root;
    let blob = images
        .layer(&images.get(&id).unwrap().chain[0])
        .unwrap()
        .blob
        .unwrap()
        .0;
    drop(images);
    fs::write(dir.path().join("blobs/sha256").join(blob.hex()), "damaged").unwrap();
    let images = open_in(dir.path(), "second", LATER);
    assert!(images.recovered().lost > 0, "{:?}", images.recovered());
    assert!(images.get(&id).is_none());
    assert_eq!(fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn a_record_that_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root {
        images: open_in(dir.path(), "first", LATER),
        dir,
    };
    let broken = root.image(&["a"], &["broken:latest"]);
    let whole = root.image(&["b"], &["whole:latest"]);
    let Root { dir, images } = root;
    let tree = images.lower_dirs(&broken).unwrap().remove(0);
    drop(images);
    let store = dir.path().join("meta.db");
    let connection = || dhow_store::rusqlite::Connection::open(&store).unwrap();
    let damage = format!(
        "PRAGMA foreign_keys = OFF;
         UPDATE image_images SET id = 'nonsense' WHERE id = '{broken}';
         UPDATE image_documents SET image = 'nonsense' WHERE image = '{broken}';
         UPDATE image_names SET image = 'nonsense' WHERE image = '{broken}';
         UPDATE image_layers SET diff_id = CAST(x'ff' AS TEXT) WHERE chain = '{}';
         INSERT INTO image_names VALUES ('Not A Name', '{whole}');
         INSERT INTO image_blobs VALUES ('md5:00', 1);
         INSERT INTO image_sources VALUES (CAST(x'ff' AS TEXT), 'docker.io/library/whole');
         INSERT INTO image_unsettled VALUES ('?', 'first');",
        Digest::sha256(&tar(&[("a", b"a")])),
    );
    connection().execute_batch(&damage).unwrap();

    let images = open_in(dir.path(), "first", LATER);
    assert_eq!(images.recovered().set_aside, 6, "{:?}", images.recovered());
    let names: Vec<_> = images.list().iter().flat_map(|i| i.tags.clone()).collect();
    assert_eq!(names, ["whole:latest".parse::<Reference>().unwrap()]);
    drop(images);
    let count = |query: &str| -> i64 { connection().query_row(query, [], |r| r.get(0)).unwrap() };
    let with_its_name = "SELECT count(*) FROM set_aside WHERE record LIKE '%broken:latest%'";
    assert_eq!(count(with_its_name), 1);
    assert_eq!(count("SELECT count(*) FROM image_images"), 1);

    // It is said once. What the record may have named is kept, and gives way to what comes again.
    let images = open_in(dir.path(), "first", LATER);
    assert_eq!(images.recovered(), Recovered::default());
    assert!(tree.exists());
    let root = Root { images, dir };
    assert_eq!(root.image(&["a"], &["again:latest"]), broken);
    assert!(
        root.images.lower_dirs(&broken).unwrap()[0]
            .join("a")
            .exists()
    );
}
