//! Made by hand as overlayfs would leave it; what overlayfs itself leaves is tested end to end.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, setxattr, utimensat,
};

use super::*;
use crate::error::ImageError;
use crate::layered::OPAQUE;
use crate::unpack::{Limits, unpack};

struct Stack {
    dir: tempfile::TempDir,
    snapshot: Snapshot,
}

impl Stack {
    fn new() -> Stack {
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&lower).unwrap();
        Stack {
            snapshot: Snapshot {
                upper,
                lower: vec![lower],
            },
            dir,
        }
    }

    fn upper(&self, path: &str) -> PathBuf {
        self.snapshot.upper.join(path)
    }

    fn lower(&self, path: &str) -> PathBuf {
        self.snapshot.lower[0].join(path)
    }

    /// The same in both, as after a copy up.
    fn both(&self, path: &str) {
        for place in [self.lower(path), self.upper(path)] {
            fs::create_dir_all(&place).unwrap();
        }
    }

    fn remove(&self, path: &str) {
        let kind = FileType::CharacterDevice;
        mknodat(CWD, self.upper(path), kind, Mode::empty(), 0).unwrap();
    }

    fn make_opaque(&self, path: &str) {
        setxattr(self.upper(path), OPAQUE, b"y", XattrFlags::empty()).unwrap();
    }

    fn changes(&self) -> Vec<String> {
        let letter = |kind| match kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        let changes = self.snapshot.changes().unwrap();
        let line = |c: &Change| format!("{} {}", letter(c.kind), c.path.display());
        changes.iter().map(line).collect()
    }

    fn layer(&self) -> (Vec<u8>, u64) {
        let mut layer = Vec::new();
        let entries = self.snapshot.write_layer(&mut layer).unwrap();
        (layer, entries)
    }

    fn root(&self) -> Vec<u8> {
        let mut root = Vec::new();
        self.snapshot.write_root(&mut root).unwrap();
        root
    }

    /// The layer as it comes out again above the same layers.
    fn unpacked(&self) -> PathBuf {
        self.unpack(&self.layer().0)
    }

    fn unpack(&self, archive: &[u8]) -> PathBuf {
        let out = self.dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let unpacked = unpack(archive, &out, &Limits::default()).unwrap();
        unpacked
            .unfinished
            .finish(&out, &self.snapshot.lower)
            .unwrap();
        out
    }
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    let name = |e: tar::Entry<'_, &[u8]>| String::from_utf8(e.path_bytes().into_owned()).unwrap();
    entries.map(|e| name(e.unwrap())).collect()
}

fn set_time(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let at = Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: at,
        last_modification: at,
    };
    utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn nothing_changed() {
    let stack = Stack::new();
    fs::create_dir(stack.lower("proc")).unwrap();
    stack.both("etc");
    // A copied up directory's time tells nothing.
    set_time(&stack.upper("etc"), 7, 7);
    assert!(stack.changes().is_empty());
    let (layer, entries) = stack.layer();
    assert_eq!((entries, layer.len()), (0, 1024));
}

#[test]
fn changes_are_those_that_docker_lists() {
    let stack = Stack::new();
    stack.both("a/b/c");
    fs::write(stack.lower("a/b/c/gone"), "").unwrap();
    stack.remove("a/b/c/gone");
    // A file became a directory, and a directory a file.
    fs::write(stack.lower("file"), "").unwrap();
    fs::create_dir(stack.upper("file")).unwrap();
    fs::write(stack.upper("file/in"), "").unwrap();
    fs::create_dir_all(stack.lower("dir/sub")).unwrap();
    fs::write(stack.upper("dir"), "").unwrap();
    // Removed and made again, with one of two names.
    stack.both("again/deep");
    stack.make_opaque("again");
    fs::write(stack.lower("again/x"), "x").unwrap();
    fs::write(stack.lower("again/deep/x"), "x").unwrap();
    // A whiteout of nothing.
    stack.remove("again/never");
    // The same, and with another mode.
    stack.both("same");
    stack.both("mode");
    fs::set_permissions(stack.upper("mode"), fs::Permissions::from_mode(0o700)).unwrap();
    for (name, time) in [("old", (5, 0)), ("new", (6, 0)), ("fraction", (5, 9))] {
        fs::write(stack.lower(name), "x").unwrap();
        fs::write(stack.upper(name), "x").unwrap();
        set_time(&stack.lower(name), 5, 0);
        set_time(&stack.upper(name), time.0, time.1);
    }
    assert_eq!(
        stack.changes(),
        [
            "C /a",
            "C /a/b",
            "C /a/b/c",
            "D /a/b/c/gone",
            "C /again",
            "C /again/deep",
            "D /again/deep/x",
            "D /again/x",
            "C /dir",
            "C /file",
            "A /file/in",
            "C /mode",
            "C /new",
        ]
    );
}

#[test]
fn a_layer_says_what_the_upper_directory_says() {
    let stack = Stack::new();
    stack.both("d");
    stack.both("d/again");
    stack.make_opaque("d/again");
    fs::write(stack.lower("d/again/hidden"), "").unwrap();
    fs::write(stack.upper("d/again/shown"), "").unwrap();
    // New directories are opaque in passing; there is nothing that they hide.
    fs::create_dir(stack.upper("d/new")).unwrap();
    stack.make_opaque("d/new");
    fs::write(stack.lower("d/gone"), "").unwrap();
    stack.remove("d/gone");
    stack.remove("d/never");
    assert_eq!(
        names(&stack.layer().0),
        [
            "d/",
            "d/again/",
            "d/again/.wh..wh..opq",
            "d/again/shown",
            "d/.wh.gone",
            "d/new/",
        ]
    );
    let out = stack.unpacked();
    let gone = fs::symlink_metadata(out.join("d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 1];
    rustix::fs::getxattr(out.join("d/again"), OPAQUE, &mut value[..]).unwrap();
    assert_eq!(&value, b"y");
}

#[test]
fn files_come_out_as_they_went_in() {
    let stack = Stack::new();
    let long = "n".repeat(200);
    let deep = format!("{}/{long}", "d".repeat(150));
    fs::create_dir_all(stack.upper(&deep)).unwrap();
    let big = stack.upper("big");
    fs::write(&big, vec![7; 3 * (256 << 10) + 13]).unwrap();
    fs::set_permissions(&big, fs::Permissions::from_mode(0o4751)).unwrap();
    chown(&big, Some(3_000_000), Some(44)).unwrap();
    fs::set_permissions(&big, fs::Permissions::from_mode(0o4751)).unwrap();
    setxattr(&big, c"user.note", b"a\nb=\0c", XattrFlags::empty()).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setxattr(
        &big,
        c"security.capability",
        &capability,
        XattrFlags::empty(),
    )
    .unwrap();
    set_time(&big, 1_500_000_000, 123_456_789);
    fs::hard_link(&big, stack.upper(&format!("{deep}/{long}"))).unwrap();
    symlink("/".to_owned() + &long, stack.upper("link")).unwrap();
    set_time(&stack.upper("link"), -2, 500_000_000);
    let device = rustix::fs::makedev(10, 229);
    let mode = Mode::from_raw_mode(0o640);
    mknodat(
        CWD,
        stack.upper("dev"),
        FileType::CharacterDevice,
        mode,
        device,
    )
    .unwrap();
    mknodat(CWD, stack.upper("pipe"), FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(stack.upper("sock")).unwrap();
    assert_eq!(
        stack.layer(),
        stack.layer(),
        "the same tree, the same layer"
    );

    let out = stack.unpacked();
    let found = fs::metadata(out.join("big")).unwrap();
    let was = fs::metadata(&big).unwrap();
    let shown = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.size(), m.nlink(), m.mtime());
    assert_eq!(shown(&found), shown(&was));
    assert_eq!(found.mtime_nsec(), 123_456_789);
    assert_eq!(
        found.ino(),
        fs::metadata(out.join(&deep).join(&long)).unwrap().ino()
    );
    assert_eq!(fs::read(out.join("big")).unwrap(), fs::read(&big).unwrap());
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(out.join("big"), c"user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"a\nb=\0c");
    let length =
        rustix::fs::getxattr(out.join("big"), c"security.capability", &mut value[..]).unwrap();
    assert_eq!(&value[..length], capability);
    let link = fs::symlink_metadata(out.join("link")).unwrap();
    assert_eq!((link.mtime(), link.mtime_nsec()), (-2, 500_000_000));
    assert_eq!(
        fs::read_link(out.join("link")).unwrap(),
        Path::new("/").join(&long)
    );
    let node = fs::metadata(out.join("dev")).unwrap();
    assert_eq!((node.rdev(), node.mode() & 0o777), (device, 0o640));
    assert!(
        fs::metadata(out.join("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(!out.join("sock").exists());
}

#[test]
fn a_whole_root_is_what_the_container_sees() {
    let stack = Stack::new();
    stack.both("d");
    for (name, text) in [("d/low", "low"), ("d/both", "low"), ("d/gone", "low")] {
        fs::write(stack.lower(name), text).unwrap();
    }
    fs::hard_link(stack.lower("d/low"), stack.lower("second")).unwrap();
    fs::write(stack.upper("d/both"), "top").unwrap();
    stack.remove("d/gone");
    fs::create_dir(stack.upper("proc")).unwrap();
    let root = stack.root();
    assert_eq!(names(&root), ["d/", "d/both", "d/low", "proc/", "second"]);
    let out = stack.unpack(&root);
    assert_eq!(fs::read_to_string(out.join("d/both")).unwrap(), "top");
    assert_eq!(fs::metadata(out.join("second")).unwrap().nlink(), 2);
}

#[test]
fn what_a_layer_cannot_hold_is_refused() {
    let refused = |stack: &Stack| {
        let error = stack.snapshot.write_layer(std::io::sink()).unwrap_err();
        assert!(matches!(error, ImageError::Invalid(_)), "{error}");
        error.to_string()
    };
    let stack = Stack::new();
    fs::write(stack.upper(".wh.etc"), "").unwrap();
    assert!(refused(&stack).contains("/.wh.etc"));
    // It is in the archive of the root, where the name means nothing.
    assert_eq!(names(&stack.root()), [".wh.etc"]);

    let stack = Stack::new();
    fs::create_dir_all(stack.upper(&"d/".repeat(MAX_DEPTH + 1))).unwrap();
    assert!(refused(&stack).contains("directories deep"));
    assert!(stack.snapshot.changes().is_err());
    assert!(stack.snapshot.write_root(std::io::sink()).is_err());
}
