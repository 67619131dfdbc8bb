//! What `--mount` and `-v` can say of a mount: subpaths, read-only trees, images, and whose the files are.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};

use dhow_tests::TestHost;
use dhow_tests::image::{self, Layer};
use serde_json::json;

#[test]
fn a_part_of_a_volume() {
    let host = TestHost::start();
    host.sh("docker run --rm -v store:/v busybox sh -c 'mkdir -p /v/sub/deep; echo rice >/v/sub/deep/cargo; echo one >/v/file'")
        .ok();
    let volume = host.data_root().join("volumes/store/_data");
    // Links lead within the volume, wherever they point.
    symlink("/sub", volume.join("absolute")).unwrap();
    symlink("../../../../sub", volume.join("above")).unwrap();
    for (path, file) in [
        ("sub/deep", "/x/cargo"),
        ("absolute", "/x/deep/cargo"),
        ("above/deep", "/x/cargo"),
        ("sub/../absolute/deep/cargo", "/x"),
    ] {
        let line = format!(
            "docker run --rm --mount type=volume,src=store,dst=/x,volume-subpath={path} busybox cat {file}"
        );
        assert_eq!(host.sh(&line).ok(), "rice", "{path}");
    }
    let missing = host
        .sh("docker run --rm --mount src=store,dst=/x,volume-subpath=sub/none busybox true")
        .fails(127);
    let why = format!(
        "cannot access path {}: no such file or directory",
        volume.join("sub/none").display()
    );
    assert!(missing.contains(&why), "{missing}");
    for (options, why) in [
        (
            "src=store,dst=/x,volume-subpath=../out",
            "subpath must be a relative path within the volume",
        ),
        (
            "src=store,dst=/x,volume-subpath=/abs",
            "subpath must be a relative path within the volume",
        ),
        (
            "dst=/x,volume-subpath=sub",
            "must not set Subpath when using anonymous volumes",
        ),
    ] {
        let said = host
            .sh(&format!(
                "docker create --mount type=volume,{options} busybox"
            ))
            .fails(1);
        assert!(said.contains(why), "{said}");
    }
    // Copied to and from without its running.
    host.sh("docker create --name part --mount src=store,dst=/x,volume-subpath=absolute busybox")
        .ok();
    assert_eq!(
        host.sh("docker cp part:/x/deep/cargo - | tar xO").ok(),
        "rice"
    );

    // What the volume is made with, and without what the image has there.
    host.sh("dhow create --name maker --mount type=volume,src=made,dst=/etc,volume-nocopy,volume-label=kind=dry,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs busybox")
        .ok();
    let made = host.sh("docker volume inspect made").json();
    assert_eq!(made[0]["Labels"], json!({"kind": "dry"}));
    assert_eq!(
        made[0]["Options"],
        json!({"type": "tmpfs", "device": "tmpfs"})
    );
    assert_eq!(
        host.sh("docker volume ls -q -f label=kind=dry").ok(),
        "made"
    );
    // Modes of what is taken over from another.
    let line =
        "docker run --rm --volumes-from part:ro busybox sh -c 'cat /x/deep/cargo; touch /x/n'";
    assert!(host.sh(line).fails(1).contains("Read-only file system"));
    for mode in ["fast", "nocopy", "rslave", "ro,rw"] {
        let said = host
            .sh(&format!("docker create --volumes-from part:{mode} busybox"))
            .fails(1);
        assert!(said.contains(&format!("invalid mode: {mode}")), "{said}");
    }
    host.sh("docker rm part maker && docker volume rm store made")
        .ok();
}

#[test]
fn a_tree_that_is_read_only() {
    let host = TestHost::start();
    let tree = host.path("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    host.sh(&format!(
        "mount -t tmpfs tmpfs {}",
        tree.join("below").display()
    ))
    .ok();
    let run = |client: &str, options: &str| {
        host.sh(&format!(
            "{client} run --rm --mount type=bind,src={},dst=/t,{options} busybox touch /t/below/x",
            tree.display()
        ))
    };
    assert!(
        run("docker", "ro")
            .fails(1)
            .contains("Read-only file system")
    );
    run("docker", "ro,bind-recursive=writable").ok();
    assert!(tree.join("below/x").exists());
    let forced = "ro,bind-recursive=readonly,bind-propagation=rprivate";
    assert!(
        run("dhow", forced)
            .fails(1)
            .contains("Read-only file system")
    );
    let short = host.sh(&format!(
        "docker run --rm -v {}:/t:ro busybox touch /t/below/x",
        tree.display()
    ));
    assert!(short.fails(1).contains("Read-only file system"));
    // Not below at all.
    let alone = run("docker", "bind-recursive=disabled");
    alone.ok();
    assert_eq!(fs::read_dir(tree.join("below")).unwrap().count(), 1);
    let said = run("dhow", "bind-recursive=readonly").fails(125);
    assert!(
        said.contains("requires 'readonly' to be specified"),
        "{said}"
    );
    host.sh(&format!("umount {}", tree.join("below").display()))
        .ok();
    // In the API's own words, of which older versions have fewer.
    let bind = |options: serde_json::Value| {
        json!({"Image": "busybox", "HostConfig": {"Mounts": [{
            "Type": "bind", "Source": tree, "Target": "/t", "BindOptions": options,
        }]}})
    };
    let refused = host.api(
        "POST",
        "/v1.50/containers/create",
        Some(&bind(json!({"ReadOnlyForceRecursive": true}))),
    );
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("mount options conflict"),
        "{refused:?}"
    );
    // A mount of the host's that is read-only stays so.
    let fixed = host.path("fixed");
    fs::create_dir(&fixed).unwrap();
    host.sh(&format!("mount -t tmpfs -o ro tmpfs {}", fixed.display()))
        .ok();
    let said = host.sh(&format!(
        "docker run --rm -v {}:/f busybox touch /f/x",
        fixed.display()
    ));
    assert!(said.fails(1).contains("Read-only file system"));
    host.sh(&format!("umount {}", fixed.display())).ok();
    // Made where it is missing, if that is asked for.
    for client in ["docker", "dhow"] {
        let line = format!(
            "{client} run --rm --mount type=bind,src={},dst=/m,bind-create-src busybox true",
            host.path("made").display()
        );
        if client == "dhow" {
            host.sh(&line).ok();
            assert!(host.path("made").is_dir());
        }
    }
}

#[test]
fn an_image_is_mounted_to_be_read() {
    let host = TestHost::start();
    let mut layer = Layer::default();
    layer.directory("cargo", 0o755).unwrap();
    layer.file("cargo/rice", 0o644, b"white").unwrap();
    layer.symlink("cargo/link", "/cargo/rice").unwrap();
    host.push_image(&image::busybox_with(layer), "library/hold:latest");
    host.sh("docker pull -q hold").ok();
    let mount = "--mount type=image,source=hold,target=/hold";
    let run = |line: &str| host.sh(&format!("docker run --rm {mount} busybox {line}"));
    assert_eq!(run("cat /hold/cargo/rice").ok(), "white");
    // All of its layers.
    run("/hold/bin/busybox true").ok();
    assert!(
        run("touch /hold/new")
            .fails(1)
            .contains("Read-only file system")
    );
    let part = |path: &str, line: &str| {
        host.sh(&format!(
            "docker run --rm {mount},image-subpath={path} busybox {line}"
        ))
    };
    assert_eq!(part("cargo", "cat /hold/rice").ok(), "white");
    assert_eq!(part("cargo/link", "cat /hold").ok(), "white");
    // One without layers is an empty directory.
    host.push_image(
        &image::Image::new(&[], serde_json::json!({})),
        "library/void:latest",
    );
    host.sh("docker pull -q void").ok();
    let empty = "docker run --rm --mount type=image,source=void,target=/void busybox ls -A /void";
    assert_eq!(host.sh(empty).ok(), "");
    let said = part("cargo/none", "true").fails(127);
    assert!(said.contains("no such file or directory"), "{said}");
    for (options, why) in [
        ("source=none-such", "No such image: none-such"),
        (
            "source=hold,image-subpath=../x",
            "subpath must be a relative path",
        ),
    ] {
        let said = host
            .sh(&format!(
                "dhow create --mount type=image,target=/h,{options} busybox"
            ))
            .fails(1);
        assert!(said.contains(why), "{said}");
    }

    let mut host = host;
    host.sh(&format!(
        "docker create --name holder {mount} busybox cat /hold/cargo/rice"
    ))
    .ok();
    let shown = &host.inspect("holder")["Mounts"][0];
    assert_eq!(shown["Type"], "image");
    assert_eq!(shown["Name"], "hold");
    assert_eq!(shown["Destination"], "/hold");
    assert_eq!(shown["RW"], false);
    // It is in use, also for a daemon that comes later.
    for _ in 0..2 {
        let said = host.sh("docker rmi hold").fails(1);
        assert!(said.contains("conflict"), "{said}");
        host.sh("docker image prune -af").ok();
        assert_eq!(host.sh("docker start -a holder").ok(), "white");
        assert_eq!(
            host.sh("docker cp holder:/hold/cargo/rice - | tar xO").ok(),
            "white"
        );
        host.kill_daemon();
        host.start_daemon();
    }
    host.sh("docker rm holder && docker rmi hold").ok();
}

#[test]
fn the_files_of_one_user_are_anothers_in_the_container() {
    let host = TestHost::start();
    let tree = host.path("work");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("old"), "old").unwrap();
    fs::write(tree.join("roots"), "").unwrap();
    chown(&tree, Some(4321), Some(4322)).unwrap();
    chown(tree.join("old"), Some(4321), Some(4322)).unwrap();
    fs::set_permissions(&tree, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let owner = |name: &str| {
        let found = fs::metadata(tree.join(name)).unwrap();
        (found.uid(), found.gid())
    };
    let script =
        "stat -c %u:%g /w /w/old /w/roots; echo new >/w/new; mkdir /w/dir; echo more >>/w/old";
    for (client, flag) in [
        (
            "docker",
            format!("-v {}:/w:uid=1000,gid=1000", tree.display()),
        ),
        (
            "dhow",
            format!(
                "--mount type=bind,src={},dst=/w,uid=1000,gid=1000",
                tree.display()
            ),
        ),
    ] {
        let seen = host
            .sh(&format!(
                "{client} run --rm -u 1000:1000 {flag} busybox sh -c '{script}'"
            ))
            .ok();
        assert_eq!(seen, "1000:1000\n1000:1000\n0:0");
        assert_eq!(owner("new"), (4321, 4322));
        assert_eq!(owner("dir"), (4321, 4322));
        // Nothing on the host has been changed.
        assert_eq!(owner(""), (4321, 4322));
        assert_eq!(owner("roots"), (0, 0));
        fs::remove_dir(tree.join("dir")).unwrap();
    }
    // Where somebody writes as another, no program runs as that one.
    let seen = host
        .sh(&format!(
            "docker run --rm -v {}:/w:uid=1000,gid=1000 busybox grep ' /w ' /proc/mounts",
            tree.display()
        ))
        .ok();
    assert!(seen.contains("nosuid"), "{seen}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&host.data_root().join("volumes")), 0o700);
    // Without it that user has no business there.
    let said = host.sh(&format!(
        "docker run --rm -u 1000:1000 -v {}:/w busybox touch /w/x",
        tree.display()
    ));
    assert!(said.fails(1).contains("Permission denied"));
    // Root of the container is not root of the host, then; and nobody else is.
    let said = host
        .sh(&format!(
            "docker run --rm -v {}:/w:uid=0,gid=0 busybox sh -c 'touch /w/r && chown 4321 /w/r'",
            tree.display()
        ))
        .fails(1);
    assert!(said.contains("chown: /w/r: Value too large"), "{said}");
    assert_eq!(owner("r"), (4321, 4322));

    // A volume, and the part of one; copies see it so as well.
    host.sh("docker run --rm -v stock:/v busybox sh -c 'mkdir /v/part; chown 55:66 /v/part'")
        .ok();
    let volume = host.data_root().join("volumes/stock/_data");
    let seen = host
        .sh("dhow run --name copier -u 70 --mount type=volume,src=stock,dst=/v,volume-subpath=part,uid=70 busybox sh -c 'stat -c %u:%g /v; touch /v/x'")
        .ok();
    assert_eq!(seen, "70:66");
    assert_eq!(fs::metadata(volume.join("part/x")).unwrap().uid(), 55);
    let listed = host
        .sh("docker cp copier:/v/x - | tar tv --numeric-owner")
        .ok();
    assert!(listed.contains(" 70/"), "{listed}");
    let shown = host.inspect("copier");
    assert_eq!(shown["HostConfig"]["Mounts"][0]["VolumeOptions"]["UID"], 70);
    host.sh("docker rm copier && docker volume rm stock").ok();

    // What is refused.
    let said = host
        .sh("docker run --rm -v /proc:/p:uid=5 busybox true")
        .fails(125);
    assert!(said.contains("can't be shown as another user's"), "{said}");
    let said = host
        .sh("docker run --rm -v stock:/p:uid=me busybox true")
        .fails(125);
    assert!(said.contains("uid must be the number of a user"), "{said}");
    host.sh("docker volume ls -q").ok();
}

#[test]
fn mounts_come_and_go_where_they_are_shared() {
    let host = TestHost::start();
    for kind in ["private", "shared"] {
        let at = host.path(kind);
        fs::create_dir_all(&at).unwrap();
        host.sh(&format!(
            "mount -t tmpfs tmpfs {at} && mount --make-{kind} {at}",
            at = at.display()
        ))
        .ok();
    }
    let (private, shared) = (host.path("private"), host.path("shared"));
    for (mode, words) in [("rshared", "shared"), ("slave", "shared or slave")] {
        let said = host
            .sh(&format!(
                "docker run --rm -v {at}:/p:{mode} busybox true",
                at = private.display()
            ))
            .fails(125);
        let why = format!(
            "path {at} is mounted on {at} but it is not a {words} mount",
            at = private.display()
        );
        assert!(said.contains(&why), "{said}");
    }
    host.sh(&format!(
        "docker run -d --name sees -v {}:/s:rslave busybox sleep 1000",
        shared.display()
    ))
    .ok();
    fs::create_dir(shared.join("in")).unwrap();
    host.sh(&format!(
        "mount -t tmpfs -o size=3m tmpfs {}",
        shared.join("in").display()
    ))
    .ok();
    let seen = host.sh("docker exec sees grep ' /s/in ' /proc/mounts").ok();
    assert!(seen.contains("size=3072k"), "{seen}");
    let line = format!(
        "docker run --rm --privileged --mount type=bind,src={},dst=/s,bind-propagation=rshared busybox sh -c 'mkdir /s/out && mount -t tmpfs tmpfs /s/out && touch /s/out/x'",
        shared.display()
    );
    host.sh(&line).ok();
    assert!(shared.join("out/x").exists());
    host.sh("docker rm -f sees").ok();
    host.sh(&format!(
        "umount {s}/in && umount {s}/out && umount {s} && umount {}",
        private.display(),
        s = shared.display()
    ))
    .ok();
}
