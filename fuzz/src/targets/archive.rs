//! Tar archives, compressed and not.

use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use dhow_archive::{ArchiveError, Entries, Owner, Placement, Root, words::Rename};
use dhow_image::compression::Decoder;
use rustix::fs::{Mode, OFlags};

use super::choice;
use crate::{scratch, tars};

/// No header may hold more, as for layers.
const HEADERS: u64 = 1 << 20;

pub fn archive(data: &[u8]) {
    let archive = tars::mended(data);
    let mut buffer = vec![0; 4096];
    let mut read = 0;
    let _ = Entries::new(&archive[..], HEADERS).for_each(|mut member| {
        assert!(member.path.len() as u64 <= HEADERS && member.link.len() as u64 <= HEADERS);
        if member.is_sparse() {
            return Ok(());
        }
        member.copy_to::<ArchiveError>(&mut buffer, |piece| {
            read += piece.len();
            Ok(())
        })
    });
    assert!(read <= archive.len(), "more was read than there is");
}

/// Above what is inflated no more is asked for.
const INFLATED: u64 = 8 << 20;

pub fn compression(data: &[u8]) {
    let (capacity, data) = choice(data);
    let pieces = BufReader::with_capacity(usize::from(capacity) + 1, Cursor::new(data));
    let Ok(decoder) = Decoder::new(pieces) else {
        return;
    };
    let _ = std::io::copy(&mut decoder.take(INFLATED), &mut std::io::sink());
}

/// An archive put among files that lead astray, none of which may be touched, nor anything beside the root.
pub fn place(data: &[u8]) {
    let (how, data) = choice(data);
    let archive = tars::mended(data);
    let dir = scratch();
    let root = dir.path().join("root");
    let outside = dir.path().join("outside");
    let made = || -> std::io::Result<()> {
        std::fs::create_dir_all(root.join("in/deep"))?;
        std::fs::create_dir(&outside)?;
        std::fs::write(outside.join("canary"), "alive")?;
        std::os::unix::fs::symlink(&outside, root.join("in/out"))?;
        std::os::unix::fs::symlink("../../outside/canary", root.join("in/canary"))?;
        std::os::unix::fs::symlink("deep", root.join("in/link"))
    };
    made().expect("a directory can be filled");
    let descriptor = rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = Root::new(descriptor.expect("it was made")).expect("/proc is mounted");
    let renames = [Rename::new("x", "in")];
    let placement = Placement {
        root: &opened,
        at: Path::new(if how & 1 == 0 { "/in" } else { "/" }),
        owner: if how & 2 == 0 {
            Owner::Archive
        } else {
            Owner::Fixed { uid: 1, gid: 1 }
        },
        overwrite: how & 4 == 0,
        renames: if how & 8 == 0 { &[] } else { &renames },
    };
    let _ = dhow_archive::place(&mut &archive[..], &placement);
    let names = |of: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(dir.path()), ["outside", "root"]);
    assert_eq!(names(&outside), ["canary"]);
    let canary = std::fs::read_to_string(outside.join("canary"));
    assert_eq!(canary.ok().as_deref(), Some("alive"));
}
