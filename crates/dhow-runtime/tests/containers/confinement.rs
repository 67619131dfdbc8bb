//! What a container may and may not do, with Docker's defaults.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dhow_runtime::{AttachStreams, Rootfs};
use oci_spec::runtime::*;
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    (
        "confinement::paths_are_masked_and_read_only",
        paths_are_masked_and_read_only,
    ),
    ("confinement::devices", devices),
    ("confinement::capabilities", capabilities),
    ("confinement::seccomp", seccomp),
    (
        "confinement::identity_limits_and_names",
        identity_limits_and_names,
    ),
    ("confinement::mounts", mounts),
    (
        "confinement::links_in_an_image_lead_nowhere_else",
        links_in_an_image_lead_nowhere_else,
    ),
    (
        "confinement::a_source_is_looked_up_beneath_its_directory",
        a_source_is_looked_up_beneath_its_directory,
    ),
    (
        "confinement::links_to_proc_are_no_mount_points",
        links_to_proc_are_no_mount_points,
    ),
    (
        "confinement::proc_and_sys_are_directories_of_the_image",
        proc_and_sys_are_directories_of_the_image,
    ),
    (
        "confinement::a_link_can_not_loosen_its_mount",
        a_link_can_not_loosen_its_mount,
    ),
    (
        "confinement::devices_are_made_in_no_volume",
        devices_are_made_in_no_volume,
    ),
    (
        "confinement::settings_reach_the_kernel_alone",
        settings_reach_the_kernel_alone,
    ),
    (
        "confinement::labels_reach_the_kernel_alone",
        labels_reach_the_kernel_alone,
    ),
    (
        "confinement::descriptors_lead_nowhere",
        descriptors_lead_nowhere,
    ),
    (
        "confinement::an_exec_trusts_no_node_of_the_container",
        an_exec_trusts_no_node_of_the_container,
    ),
    ("confinement::apparmor", apparmor),
    (
        "confinement::hostile_processes_are_ended",
        hostile_processes_are_ended,
    ),
    (
        "confinement::memory_and_process_limits",
        memory_and_process_limits,
    ),
    (
        "confinement::nothing_of_the_host_is_open",
        nothing_of_the_host_is_open,
    ),
    ("confinement::many_layers", many_layers),
    ("confinement::large_specifications", large_specifications),
    (
        "confinement::layers_with_long_names",
        layers_with_long_names,
    ),
    (
        "confinement::without_a_cgroup_namespace",
        without_a_cgroup_namespace,
    ),
    ("confinement::privileged", privileged),
];

/// Where a container sees its control group, and what it is called there: with version 1 in all hierarchies but
/// the one of version 2 beside them.
const GROUP: &str = "group=/sys/fs/cgroup; test -e $group/memory && group=$group/memory; own() { (grep -v ^0:: /proc/self/cgroup || cat /proc/self/cgroup) | cut -d: -f3; }; ";

fn run(runtime: &Runtime, container: Container<'_>) -> (i32, String, String) {
    runtime.block_on(container.run())
}

fn paths_are_masked_and_read_only(host: &Host, runtime: &Runtime) {
    let script = "wc -c </proc/keys; echo x >/proc/sys/kernel/domainname || echo refused; ls /sys/firmware | wc -l; touch /sys/x || echo refused; own | sort -u; ls $group | grep -c cgroup.procs; mkdir $group/x || echo refused";
    let script = format!("{GROUP}{script}");
    let (_, stdout, stderr) = run(runtime, host.container(&["sh", "-c", &script]));
    assert_eq!(
        stdout, "0\nrefused\n0\nrefused\n/\n1\nrefused\n",
        "{stderr}"
    );
}

fn devices(host: &Host, runtime: &Runtime) {
    let script = "ls /dev | grep -v core; stat -c '%a %t:%T' /dev/null; readlink /dev/fd; readlink /dev/ptmx; mknod /dev/disk b 254 0 && head -c 1 /dev/disk >/dev/null || echo refused; head -c 4 /dev/zero | wc -c";
    let (_, stdout, stderr) = run(runtime, host.container(&["sh", "-c", script]));
    assert_eq!(
        stdout,
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n666 1:3\n/proc/self/fd\npts/ptmx\nrefused\n4\n",
        "{stderr}"
    );

    let mut container = host.container(&[
        "sh",
        "-c",
        "stat -c '%a %t:%T %u' /dev/extra/one; head -c 2 /dev/extra/one | wc -c",
    ]);
    container.linux().set_devices(Some(vec![
        LinuxDeviceBuilder::default()
            .path("/dev/extra/one")
            .typ(LinuxDeviceType::C)
            .major(1i64)
            .minor(5i64)
            .file_mode(0o640u32)
            .uid(7u32)
            .build()
            .unwrap(),
    ]));
    assert_eq!(run(runtime, container).1, "640 1:5 7\n2\n");
}

fn capabilities(host: &Host, runtime: &Runtime) {
    let grep = ["grep", "^Cap", "/proc/self/status"];
    let (_, stdout, _) = run(runtime, host.container(&grep));
    assert_eq!(
        stdout,
        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n"
    );
    let mut container = host.container(&grep);
    container.process().set_user(
        UserBuilder::default()
            .uid(1000u32)
            .gid(1000u32)
            .build()
            .unwrap(),
    );
    let (_, stdout, _) = run(runtime, container);
    assert!(
        stdout.contains("CapEff:\t0000000000000000\n")
            && stdout.contains("CapBnd:\t00000000a80425fb\n"),
        "{stdout}"
    );
    let (code, _, _) = run(
        runtime,
        host.container(&["mount", "-t", "tmpfs", "tmpfs", "/tmp"]),
    );
    assert_ne!(code, 0);
}

fn seccomp(host: &Host, runtime: &Runtime) {
    let profile = dhow_runtime::seccomp::default_profile(&CAPABILITIES.into_iter().collect());
    for no_new_privileges in [false, true] {
        let mut container = host.container(&[
            "sh",
            "-c",
            "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; unshare -U true || echo refused",
        ]);
        container.linux().set_seccomp(Some(profile.clone()));
        container
            .process()
            .set_no_new_privileges(Some(no_new_privileges));
        let (_, stdout, _) = run(runtime, container);
        assert_eq!(
            stdout,
            format!(
                "NoNewPrivs:\t{}\nSeccomp:\t2\nrefused\n",
                u8::from(no_new_privileges)
            )
        );
    }
    // An exec has it as well.
    runtime.block_on(async {
        let mut container = host.container(&["sleep", "1000"]);
        container.linux().set_seccomp(Some(profile));
        let running = container.start().await.unwrap();
        let (_, stdout, _) = running
            .exec("s", |request| {
                request.process = process(&["grep", "^Seccomp:", "/proc/self/status"])
            })
            .await
            .unwrap();
        assert_eq!(stdout, "Seccomp:\t2\n");
        running
            .shim
            .signal(dhow_runtime::Target::Init, 9)
            .await
            .unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

fn identity_limits_and_names(host: &Host, runtime: &Runtime) {
    let mut container = host.container(&["sh", "-c", "id -u; id -g; id -G; pwd; hostname; ulimit -n; umask; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo x >/dev/stderr"]);
    container.process().set_user(
        UserBuilder::default()
            .uid(1000u32)
            .gid(1000u32)
            .additional_gids(vec![29u32, 77])
            .build()
            .unwrap(),
    );
    container.process().set_cwd("/made/for/it".into());
    container.process().set_rlimits(Some(vec![
        PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .soft(512u64)
            .hard(1024u64)
            .build()
            .unwrap(),
    ]));
    container.linux().set_sysctl(Some(
        [(
            "net.ipv4.ip_unprivileged_port_start".to_string(),
            "7".to_string(),
        )]
        .into(),
    ));
    container
        .request
        .spec
        .set_hostname(Some("dhow-host".into()));
    let (code, stdout, stderr) = run(runtime, container);
    assert_eq!(
        stdout, "1000\n1000\n1000 29 77\n/made/for/it\ndhow-host\n512\n0022\n7\n",
        "{stderr}"
    );
    assert_eq!((code, stderr.as_str()), (0, "x\n"));

    let mut container = host.container(&["sh", "-c", "ulimit -Hn"]);
    container.process().set_rlimits(Some(vec![
        PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .soft(1u64 << 19)
            .hard(1u64 << 20)
            .build()
            .unwrap(),
    ]));
    assert_eq!(
        run(runtime, container).0,
        0,
        "a limit that can't be raised is no reason not to start"
    );
}

fn mounts(host: &Host, runtime: &Runtime) {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "from outside\n").unwrap();
    let mut container = host.container(&["sh", "-c", "cat /data/file /one/file.txt; touch /data/new && echo written; touch /read-only/x || echo refused; stat -c %a /scratch; touch /scratch/x && echo scratch; touch /x || echo root refused; grep ' /scratch ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(size|nosuid)'"]);
    container.mount(mount(
        "bind",
        outside.path(),
        "/data",
        &["rbind", "rw", "rprivate"],
    ));
    container.mount(mount(
        "bind",
        outside.path(),
        "/read-only",
        &["rbind", "ro", "rprivate"],
    ));
    container.mount(mount(
        "bind",
        outside.path().join("file"),
        "/one/file.txt",
        &["bind", "ro"],
    ));
    container.mount(mount(
        "tmpfs",
        "tmpfs",
        "/scratch",
        &["nosuid", "size=1024k", "mode=1770"],
    ));
    container.request.spec.set_root(Some(
        RootBuilder::default()
            .path("rootfs")
            .readonly(true)
            .build()
            .unwrap(),
    ));
    let (_, stdout, stderr) = run(runtime, container);
    assert_eq!(
        stdout,
        "from outside\nfrom outside\nwritten\nrefused\n1770\nscratch\nroot refused\nnosuid\nsize=1024k\n",
        "{stderr}"
    );
    assert!(outside.path().join("new").exists());

    let mut container = host.container(&["true"]);
    container.mount(mount("bind", "/no/such/source", "/data", &["rbind"]));
    let error = runtime.block_on(container.start()).err().unwrap();
    assert!(error.to_string().contains("/no/such/source"), "{error}");
    let mut container = host.container(&["true"]);
    container.mount(mount("bind", outside.path(), "/proc/self", &["rbind"]));
    let error = runtime.block_on(container.start()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("cannot be mounted because it is inside /proc"),
        "{error}"
    );
}

fn links_in_an_image_lead_nowhere_else(host: &Host, runtime: &Runtime) {
    let outside = tempfile::tempdir().unwrap();
    let mut container = host.container(&["sh", "-c", "cat /escape/mark"]);
    let Some(upper) = (match &container.request.rootfs {
        dhow_runtime::Rootfs::Overlay { upper, .. } => Some(upper.clone()),
        _ => None,
    }) else {
        panic!()
    };
    let up = format!("../../../../../../../..{}", outside.path().display());
    std::os::unix::fs::symlink(&up, upper.join("escape")).unwrap();
    std::os::unix::fs::symlink(outside.path(), upper.join("absolute")).unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("mark"), "inside\n").unwrap();
    container.mount(mount("bind", source.path(), "/escape", &["rbind"]));
    container.mount(mount("bind", source.path(), "/absolute/deeper", &["rbind"]));
    let (_, stdout, stderr) = run(runtime, container);
    assert_eq!(stdout, "inside\n", "{stderr}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

fn a_source_is_looked_up_beneath_its_directory(host: &Host, runtime: &Runtime) {
    let volume = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(volume.path().join("sub")).unwrap();
    std::fs::write(volume.path().join("sub/mark"), "inside\n").unwrap();
    symlink(outside.path(), volume.path().join("out")).unwrap();
    symlink("sub", volume.path().join("link")).unwrap();
    let beneath = format!("x-dhow.beneath={}", volume.path().display());
    for (sub, works) in [("sub", true), ("out", false), ("link", true)] {
        let mut container = host.container(&["cat", "/data/mark"]);
        let source = volume.path().join(sub);
        container.mount(mount("bind", source, "/data", &["rbind", &beneath]));
        if works {
            assert_eq!(run(runtime, container).1, "inside\n");
        } else {
            refusal(runtime, container, sub);
        }
    }
}

/// The directory of a container's own changes, to be an image that was made with malice.
fn image(container: &Container<'_>) -> PathBuf {
    match &container.request.rootfs {
        Rootfs::Overlay { upper, .. } => upper.clone(),
        Rootfs::Directory(path) => path.clone(),
    }
}

fn refusal(runtime: &Runtime, container: Container<'_>, what: &str) -> String {
    match runtime.block_on(container.start()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{what} is refused"),
    }
}

/// The class of CVE-2019-16884: what counts is where a destination leads, whatever its words are.
fn links_to_proc_are_no_mount_points(host: &Host, runtime: &Runtime) {
    let volume = tempfile::tempdir().unwrap();
    symlink("/proc", volume.path().join("inner")).unwrap();
    let cases = [
        ("/proc", "/data"),
        ("proc", "/data"),
        ("../../../proc/../proc/.", "/data"),
        ("/proc", "/data/sys"),
        ("/proc", "/data/1/attr"),
        ("/proc/self", "/data"),
        ("/proc/sys/kernel", "/data"),
        ("/proc/version", "/data"),
        ("other", "/data"),
    ];
    for (link, destination) in cases {
        for kind in ["bind", "tmpfs", "mqueue"] {
            let mut container = host.container(&["true"]);
            let upper = image(&container);
            symlink("/proc", upper.join("other")).unwrap();
            symlink(link, upper.join("data")).unwrap();
            if kind == "bind" && link.ends_with("version") {
                let file = volume.path().join("file");
                std::fs::write(&file, "").unwrap();
                container.mount(mount("bind", file, destination, &["bind"]));
            } else if kind == "bind" {
                container.mount(mount("bind", volume.path(), destination, &["rbind", "rw"]));
            } else {
                container.mount(mount(kind, kind, destination, &["nosuid"]));
            }
            let error = refusal(runtime, container, &format!("{kind} at {link}"));
            assert!(
                error.contains("/proc") && error.contains("cannot be mounted because"),
                "{kind} at {destination}, a link to {link}: {error}"
            );
        }
    }
    // A volume's content is no better than an image's.
    for destination in [
        "/volume/inner",
        "/volume/inner/self",
        "/volume/../volume/inner/sys",
    ] {
        let mut container = host.container(&["true"]);
        container.mount(mount(
            "bind",
            volume.path(),
            "/volume",
            &["rbind", "rprivate"],
        ));
        container.mount(mount(
            "bind",
            volume.path(),
            destination,
            &["rbind", "rprivate"],
        ));
        let error = refusal(runtime, container, destination);
        assert!(
            error.contains("cannot be mounted because"),
            "{destination}: {error}"
        );
    }
    // Also while /proc is not mounted yet: what is put there would be beneath it, or in its place.
    let mut container = host.container(&["true"]);
    symlink("/proc", image(&container).join("data")).unwrap();
    let bind = mount("bind", volume.path(), "/data", &["rbind"]);
    container
        .request
        .spec
        .mounts_mut()
        .as_mut()
        .unwrap()
        .insert(0, bind);
    let error = refusal(runtime, container, "a mount before /proc's");
    assert!(error.contains("it is not of type proc"), "{error}");
    // Nor is anything made there.
    let mut container = host.container(&["true"]);
    symlink("/proc", image(&container).join("data")).unwrap();
    container.mount(mount("bind", volume.path(), "/data/made", &["rbind"]));
    let error = refusal(runtime, container, "a mount point on procfs");
    assert!(error.contains("creating the mount point"), "{error}");
    // No volume takes the place of the root itself.
    let mut container = host.container(&["true"]);
    symlink("/", image(&container).join("data")).unwrap();
    container.mount(mount("bind", volume.path(), "/data", &["rbind"]));
    let error = refusal(runtime, container, "a mount on the root");
    assert!(error.contains("root of the container"), "{error}");
    // What a container may be told otherwise, it may still.
    let uptime = volume.path().join("uptime");
    std::fs::write(&uptime, "1.00 1.00\n").unwrap();
    let mut container = host.container(&["cat", "/proc/uptime"]);
    container.mount(mount("bind", uptime, "/proc/uptime", &["bind", "ro"]));
    assert_eq!(run(runtime, container).1, "1.00 1.00\n");
    // So is a bind of a procfs as a whole, and of nothing else.
    let mut container = host.container(&["readlink", "/proc/self/exe"]);
    let mounts = container.request.spec.mounts_mut().as_mut().unwrap();
    mounts.retain(|mount| mount.destination() != Path::new("/proc"));
    container.mount(mount("bind", "/proc", "/proc", &["rbind"]));
    assert_eq!(run(runtime, container).0, 0);
    let mut container = host.container(&["true"]);
    container.mount(mount("bind", volume.path(), "/proc", &["rbind"]));
    let error = refusal(runtime, container, "a volume at /proc");
    assert!(error.contains("it is not of type proc"), "{error}");
}

/// The class of CVE-2019-19921: procfs and sysfs are where their names say, or nowhere.
fn proc_and_sys_are_directories_of_the_image(host: &Host, runtime: &Runtime) {
    for (name, kind) in [("proc", "proc"), ("sys", "sysfs")] {
        for linked in [true, false] {
            let container = host.container(&["true"]);
            let place = image(&container).join(name);
            match linked {
                true => symlink("/tmp", place).unwrap(),
                false => std::fs::write(place, "").unwrap(),
            }
            let error = refusal(runtime, container, &format!("/{name} that is no directory"));
            let expected = format!("filesystem {kind:?} must be mounted on ordinary directory");
            assert!(error.contains(&expected), "{error}");
        }
    }
}

/// A destination that leads through the very mount that is made there: its flags are still its own.
fn a_link_can_not_loosen_its_mount(host: &Host, runtime: &Runtime) {
    let volume = tempfile::tempdir().unwrap();
    symlink("/tmp", volume.path().join("up")).unwrap();
    for options in [&["rbind", "ro"][..], &["rbind", "rro"]] {
        let mut container = host.container(&["sh", "-c", "touch /v/x || echo refused"]);
        let upper = image(&container);
        std::fs::create_dir(upper.join("v")).unwrap();
        symlink(".", upper.join("v/up")).unwrap();
        container.mount(mount("bind", volume.path(), "/v/up", options));
        let (_, stdout, stderr) = run(runtime, container);
        assert_eq!(stdout, "refused\n", "{options:?}: {stderr}");
    }
}

/// A volume that a link has put in /dev's place is not filled with devices.
fn devices_are_made_in_no_volume(host: &Host, runtime: &Runtime) {
    for link in ["/dev", "dev/."] {
        let volume = tempfile::tempdir().unwrap();
        let mut container = host.container(&["true"]);
        symlink(link, image(&container).join("data")).unwrap();
        container.mount(mount("bind", volume.path(), "/data", &["rbind"]));
        // Whether it can start without its devices is up to the volume.
        if let Ok(running) = runtime.block_on(container.start()) {
            runtime.block_on(async {
                running.exit().await;
                running.shim.release().await.unwrap();
            });
        }
        let found: Vec<_> = std::fs::read_dir(volume.path()).unwrap().collect();
        assert!(found.is_empty(), "{link}: {found:?}");
    }
}

/// Kernel settings are written to procfs, not to what an image has in its place.
fn settings_reach_the_kernel_alone(host: &Host, runtime: &Runtime) {
    let script =
        "cat /mark; mount -t proc proc /tmp && cat /tmp/sys/net/ipv4/ip_unprivileged_port_start";
    let mut container = host.container(&["sh", "-c", script]);
    let upper = image(&container);
    let fake = upper.join("proc/sys/net/ipv4");
    std::fs::create_dir_all(&fake).unwrap();
    std::fs::write(upper.join("mark"), "untouched\n").unwrap();
    symlink("/mark", fake.join("ip_unprivileged_port_start")).unwrap();
    let mounts = container.request.spec.mounts_mut().as_mut().unwrap();
    mounts.retain(|mount| mount.destination() != Path::new("/proc"));
    allow(&mut container, Capability::SysAdmin);
    container.linux().set_sysctl(Some(
        [(
            "net.ipv4.ip_unprivileged_port_start".to_string(),
            "7".to_string(),
        )]
        .into(),
    ));
    let (_, stdout, stderr) = run(runtime, container);
    assert_eq!(stdout, "untouched\n7\n", "{stderr}");
    // Names that lead out of the kernel's settings.
    for name in [
        "net.../../1/oom_score_adj",
        "/etc/passwd",
        "kernel/../../uptime",
    ] {
        let mut container = host.container(&["true"]);
        container
            .linux()
            .set_sysctl(Some([(name.to_string(), "7".to_string())].into()));
        let error = refusal(runtime, container, name);
        assert!(error.contains(name), "{error}");
    }
}

fn allow(container: &mut Container<'_>, capability: Capability) {
    let process = container.process();
    let mut sets = process.capabilities().clone().unwrap();
    let with = |set: &Option<Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.insert(capability);
        Some(set)
    };
    let (bounding, effective, permitted) = (
        with(sets.bounding()),
        with(sets.effective()),
        with(sets.permitted()),
    );
    sets.set_bounding(bounding)
        .set_effective(effective)
        .set_permitted(permitted);
    process.set_capabilities(Some(sets));
}

/// An exec enters a container that may have covered its /proc: a label that went into a file there would be
/// no label (the class of CVE-2019-16884).
fn labels_reach_the_kernel_alone(host: &Host, runtime: &Runtime) {
    let script = "mount -t tmpfs tmpfs /proc && mkdir -p /proc/self/attr/apparmor && touch /proc/self/attr/exec /proc/self/attr/apparmor/exec && echo covered && exec sleep 1000";
    let mut container = host.container(&["sh", "-c", script]);
    allow(&mut container, Capability::SysAdmin);
    runtime.block_on(async {
        let client = container.attach(OUTPUT);
        let running = container.start().await.unwrap();
        wait_for_line(client, "covered").await;
        let error = running
            .exec("label", |request| {
                request
                    .process
                    .set_apparmor_profile(Some("dhow-no-such-profile".into()));
            })
            .await
            .expect_err("there is no such profile");
        assert!(
            error.to_string().contains("dhow-no-such-profile"),
            "{error}"
        );
        let (code, ..) = running.exec("plain", |_| {}).await.unwrap();
        assert_eq!(code, 0, "without a label it needs no /proc");
        running
            .shim
            .signal(dhow_runtime::Target::Init, 9)
            .await
            .unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

async fn wait_for_line(client: UnixStream, line: &'static str) {
    let read = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut client = client;
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut header = [0; 8];
        client
            .read_exact(&mut header)
            .expect("the container says something");
        let mut body = vec![0; u32::from_be_bytes(header[4..].try_into().unwrap()) as usize];
        client.read_exact(&mut body).unwrap();
        // It is held open until the test's process ends: the container goes on.
        std::mem::forget(client);
        String::from_utf8(body).unwrap()
    });
    assert_eq!(read.await.unwrap().trim(), line);
}

/// The class of CVE-2024-21626: what the shim has open is no way out for a working directory or a program.
fn descriptors_lead_nowhere(host: &Host, runtime: &Runtime) {
    let outside = tempfile::tempdir().unwrap();
    std::fs::copy("/bin/busybox", outside.path().join("true")).unwrap();
    let place = outside.path().strip_prefix("/").unwrap().display();
    let up = format!("{}{place}", "../".repeat(24));
    // A directory that the shim holds, as a version 2 cgroup is one.
    let held = || -> OwnedFd { std::fs::File::open(outside.path()).unwrap().into() };
    let refused = |mut container: Container<'_>, what: &str| {
        container.hold(held());
        refusal(runtime, container, what);
    };
    for number in 3..32 {
        let descriptor = format!("/proc/self/fd/{number}/{up}");
        let mut container = host.container(&["true"]);
        container
            .process()
            .set_cwd(format!("{descriptor}/made").into());
        refused(container, &descriptor);
        assert!(!outside.path().join("made").exists(), "{descriptor}");
        refused(
            host.container(&[&format!("{descriptor}/true")]),
            &descriptor,
        );
    }
    runtime.block_on(async {
        let mut container = host.container(&["sleep", "1000"]);
        container.hold(held());
        let running = container.start().await.unwrap();
        for number in 3..32 {
            let descriptor = format!("/proc/self/fd/{number}/{up}");
            let program = format!("{descriptor}/true");
            running
                .exec("program", |request| request.process = process(&[&program]))
                .await
                .expect_err(&program);
            running
                .exec("directory", |request| {
                    request.process.set_cwd(descriptor.clone().into());
                })
                .await
                .expect_err(&descriptor);
        }
        running
            .shim
            .signal(dhow_runtime::Target::Init, 9)
            .await
            .unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

/// What a running container has made of its devices: an exec's streams are the kernel's, or it doesn't start.
fn an_exec_trusts_no_node_of_the_container(host: &Host, runtime: &Runtime) {
    let script = "mount -t tmpfs tmpfs /dev/pts && mknod /dev/pts/ptmx c 1 3 && mount -t tmpfs tmpfs /tmp && touch /tmp/null && mount --bind /tmp/null /dev/null && echo covered && exec sleep 1000";
    let mut container = host.container(&["sh", "-c", script]);
    allow(&mut container, Capability::SysAdmin);
    runtime.block_on(async {
        let client = container.attach(OUTPUT);
        let running = container.start().await.unwrap();
        wait_for_line(client, "covered").await;
        let error = running
            .exec("null", |_| {})
            .await
            .expect_err("no null device");
        assert!(
            error.to_string().contains("is not the null device"),
            "{error}"
        );
        let error = running
            .exec("terminal", |request| {
                request.process.set_terminal(Some(true));
            })
            .await
            .expect_err("no terminal");
        assert!(
            error.to_string().contains("/dev/pts/ptmx is not"),
            "{error}"
        );
        running
            .shim
            .signal(dhow_runtime::Target::Init, 9)
            .await
            .unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

/// The default profile, with nothing else in its way: no path is masked or read-only, and mounting is allowed by
/// the capability.
fn apparmor(host: &Host, runtime: &Runtime) {
    use dhow_runtime::apparmor::{self, DEFAULT_PROFILE};
    if !apparmor::is_enabled() {
        println!("skipped: the kernel has no AppArmor");
        return;
    }
    apparmor::load_default().unwrap();
    assert!(apparmor::is_loaded(DEFAULT_PROFILE));
    apparmor::load_default().expect("a second time it is there");
    assert!(!apparmor::is_loaded("docker"));

    let denied = [
        "echo h >/proc/sysrq-trigger",
        "echo x >/proc/sys/kernel/domainname",
        "cat /proc/sys/kernel/sem >/tmp/sem && cat /tmp/sem >/proc/sys/kernel/sem",
        "echo 1 >/proc/sys/vm/drop_caches",
        "echo 1 >/proc/irq/default_smp_affinity",
        "mount -t tmpfs tmpfs /tmp",
        "mount --bind /etc /tmp",
        "mount -o remount,ro /",
        "ls /sys/firmware/acpi",
    ];
    let allowed = [
        "cat /proc/sys/kernel/ostype",
        "cat /proc/sys/kernel/shmmax >/tmp/max && cat /tmp/max >/proc/sys/kernel/shmmax",
        "echo 0 >/proc/self/oom_score_adj",
        "sleep 100 & kill $!",
        "cat /proc/1/status",
        "touch /etc/x && chown 1000 /etc/x",
        "mknod /tmp/null c 1 3",
        "mkdir /sys/fs/cgroup/x",
    ];
    let checks = |commands: &[&str]| -> String {
        let check = |command: &&str| format!("({command}) >/dev/null 2>&1 && echo '{command}'; ");
        commands.iter().map(check).collect()
    };
    let script = format!(
        "cat /proc/self/attr/current; {}{}",
        checks(&denied),
        checks(&allowed)
    );
    let mut container = host.container(&["sh", "-c", &script]);
    container
        .process()
        .set_apparmor_profile(Some(DEFAULT_PROFILE.into()));
    allow(&mut container, Capability::SysAdmin);
    allow(&mut container, Capability::SysResource);
    container
        .linux()
        .set_masked_paths(None)
        .set_readonly_paths(None);
    for mount in container.request.spec.mounts_mut().as_mut().unwrap() {
        let options = mount.options().iter().flatten();
        let options = options.filter(|option| *option != "ro").cloned().collect();
        mount.set_options(Some(options));
    }
    let (_, stdout, stderr) = run(runtime, container);
    let expected = format!("{DEFAULT_PROFILE} (enforce)\n{}\n", allowed.join("\n"));
    assert_eq!(stdout, expected, "{stderr}");

    // An exec has the one that it is told, whatever the container's first process has.
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let (_, stdout, _) = running
            .exec("confined", |request| {
                request.process = process(&["cat", "/proc/self/attr/current"]);
                request
                    .process
                    .set_apparmor_profile(Some(DEFAULT_PROFILE.into()));
            })
            .await
            .unwrap();
        assert_eq!(stdout, format!("{DEFAULT_PROFILE} (enforce)\n"));
        running
            .shim
            .signal(dhow_runtime::Target::Init, 9)
            .await
            .unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

/// What stops whatever it can, and multiplies as it can, ends by its control group.
fn hostile_processes_are_ended(host: &Host, runtime: &Runtime) {
    let stop = "stop() { while :; do kill -STOP -1; done; }; stop & stop & stop & echo ready; stop";
    let bomb = "bomb() { bomb | bomb & }; echo ready; while :; do bomb; done";
    let both = "stop() { while :; do kill -STOP -1; done; }; bomb() { bomb | bomb & }; stop & echo ready; while :; do bomb; done";
    for script in [stop, bomb, both] {
        let mut container = host.container(&["sh", "-c", script]);
        let resources = container.linux().resources_mut().as_mut().unwrap();
        resources.set_pids(Some(
            LinuxPidsBuilder::default().limit(200).build().unwrap(),
        ));
        runtime.block_on(async {
            let client = container.attach(AttachStreams {
                stderr: false,
                ..OUTPUT
            });
            let running = container.start().await.unwrap();
            wait_for_line(client, "ready").await;
            let cgroup = running.cgroup();
            tokio::task::spawn_blocking(move || cgroup.kill())
                .await
                .unwrap()
                .unwrap();
            // A shell that can't fork any more may end by itself, with 2, before it is killed.
            let code = running.exit().await.code;
            assert!([137, 2].contains(&code), "{code}: {script}");
            running.shim.release().await.unwrap();
        });
    }
}

fn memory_and_process_limits(host: &Host, runtime: &Runtime) {
    let limited = |arguments: &[&str], memory: Option<i64>, pids: Option<i64>| {
        let mut container = host.container(arguments);
        let resources = container.linux().resources_mut().as_mut().unwrap();
        resources.set_memory(memory.map(|limit| {
            LinuxMemoryBuilder::default()
                .limit(limit)
                .swap(limit)
                .build()
                .unwrap()
        }));
        resources
            .set_pids(pids.map(|limit| LinuxPidsBuilder::default().limit(limit).build().unwrap()));
        container
    };
    let record = runtime.block_on(async {
        let running = limited(
            &["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"],
            Some(32 << 20),
            None,
        )
        .start()
        .await
        .unwrap();
        let record = running.exit().await;
        running.shim.release().await.unwrap();
        record
    });
    assert!(record.oom_killed && record.code == 137, "{record:?}");
    let (_, stdout, _) = run(
        runtime,
        limited(
            &[
                "sh",
                "-c",
                "for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo all",
            ],
            None,
            Some(4),
        ),
    );
    assert_eq!(stdout, "", "the shell can't fork any more");
}

fn nothing_of_the_host_is_open(host: &Host, runtime: &Runtime) {
    let (_, stdout, _) = run(
        runtime,
        host.container(&[
            "sh",
            "-c",
            "ls /proc/self/fd | wc -l; grep -c . /proc/1/mountinfo; env",
        ]),
    );
    let mut lines = stdout.lines();
    assert_eq!(
        lines.next(),
        Some("4"),
        "three streams and ls's own directory: {stdout}"
    );
    let mounts: u32 = lines.next().unwrap().parse().unwrap();
    assert!(mounts < 45, "only the container's own mounts: {mounts}");
}

fn many_layers(host: &Host, runtime: &Runtime) {
    let layers = tempfile::tempdir().unwrap();
    let mut container = host.container(&["sh", "-c", "cat /layer/0 /layer/124; cat /which"]);
    if let dhow_runtime::Rootfs::Overlay { lower, .. } = &mut container.request.rootfs {
        for number in (0..125).rev() {
            let path = layers.path().join(format!("{number:064x}")).join("diff");
            std::fs::create_dir_all(path.join("layer")).unwrap();
            std::fs::write(
                path.join("layer").join(number.to_string()),
                format!("layer {number}\n"),
            )
            .unwrap();
            std::fs::write(path.join("which"), format!("{number}\n")).unwrap();
            lower.insert(lower.len() - 1, path);
        }
    }
    let (_, stdout, stderr) = run(runtime, container);
    assert_eq!(stdout, "layer 0\nlayer 124\n124\n", "{stderr}");
}

fn large_specifications(host: &Host, runtime: &Runtime) {
    let outside = tempfile::tempdir().unwrap();
    let mut container = host.container(&[
        "sh",
        "-c",
        "env | grep -c ^BIG; grep -c ' /many/' /proc/mounts",
    ]);
    for number in 0..200 {
        container
            .process()
            .env_mut()
            .as_mut()
            .unwrap()
            .push(format!("BIG{number}={}", "x".repeat(1000)));
    }
    for number in 0..1000 {
        container.mount(mount(
            "bind",
            outside.path(),
            &format!("/many/{number}"),
            &["rbind"],
        ));
    }
    assert_eq!(run(runtime, container).1, "200\n1000\n");
}

/// Names that fsconfig does not take go the way of older kernels.
fn layers_with_long_names(host: &Host, runtime: &Runtime) {
    let layers = tempfile::tempdir().unwrap();
    let long = layers.path().join("l".repeat(200)).join("m".repeat(200));
    let mut container = host.container(&["cat", "/layer/0", "/layer/39", "/which"]);
    if let dhow_runtime::Rootfs::Overlay { lower, .. } = &mut container.request.rootfs {
        for number in (0..40).rev() {
            let path = long.join(number.to_string());
            std::fs::create_dir_all(path.join("layer")).unwrap();
            std::fs::write(
                path.join("layer").join(number.to_string()),
                format!("layer {number}\n"),
            )
            .unwrap();
            std::fs::write(path.join("which"), format!("{number}\n")).unwrap();
            lower.insert(lower.len() - 1, path);
        }
    }
    let (_, stdout, stderr) = run(runtime, container);
    assert_eq!(stdout, "layer 0\nlayer 39\n39\n", "{stderr}");
}

fn without_a_cgroup_namespace(host: &Host, runtime: &Runtime) {
    let script =
        "own | sort -u; cat $group/cgroup.procs | grep -c .; touch $group/x || echo refused";
    let script = format!("{GROUP}{script}");
    let mut container = host.container(&["sh", "-c", &script]);
    let id = container.request.id.clone();
    container
        .linux()
        .namespaces_mut()
        .as_mut()
        .unwrap()
        .retain(|namespace| namespace.typ() != LinuxNamespaceType::Cgroup);
    let (_, stdout, stderr) = run(runtime, container);
    let mut lines = stdout.lines();
    assert_eq!(lines.next(), Some(&*format!("/dhow-test/{id}")), "{stderr}");
    assert_ne!(lines.next(), Some("0"), "its own processes are there");
    assert_eq!(lines.next(), Some("refused"));
}

fn privileged(host: &Host, runtime: &Runtime) {
    use std::str::FromStr;
    let all: std::collections::HashSet<Capability> = [
        "SYS_ADMIN",
        "SYS_RESOURCE",
        "MKNOD",
        "NET_ADMIN",
        "DAC_OVERRIDE",
        "SETUID",
        "SETGID",
    ]
    .map(|name| Capability::from_str(name).unwrap())
    .into();
    let script = "mount -t tmpfs tmpfs /tmp && touch $group/x 2>/dev/null; mkdir $group/sub && echo made; echo x >/proc/sys/kernel/domainname && cat /proc/sys/kernel/domainname";
    let script = format!("{GROUP}{script}");
    let mut container = host.container(&["sh", "-c", &script]);
    let none = std::collections::HashSet::new;
    let set = LinuxCapabilitiesBuilder::default()
        .bounding(all.clone())
        .effective(all.clone())
        .permitted(all)
        .inheritable(none())
        .ambient(none())
        .build()
        .unwrap();
    container.process().set_capabilities(Some(set));
    container
        .linux()
        .set_masked_paths(None)
        .set_readonly_paths(None);
    container
        .linux()
        .resources_mut()
        .as_mut()
        .unwrap()
        .set_devices(Some(vec![device_rule(
            true,
            LinuxDeviceType::A,
            -1,
            -1,
            "rwm",
        )]));
    for mount in container.request.spec.mounts_mut().as_mut().unwrap() {
        if matches!(mount.typ().as_deref(), Some("cgroup" | "sysfs")) {
            let options = mount
                .options()
                .iter()
                .flatten()
                .filter(|option| *option != "ro")
                .cloned()
                .collect();
            mount.set_options(Some(options));
        }
    }
    let (_, stdout, stderr) = run(runtime, container);
    assert_eq!(stdout, "made\nx\n", "{stderr}");
}
