use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use tar::{Builder, Header};

use super::*;
use crate::root::LOOK;

struct Place {
    dir: tempfile::TempDir,
    root: Root,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let fd = rustix::fs::open(dir.path(), LOOK, Mode::empty()).unwrap();
        Place {
            dir,
            root: Root::new(fd).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, archive: &[u8]) -> Result<()> {
        self.put_with(archive, |_| {})
    }

    fn put_with<'a>(
        &'a self,
        archive: &[u8],
        change: impl FnOnce(&mut Placement<'a>),
    ) -> Result<()> {
        let mut placement = Placement {
            root: &self.root,
            at: Path::new("/"),
            owner: Owner::Archive,
            overwrite: false,
            renames: &[],
        };
        change(&mut placement);
        place(&mut &archive[..], &placement)
    }
}

/// An archive of entries: kind, name, and link or contents.
fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, more) in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(if *kind == EntryType::Directory {
            0o751
        } else {
            0o640
        });
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let contents = if is_link { "" } else { more };
        if is_link {
            header.set_link_name_literal(more).unwrap();
        }
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, contents.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

use EntryType::{Directory as D, Fifo, Link as L, Regular as F, Symlink as S};

#[test]
fn everything_is_as_the_archive_says() {
    let place = Place::new();
    place
        .put(&archive(&[
            (D, "d/", ""),
            (F, "d/f", "contents"),
            (L, "d/hard", "d/f"),
            (S, "d/soft", "/anywhere"),
            (Fifo, "d/pipe", ""),
            (F, "implied/f", "x"),
        ]))
        .unwrap();
    let meta = |name: &str| fs::symlink_metadata(place.path(name)).unwrap();
    assert_eq!(fs::read_to_string(place.path("d/f")).unwrap(), "contents");
    let f = meta("d/f");
    assert_eq!((f.mode() & 0o7777, f.uid(), f.gid()), (0o640, 12, 34));
    assert_eq!((f.mtime(), f.nlink()), (1_000_000, 2));
    assert_eq!(meta("d").mtime(), 1_000_000, "its time is set last");
    assert_eq!(meta("d").mode() & 0o7777, 0o751);
    assert_eq!(meta("d/soft").uid(), 12);
    assert!(meta("d/pipe").file_type().is_fifo());
    let implied = meta("implied");
    assert_eq!((implied.mode() & 0o7777, implied.uid()), (0o755, 0));
}

#[test]
fn owners_can_be_others() {
    let place = Place::new();
    let one = archive(&[(F, "f", "x"), (S, "s", "f")]);
    let fixed = Owner::Fixed { uid: 7, gid: 8 };
    place.put_with(&one, |p| p.owner = fixed).unwrap();
    for name in ["f", "s"] {
        let meta = fs::symlink_metadata(place.path(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (7, 8), "{name}");
    }
    place.put_with(&one, |p| p.owner = Owner::Own).unwrap();
    assert_eq!(fs::metadata(place.path("f")).unwrap().uid(), 0);
}

#[test]
fn kinds_are_replaced_only_if_it_is_wanted() {
    let place = Place::new();
    fs::create_dir_all(place.path("x/deep/er")).unwrap();
    fs::write(place.path("y"), "file").unwrap();
    let file = archive(&[(F, "x", "now a file")]);
    let directory = archive(&[(D, "y/", "")]);
    assert_eq!(
        place.put(&file).unwrap_err().to_string(),
        "cannot overwrite directory \"x\" with non-directory \"/\""
    );
    assert_eq!(
        place.put(&directory).unwrap_err().to_string(),
        "cannot overwrite non-directory \"y\" with directory \"/\""
    );
    place.put_with(&file, |p| p.overwrite = true).unwrap();
    place.put_with(&directory, |p| p.overwrite = true).unwrap();
    assert!(place.path("x").is_file() && place.path("y").is_dir());
    // A file takes a file's place without further ado, as a new one.
    let before = fs::metadata(place.path("x")).unwrap().ino();
    fs::hard_link(place.path("x"), place.path("other-name")).unwrap();
    place.put(&archive(&[(F, "x", "newer")])).unwrap();
    assert_ne!(fs::metadata(place.path("x")).unwrap().ino(), before);
    let other = fs::read_to_string(place.path("other-name")).unwrap();
    assert_eq!(other, "now a file");
}

#[test]
fn links_lead_nowhere_else() {
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "untouched").unwrap();
    let out = outside.path().to_str().unwrap();
    symlink(out, place.path("out")).unwrap();
    place
        .put(&archive(&[
            (F, "out/f", "inside"),
            (S, "s", out),
            (F, "s/g", "inside"),
            (S, "up", "../../../../../../../.."),
            (F, "up/h", "inside"),
        ]))
        .unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    let f = fs::read_to_string(outside.path().join("f")).unwrap();
    assert_eq!(f, "untouched");
    let inside = place.path(out.trim_start_matches('/'));
    assert!(inside.join("f").is_file() && inside.join("g").is_file());
    assert!(place.path("h").is_file());
    // An entry's own name is never followed.
    symlink(outside.path().join("f"), place.path("f")).unwrap();
    place.put(&archive(&[(F, "f", "inside")])).unwrap();
    assert!(fs::symlink_metadata(place.path("f")).unwrap().is_file());
    for bad in [
        archive(&[(F, "../f", "x")]),
        archive(&[(L, "l", "../../f")]),
        archive(&[(L, "l", "")]),
    ] {
        assert!(matches!(
            place.put(&bad).unwrap_err(),
            ArchiveError::Malformed(_)
        ));
    }
    // A hard link to a link is one to the link itself.
    symlink(outside.path().join("f"), place.path("soft")).unwrap();
    place.put(&archive(&[(L, "hard", "soft")])).unwrap();
    assert!(
        fs::symlink_metadata(place.path("hard"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn names_can_be_others() {
    let place = Place::new();
    let renames = [Rename::new("a", "b"), Rename::new("b", "c")];
    let one = archive(&[(D, "a/", ""), (F, "a/f", "x"), (L, "a/l", "a/f")]);
    place.put_with(&one, |p| p.renames = &renames).unwrap();
    assert_eq!(fs::metadata(place.path("c/l")).unwrap().nlink(), 2);
}

#[test]
fn zeros_become_holes() {
    let place = Place::new();
    let mut contents = vec![0; 3 << 20];
    contents[1_500_000] = 1;
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_size(contents.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "sparse", &contents[..])
        .unwrap();
    place.put(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(fs::read(place.path("sparse")).unwrap(), contents);
    let blocks = fs::metadata(place.path("sparse")).unwrap().blocks();
    assert!(blocks < 100, "{blocks}");
}

#[test]
fn what_is_no_archive_is_said() {
    let place = Place::new();
    assert!(matches!(
        place.put(&[b'x'; 1024]).unwrap_err(),
        ArchiveError::Read(_)
    ));
    let whole = archive(&[(F, "f", "contents")]);
    assert!(place.put(&whole[..515]).is_err());
    place.put(&[]).unwrap();
}
