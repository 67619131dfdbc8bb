//! Unpacking is tested through [`unpack`] itself, on archives made here.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};

use super::*;

fn header(kind: EntryType, size: u64) -> Header {
    let mut h = Header::new_gnu();
    h.set_entry_type(kind);
    h.set_size(size);
    h.set_mode(0o644);
    h.set_mtime(1_000_000_000);
    h.set_uid(0);
    h.set_gid(0);
    h
}

/// An archive that is written without the library's own checks of names.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn raw(mut self, kind: EntryType, name: &str, link: &str, data: &[u8], mode: u32) -> Tar {
        let mut h = header(kind, data.len() as u64);
        h.set_mode(mode);
        if kind == EntryType::Char {
            h.set_device_major(1).unwrap();
            h.set_device_minor(3).unwrap();
        }
        let bytes = h.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        h.set_cksum();
        self.0.extend_from_slice(h.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Tar {
        self.raw(EntryType::Regular, name, "", data, 0o644)
    }

    fn dir(self, name: &str, mode: u32) -> Tar {
        self.raw(EntryType::Directory, name, "", b"", mode)
    }

    fn symlink(self, name: &str, target: &str) -> Tar {
        self.raw(EntryType::Symlink, name, target, b"", 0o777)
    }

    fn hard_link(self, name: &str, target: &str) -> Tar {
        self.raw(EntryType::Link, name, target, b"", 0o644)
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.raw(EntryType::XHeader, "pax", "", &body, 0o644)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

struct Unpacking {
    dir: tempfile::TempDir,
}

impl Unpacking {
    fn new() -> Unpacking {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::write(dir.path().join("outside"), "untouched").unwrap();
        Unpacking { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn unpack(&self, tar: &[u8]) -> Result<Unpacked> {
        unpack(tar, &self.root(), &Limits::default())
    }

    fn whole(&self, tar: &[u8], below: &[PathBuf]) -> Result<u64> {
        let unpacked = self.unpack(tar)?;
        unpacked.unfinished.finish(&self.root(), below)?;
        Ok(unpacked.size)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }
}

fn refused(tar: Tar) -> String {
    let u = Unpacking::new();
    let tar = tar.end();
    let error = match u.whole(&tar, &[]) {
        Ok(_) => panic!("it was unpacked"),
        Err(e) => e.to_string(),
    };
    assert_eq!(
        fs::read(u.dir.path().join("outside")).unwrap(),
        b"untouched"
    );
    let left = fs::read_dir(u.dir.path()).unwrap().count();
    assert_eq!(left, 2, "something was made outside");
    error
}

#[test]
fn hostile_paths_are_refused() {
    for name in ["../outside", "a/../../outside", "/../outside", "./.."] {
        let error = refused(Tar::default().file(name, b"x"));
        assert!(error.contains("leaves the root"), "{name}: {error}");
    }
    let climbing = || Tar::default().symlink("up", "..");
    for tar in [
        climbing().file("up/outside", b"x"),
        climbing().hard_link("a", "up/outside"),
    ] {
        let error = refused(tar);
        assert!(error.contains("leads out of the root"), "{error}");
    }
    let error = refused(Tar::default().hard_link("a", "../outside"));
    assert!(error.contains("leaves the root"), "{error}");
    let error = refused(Tar::default().hard_link("a", "/nowhere"));
    assert!(error.contains("is in no layer"), "{error}");
    let error = refused(Tar::default().hard_link("a", "/"));
    assert!(error.contains("hard link to its root"), "{error}");
    let error = refused(Tar::default().dir("d", 0o755).hard_link("a", "d"));
    assert!(error.contains("is a directory"), "{error}");
    for name in [".wh..", ".wh...", ".wh."] {
        let error = refused(Tar::default().file(name, b""));
        assert!(error.contains("names no file"), "{name}: {error}");
    }
    let error = refused(Tar::default().raw(EntryType::Char, "../null", "", b"", 0o666));
    assert!(error.contains("leaves the root"), "{error}");
    let error = refused(Tar::default().file(".", b"x"));
    assert!(error.contains("would replace its root"), "{error}");
    let error = refused(Tar::default().raw(EntryType::new(b'Q'), "a", "", b"", 0o644));
    assert!(error.contains("unknown type 'Q'"), "{error}");
}

#[test]
fn a_link_may_point_above_the_root_which_is_the_root_in_a_container() {
    let u = Unpacking::new();
    let tar = Tar::default().symlink("up", "../../etc").end();
    u.whole(&tar, &[]).unwrap();
    assert_eq!(fs::read_link(u.at("up")).unwrap(), Path::new("../../etc"));
}

#[test]
fn links_on_the_way_are_followed_within_the_root_only() {
    let u = Unpacking::new();
    let tar = Tar::default()
        .dir("real/", 0o755)
        .dir("deep/er/", 0o755)
        .symlink("abs", "/real")
        .symlink("deep/er/rel", "../../real")
        .file("abs/one", b"1")
        .file("deep/er/rel/two", b"2")
        .end();
    u.whole(&tar, &[]).unwrap();
    assert_eq!(fs::read(u.at("real/one")).unwrap(), b"1");
    assert_eq!(fs::read(u.at("real/two")).unwrap(), b"2");

    let error = refused(
        Tar::default()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", b""),
    );
    assert!(error.contains("too many symbolic links"), "{error}");
    // An absolute link leads to the root of the layer, not of the machine.
    let u = Unpacking::new();
    let tar = Tar::default()
        .symlink("etc", "/tmp")
        .file("etc/made", b"x")
        .end();
    u.whole(&tar, &[]).unwrap();
    assert_eq!(fs::read(u.at("tmp/made")).unwrap(), b"x");
}

#[test]
fn a_link_that_climbs_through_another_stays_inside() {
    // Lexically harmless, but followed through `a` it would leave the root.
    let u = Unpacking::new();
    let tar = Tar::default()
        .dir("x/y/", 0o755)
        .symlink("a", "/")
        .symlink("x/b", "../a/..")
        .file("x/b/../outside", b"!")
        .end();
    let result = u.whole(&tar, &[]);
    assert_eq!(
        fs::read(u.dir.path().join("outside")).unwrap(),
        b"untouched"
    );
    drop(result);
    let error = refused(
        Tar::default()
            .symlink("a", "/")
            .dir("x/", 0o755)
            .symlink("x/b", "../a/..")
            .file("x/b/outside", b"!"),
    );
    assert!(error.contains("leads out of the root"), "{error}");
}

#[test]
fn headers_sizes_and_counts_are_bounded() {
    let long = "x".repeat(2 << 20);
    let error = refused(
        Tar::default()
            .pax(&[("comment", long.as_bytes())])
            .file("a", b""),
    );
    assert!(
        error.contains("headers of one of its entries are larger"),
        "{error}"
    );

    let small = Limits {
        max_bytes: 10,
        max_entries: 2,
        ..Limits::default()
    };
    let run = |tar: Vec<u8>| {
        let u = Unpacking::new();
        unpack(&tar[..], &u.root(), &small)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let error = run(Tar::default()
        .file("a", b"123456")
        .file("b", b"12345")
        .end());
    assert!(
        error.contains("larger than the limit of 10 bytes"),
        "{error}"
    );
    let error = run(Tar::default()
        .file("a", b"")
        .file("b", b"")
        .file("c", b"")
        .end());
    assert!(error.contains("more than 2 entries"), "{error}");
    // A sparse file counts with its holes.
    let error = run(Tar::default()
        .pax(&[
            ("GNU.sparse.map", b"0,1"),
            ("GNU.sparse.size", b"9223372036854775807"),
        ])
        .file("a", b"x")
        .end());
    assert!(error.contains("larger than the limit"), "{error}");

    let mut cut = Tar::default().file("a", &[1; 2000]).0;
    cut.truncate(1024);
    let u = Unpacking::new();
    let error = u.unpack(&cut).unwrap_err().to_string();
    assert!(error.contains("ends in the middle of a file"), "{error}");
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    let u = Unpacking::new();
    let tar = Tar::default()
        .dir("d/", 0o755)
        .file("d/.wh..wh..opq", b"")
        .file(".wh.gone", b"")
        .file(".wh..wh.plnk", b"")
        .file("kept", b"k")
        .file(".wh.kept", b"")
        .file(".wh.again", b"")
        .dir("again/", 0o755)
        .file("again/x", b"x")
        .end();
    u.whole(&tar, &[]).unwrap();
    let gone = fs::symlink_metadata(u.at("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(fs::read(u.at("kept")).unwrap(), b"k");
    assert!(!u.at(".wh..wh.plnk").exists());
    let opaque = |path: &str| {
        let mut value = [0; 8];
        rustix::fs::getxattr(u.at(path), crate::layered::OPAQUE, &mut value)
            .map(|n| value[..n].to_vec())
    };
    assert_eq!(opaque("d").unwrap(), b"y");
    assert_eq!(opaque("again").unwrap(), b"y");
    assert_eq!(fs::read(u.at("again/x")).unwrap(), b"x");
}

#[test]
fn attributes_arrive() {
    let u = Unpacking::new();
    let capability: &[u8] =
        b"\x01\x00\x00\x02\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.note", b"a\nb"),
            ("mtime", b"1234567890.123456789"),
            ("uid", b"70000"),
        ])
        .raw(EntryType::Regular, "bin", "", b"#!", 0o4755)
        .dir("d/", 0o1777)
        .file("d/later", b"")
        .symlink("link", "bin")
        .raw(EntryType::Fifo, "pipe", "", b"", 0o600)
        .hard_link("same", "bin")
        .end();
    u.whole(&tar, &[]).unwrap();
    let bin = fs::metadata(u.at("bin")).unwrap();
    assert_eq!(bin.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(
        (bin.mtime(), bin.mtime_nsec()),
        (1_234_567_890, 123_456_789)
    );
    assert_eq!((bin.uid(), bin.nlink()), (70000, 2));
    let mut value = [0; 64];
    let n = rustix::fs::getxattr(u.at("bin"), c"security.capability", &mut value).unwrap();
    assert_eq!(&value[..n], capability);
    let n = rustix::fs::getxattr(u.at("bin"), c"user.note", &mut value).unwrap();
    assert_eq!(&value[..n], b"a\nb");
    assert!(rustix::fs::getxattr(u.at("bin"), c"trusted.overlay.redirect", &mut value).is_err());
    let d = fs::metadata(u.at("d")).unwrap();
    assert_eq!(d.permissions().mode() & 0o7777, 0o1777);
    assert_eq!(d.mtime(), 1_000_000_000, "a directory's time is set last");
    assert!(
        fs::symlink_metadata(u.at("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert_eq!(
        fs::symlink_metadata(u.at("link")).unwrap().mtime(),
        1_000_000_000
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    let u = Unpacking::new();
    let tar = Tar::default()
        .file("a", b"1")
        .file("a", b"22")
        .dir("b/", 0o755)
        .file("b/c/d", b"x")
        .file("b", b"file")
        .symlink("c", "a")
        .file("c", b"not through the link")
        .symlink("e", "b")
        .dir("e/", 0o755)
        .end();
    u.whole(&tar, &[]).unwrap();
    assert_eq!(fs::read(u.at("a")).unwrap(), b"22");
    assert_eq!(fs::read(u.at("b")).unwrap(), b"file");
    assert_eq!(fs::read(u.at("c")).unwrap(), b"not through the link");
    assert!(fs::symlink_metadata(u.at("e")).unwrap().is_dir());
}

#[test]
fn what_a_layer_does_not_describe_is_as_below() {
    let lower = Unpacking::new();
    let tar = Tar::default()
        .dir("tmp/", 0o1777)
        .file("tmp/file", b"below")
        .dir("gone/", 0o700)
        .file("gone/file", b"hidden")
        .end();
    lower.whole(&tar, &[]).unwrap();
    let u = Unpacking::new();
    let tar = Tar::default()
        .file("tmp/new", b"")
        .hard_link("tmp/link", "tmp/file")
        .end();
    u.whole(&tar, &[lower.root()]).unwrap();
    let tmp = fs::metadata(u.at("tmp")).unwrap();
    assert_eq!(tmp.permissions().mode() & 0o7777, 0o1777);
    assert_eq!(tmp.mtime(), 1_000_000_000);
    assert_eq!(fs::read(u.at("tmp/link")).unwrap(), b"below");
    assert_eq!(fs::metadata(u.at("tmp/file")).unwrap().nlink(), 2);

    let u = Unpacking::new();
    let tar = Tar::default()
        .file(".wh.gone", b"")
        .hard_link("a", "gone/file")
        .end();
    let error = u.whole(&tar, &[lower.root()]).unwrap_err().to_string();
    assert!(error.contains("which it removes"), "{error}");
    let middle = Unpacking::new();
    middle
        .whole(&Tar::default().file(".wh.gone", b"").end(), &[])
        .unwrap();
    let u = Unpacking::new();
    let tar = Tar::default().hard_link("a", "gone/file").end();
    let error = u
        .whole(&tar, &[middle.root(), lower.root()])
        .unwrap_err()
        .to_string();
    assert!(error.contains("which is in no layer"), "{error}");
}

/// GNU tar makes the archive and a tree of it; ours has to be the same.
fn same_as_gnu_tar(format: &str, sparse: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        mkdir -p src/sub src/empty
        echo hello > src/sub/file; chmod 4751 src/sub/file; chown 12:34 src/sub/file
        ln src/sub/file src/hard; ln -s sub/file src/soft; ln -s /etc/passwd src/absolute
        mkfifo src/pipe; mknod src/null c 1 3; mknod src/blk b 7 0
        truncate -s 3M src/sparse; printf abc | dd of=src/sparse bs=1 seek=1500000 conv=notrunc status=none
        truncate -s 1M src/allhole
        n=$(printf 'x%.0s' $(seq 1 120)); mkdir -p src/$n/$n; echo deep > src/$n/$n/$n; ln -s $n/$n/$n src/longlink
        printf 'name with \303\251' > "src/na me é"
        head -c 700000 /dev/urandom > src/random; chmod 1777 src/empty
        touch -d '2001-02-03 04:05:06.789012345' src/sub/file src/empty
    "#;
    let sh = |script: &str| {
        let status = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .current_dir(dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    };
    sh(script);
    sh(&format!(
        "tar --format={format} {} -C src -cf t.tar . && mkdir ref && tar --numeric-owner -xpf t.tar -C ref",
        sparse.join(" ")
    ));
    let root = dir.path().join("ours");
    fs::create_dir(&root).unwrap();
    let tar = fs::read(dir.path().join("t.tar")).unwrap();
    let unpacked = unpack(&tar[..], &root, &Limits::default()).unwrap();
    unpacked.unfinished.finish(&root, &[]).unwrap();
    let times = if format == "pax" { "%T@" } else { "%Ts" };
    sh(&format!(
        "for d in ref ours; do (cd $d && find . -printf '%P %y %m %U %G %l %n {times}\n' | sort > ../$d.list; find . -type f -printf '%P %s\n' | sort >> ../$d.list; find . -type b -o -type c | sort | xargs stat -c '%n %t %T' >> ../$d.list); done; diff ref.list ours.list && diff -r --no-dereference ref/random ours/random && cmp ref/sparse ours/sparse && cmp ref/allhole ours/allhole"
    ));
    if !sparse.is_empty() {
        let blocks = fs::metadata(root.join("sparse")).unwrap().blocks();
        assert!(
            blocks * 512 < 1 << 20,
            "the holes were filled: {blocks} blocks"
        );
    }
}

#[test]
fn unpacks_what_gnu_tar_makes() {
    same_as_gnu_tar("gnu", &[]);
    same_as_gnu_tar("gnu", &["--sparse"]);
    same_as_gnu_tar("pax", &[]);
    for version in ["0.0", "0.1", "1.0"] {
        same_as_gnu_tar("pax", &["--sparse", &format!("--sparse-version={version}")]);
    }
}

#[test]
fn unpacks_what_the_tar_library_makes() {
    let mut builder = Builder::new(Vec::new());
    let mut h = header(EntryType::Regular, 2);
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    builder.append_data(&mut h, &long, &b"ok"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let u = Unpacking::new();
    assert_eq!(u.whole(&tar, &[]).unwrap(), 2);
    assert_eq!(fs::read(u.at(&long)).unwrap(), b"ok");
}

#[test]
fn the_paths_that_are_kept_in_mind_have_a_limit() {
    let limits = Limits {
        max_paths: 64 << 10,
        ..Limits::default()
    };
    let run = |add: &dyn Fn(Tar, usize) -> Tar, count: usize| {
        let u = Unpacking::new();
        let tar = (0..count).fold(Tar::default(), add).end();
        let unpacked = unpack(&tar[..], &u.root(), &limits)?;
        unpacked.unfinished.finish(&u.root(), &[])
    };
    let refused = |add: &dyn Fn(Tar, usize) -> Tar| {
        run(add, 100).unwrap();
        let error = run(add, 1000).unwrap_err().to_string();
        assert!(error.contains("in 65536 bytes of memory"), "{error}");
    };
    refused(&|tar, n| tar.dir(&format!("d{n}"), 0o755));
    // The same directory, over and over.
    refused(&|tar, _| tar.dir("d", 0o755));
    // Directories that nothing describes.
    refused(&|tar, n| tar.file(&format!("d{n}/x"), b""));
    // Files are not kept in mind, and neither are links to them.
    run(&|tar, n| tar.file(&format!("f{n}"), b""), 1000).unwrap();
    run(
        &|tar, n| match n {
            0 => tar.file("f", b""),
            n => tar.hard_link(&format!("l{n}"), "f"),
        },
        1000,
    )
    .unwrap();
    // Links to what is in no layer here are, until the layers below are known.
    let u = Unpacking::new();
    let links = |tar: Tar, n| tar.hard_link(&format!("l{n}"), "below");
    let tar = (0..1000).fold(Tar::default(), links).end();
    let error = unpack(&tar[..], &u.root(), &limits)
        .unwrap_err()
        .to_string();
    assert!(error.contains("of memory"), "{error}");
}
