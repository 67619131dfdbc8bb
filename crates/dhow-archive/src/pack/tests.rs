use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use rustix::fs::{CWD, Mode};

use super::*;
use crate::root::LOOK;

fn root(path: &Path) -> Root {
    Root::new(rustix::fs::open(path, LOOK, Mode::empty()).unwrap()).unwrap()
}

fn packed(root: &Root, path: &str, name: &str) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let to = Chunks::new(|piece| {
        archive.extend(piece);
        Ok(())
    });
    pack(root, Path::new(path), name.as_bytes(), to)?;
    Ok(archive)
}

fn listed(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            String::from_utf8(entry.path_bytes().into_owned()).unwrap()
        })
        .collect()
}

/// GNU tar reads it as it was meant.
#[test]
fn every_kind_of_file_comes_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join("src").join(name);
    fs::create_dir_all(at("sub/empty")).unwrap();
    fs::write(at("sub/file"), "contents").unwrap();
    fs::set_permissions(at("sub/file"), fs::Permissions::from_mode(0o6751)).unwrap();
    chown(at("sub/empty"), Some(3_000_000), Some(33)).unwrap();
    fs::write(at("big"), vec![7; CHUNK_AND_MORE]).unwrap();
    fs::hard_link(at("big"), at("zlink")).unwrap();
    symlink("../nowhere/at/all", at("dangling")).unwrap();
    symlink("x".repeat(150), at("long-link")).unwrap();
    fs::write(at(&"n".repeat(200)), "long").unwrap();
    fs::write(at("gr\u{fc}n"), "green").unwrap();
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, mode, 0).unwrap();
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, at("null"), FileType::CharacterDevice, mode, null).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 1_500_000).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

    let archive = packed(&root(dir.path()), "/src", "src").unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::write(dir.path().join("archive"), &archive).unwrap();
    let list = "find . -not -name socket -printf '%P %y %m %U %G %l %n %Ts %s\\n' | sort";
    let script = format!(
        "set -e; tar -C out --numeric-owner -xpf archive; (cd src && {list} > ../1); (cd out/src && {list} > ../../2); diff 1 2; diff -r --no-dereference -x socket -x pipe -x null src out/src; test ! -e out/src/socket; stat -c %t:%T out/src/null | grep -qx 1:3"
    );
    // A directory's own size and its time depend on its history.
    let script = script.replace("%Ts %s\\n", "%s\\n").replace("%n ", "");
    let done = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

const CHUNK_AND_MORE: usize = crate::CHUNK * 2 + 123;

#[test]
fn names_are_those_that_docker_gives() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/c"), "").unwrap();
    symlink("a", dir.path().join("l")).unwrap();
    let root = root(dir.path());
    let names = |path: &str, name: &str| listed(&packed(&root, path, name).unwrap());
    assert_eq!(names("/a", "a"), ["a/", "a/b/", "a/c"]);
    assert_eq!(names("/a/.", "."), ["./", "./b/", "./c"]);
    assert_eq!(names("/l", "l"), ["l"]);
    assert_eq!(names("/l/", "l"), ["l/", "l/b/", "l/c"]);
    assert_eq!(names("/", ""), ["/", "/a/", "/a/b/", "/a/c", "/l"]);
    assert!(packed(&root, "/a/c/", "c").is_err());
    let error = packed(&root, "/none", "none").unwrap_err();
    assert_eq!(error.to_string(), "open /none: no such file or directory");
}

#[test]
fn links_lead_nowhere_else() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink("../../../../../../../..", dir.path().join("up")).unwrap();
    let root = root(dir.path());
    assert!(packed(&root, "/out/secret", "secret").is_err());
    assert!(packed(&root, "/out/", "out").is_err());
    assert_eq!(
        listed(&packed(&root, "/up/", "up").unwrap()),
        ["up/", "up/out", "up/up"]
    );
}

#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![1; crate::CHUNK * 3]).unwrap();
    let root = root(dir.path());
    let mut pieces = 0;
    let to = Chunks::new(|_| {
        pieces += 1;
        File::options().write(true).open(&path)?.set_len(10)
    });
    let error = pack(&root, Path::new("/file"), b"file", to).unwrap_err();
    assert_eq!(error.to_string(), "/file became shorter while it was read");
}

#[test]
fn names_are_in_order_as_far_as_they_are_held() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3000 {
        fs::write(dir.path().join(format!("{n:04}")), "").unwrap();
    }
    let names = listed(&packed(&root(dir.path()), "/", "").unwrap());
    assert_eq!(names.len(), 3001);
    assert!(names.is_sorted());
}
