//! With real groups of this machine, each test in one of its own.

use std::process::{Command, Stdio};

use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder,
    LinuxPidsBuilder, LinuxResourcesBuilder,
};

use super::*;

struct Group(Cgroup, &'static str);

impl Group {
    fn new(name: &'static str, resources: Option<&LinuxResources>) -> Group {
        // A parent of its own: the tests run side by side, and each removes its parent.
        let path = format!("/dhow-unit-{}-{name}/group", std::process::id());
        let mut warnings = Vec::new();
        Group(
            Cgroup::create(&path, resources, &mut warnings).unwrap(),
            name,
        )
    }

    fn read(&self, controller: &str, file: &str) -> String {
        let directory = self.0.directory_of(controller).unwrap();
        fs::read_to_string(directory.join(file))
            .unwrap()
            .trim()
            .to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let removed = self.0.remove();
        for directory in self.0.directories() {
            let _ = fs::remove_dir(directory.parent().unwrap());
        }
        if !std::thread::panicking() {
            removed.unwrap_or_else(|e| panic!("{}: {e}", self.1));
        }
    }
}

fn sleeper() -> std::process::Child {
    Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_join_are_listed_frozen_and_ended() {
    let group = Group::new("join", None);
    let mut child = sleeper();
    group.0.join(child.id()).unwrap();
    assert_eq!(group.0.pids().unwrap(), [child.id()]);
    assert!(group.0.remove_now_fails());
    group.0.freeze().unwrap();
    assert!(group.0.is_frozen().unwrap());
    group.0.thaw().unwrap();
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.0.kill().unwrap();
    assert!(!reaper.join().unwrap().success());
    assert!(group.0.pids().unwrap().is_empty());
}

/// A filesystem whose server never answers: who looks into it waits, and can be killed but not frozen.
struct DeadFilesystem {
    dir: tempfile::TempDir,
    server: fs::File,
}

impl DeadFilesystem {
    fn mount() -> Option<DeadFilesystem> {
        use std::os::fd::AsRawFd;
        let mut server = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .ok()?;
        let dir = tempfile::tempdir().unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            server.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("dead", dir.path(), "fuse", flags, Some(options.as_c_str())).unwrap();
        // The kernel's greeting, and the one answer that it gets (include/uapi/linux/fuse.h: fuse_in_header,
        // fuse_out_header and fuse_init_out, here of version 7.22, which is 24 bytes long).
        let mut greeting = [0; 8192];
        io::Read::read(&mut server, &mut greeting).unwrap();
        let mut answer = Vec::new();
        answer.extend((16u32 + 24).to_ne_bytes());
        answer.extend(0i32.to_ne_bytes());
        answer.extend(&greeting[8..16]);
        for field in [7u32, 22, 4096, 0, 0, 4096] {
            answer.extend(field.to_ne_bytes());
        }
        io::Write::write_all(&mut server, &answer).unwrap();
        Some(DeadFilesystem { dir, server })
    }

    /// Waits until somebody has asked it for something; who has can still be killed while that is not read.
    fn wait_for_request(&mut self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut asked = [PollFd::new(&self.server, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(
            poll(&mut asked, Some(&patience)).unwrap(),
            1,
            "nobody looks into it"
        );
    }
}

impl Drop for DeadFilesystem {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.dir.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn what_can_not_be_frozen_is_thawed() {
    let Some(mut dead) = DeadFilesystem::mount() else {
        println!("skipped: this machine has no /dev/fuse");
        return;
    };
    let group = Group::new("thaw", None);
    let mut stuck = Command::new("sh")
        .args(["-c", "read go; exec ls \"$0/missing\""])
        .arg(dead.dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut other = sleeper();
    group.0.join(stuck.id()).unwrap();
    group.0.join(other.id()).unwrap();
    drop(stuck.stdin.take());
    dead.wait_for_request();
    let error = group.0.freeze().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    match group.0.layout.version() {
        Version::V1 => assert_eq!(group.read("freezer", "freezer.state"), "THAWED"),
        Version::V2 => assert_eq!(group.read("", "cgroup.freeze"), "0"),
    }
    // Nor does it keep the group from being ended.
    let reaper = std::thread::spawn(move || (stuck.wait().unwrap(), other.wait().unwrap()));
    group.0.kill().unwrap();
    reaper.join().unwrap();
}

#[test]
fn a_fork_bomb_ends() {
    let resources = LinuxResourcesBuilder::default()
        .pids(LinuxPidsBuilder::default().limit(300).build().unwrap())
        .build()
        .unwrap();
    let group = Group::new("bomb", Some(&resources));
    let mut bomb = Command::new("sh")
        .args([
            "-c",
            "read go; bomb() { bomb | bomb & }; while :; do bomb; done",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    group.0.join(bomb.id()).unwrap();
    drop(bomb.stdin.take());
    let deadline = Instant::now() + PATIENCE;
    while group.0.pids().unwrap().len() < 100 {
        assert!(Instant::now() < deadline, "it does not grow");
        std::thread::sleep(Duration::from_millis(1));
    }
    let reaper = std::thread::spawn(move || bomb.wait().unwrap());
    group.0.kill().unwrap();
    assert!(!reaper.join().unwrap().success());
    assert!(group.0.pids().unwrap().is_empty());
}

impl Cgroup {
    /// A group with a process in it stays.
    fn remove_now_fails(&self) -> bool {
        self.directories().all(|d| fs::remove_dir(d).is_err())
    }
}

#[test]
fn limits_reach_the_kernel_and_can_be_changed() {
    const MIB: i64 = 1 << 20;
    let memory = |limit: i64| {
        LinuxMemoryBuilder::default()
            .limit(limit)
            .swap(limit)
            .build()
            .unwrap()
    };
    let resources = LinuxResourcesBuilder::default()
        .memory(memory(64 * MIB))
        .cpu(
            LinuxCpuBuilder::default()
                .quota(50_000)
                .period(100_000u64)
                .shares(512u64)
                .build()
                .unwrap(),
        )
        .pids(LinuxPidsBuilder::default().limit(77).build().unwrap())
        .build()
        .unwrap();
    let group = Group::new("limits", Some(&resources));
    let (memory_file, memory_controller) = match group.0.layout.version() {
        Version::V1 => ("memory.limit_in_bytes", "memory"),
        Version::V2 => ("memory.max", ""),
    };
    assert_eq!(
        group.read(memory_controller, memory_file),
        (64 * MIB).to_string()
    );
    assert_eq!(group.read("pids", "pids.max"), "77");
    match group.0.layout.version() {
        Version::V1 => assert_eq!(group.read("cpu", "cpu.cfs_quota_us"), "50000"),
        Version::V2 => assert_eq!(group.read("", "cpu.max"), "50000 100000"),
    }
    for limit in [128 * MIB, 32 * MIB] {
        let changed = LinuxResourcesBuilder::default()
            .memory(memory(limit))
            .build()
            .unwrap();
        group.0.update(&changed).unwrap();
        assert_eq!(
            group.read(memory_controller, memory_file),
            limit.to_string()
        );
    }
}

#[test]
fn device_rules_are_enforced() {
    let rule = |allow, typ, major, minor, access: &str| {
        LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(typ)
            .major(major)
            .minor(minor)
            .access(access)
            .build()
            .unwrap()
    };
    let resources = LinuxResourcesBuilder::default()
        .devices(vec![
            rule(false, LinuxDeviceType::A, -1, -1, "rwm"),
            rule(true, LinuxDeviceType::C, 1, 3, "rwm"),
        ])
        .build()
        .unwrap();
    let group = Group::new("devices", Some(&resources));
    let mut child = Command::new("sh")
        .args(["-c", "read go; (: </dev/null) && ! (: </dev/zero)"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    group.0.join(child.id()).unwrap();
    drop(child.stdin.take());
    assert!(
        child.wait().unwrap().success(),
        "null opens and zero does not"
    );
}

#[test]
fn a_refused_limit_is_an_error_and_leaves_no_group() {
    let resources = LinuxResourcesBuilder::default()
        .cpu(
            LinuxCpuBuilder::default()
                .cpus("4000-4001")
                .build()
                .unwrap(),
        )
        .build()
        .unwrap();
    let path = format!("/dhow-unit-refused-{}", std::process::id());
    let refused = Cgroup::create(&path, Some(&resources), &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("cpuset.cpus"), "{refused}");
    let group = Cgroup::open(&path).unwrap();
    assert!(group.directories().all(|d| !d.exists()));
    group.remove().unwrap();
}

#[test]
fn a_path_that_leaves_the_root_is_refused() {
    for path in ["", "/", "/../x", "/dhow/../../x"] {
        assert!(Cgroup::open(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_parent_that_others_remove_is_made_again() {
    let parent = format!("/dhow-unit-{}-contended", std::process::id());
    let parents = Cgroup::open(&parent).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for directory in parents.directories() {
                    // It works whenever there is nothing below.
                    let _ = fs::remove_dir(directory);
                }
            }
        });
        let made: io::Result<()> = (0..200).try_for_each(|_| {
            let group = Cgroup::create(&format!("{parent}/group"), None, &mut Vec::new())?;
            group.remove()
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        made.unwrap();
    });
    parents.remove().unwrap();
}
