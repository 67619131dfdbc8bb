//! The container's process: namespaces, mounts, capabilities, the filter, and the exec.
//!
//! The child works in steps, each begun by a byte from the parent and answered by one, so that the parent can tell
//! how long each takes.

use std::ffi::{CStr, CString};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::seccomp;

pub struct Container {
    pid: i32,
    go: PipeWriter,
    done: PipeReader,
}

/// All that the child needs, made before it is forked.
struct Plan {
    overlay: CString,
    merged: CString,
    home: [CString; 3],
    filter: Vec<libc::sock_filter>,
}

const MASKED: [&CStr; 9] = [
    c"proc/asound",
    c"proc/acpi",
    c"proc/kcore",
    c"proc/keys",
    c"proc/latency_stats",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"proc/sched_debug",
    c"sys/firmware",
];
const READ_ONLY: [&CStr; 5] = [
    c"proc/bus",
    c"proc/fs",
    c"proc/irq",
    c"proc/sys",
    c"proc/sysrq-trigger",
];
const NODES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/tty", 5, 0),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
];

impl Container {
    pub fn clone(home: &Path, image: &Path) -> Result<Container> {
        let plan = Plan {
            overlay: CString::new(format!(
                "lowerdir={},upperdir={}/upper,workdir={}/work",
                image.display(),
                home.display(),
                home.display()
            ))?,
            merged: c_path(&home.join("merged"))?,
            home: [
                c_path(&home.join("hosts"))?,
                c_path(&home.join("hostname"))?,
                c_path(&home.join("resolv.conf"))?,
            ],
            filter: seccomp::filter(),
        };
        let (mut child_go, go) = std::io::pipe()?;
        let (done, mut child_done) = std::io::pipe()?;
        let flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWCGROUP
            | libc::SIGCHLD;
        // SAFETY: without a new stack it is a fork; the program has a single thread, and the child ends in exec or
        // _exit.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as i32;
        if pid < 0 {
            bail!("clone: {}", std::io::Error::last_os_error());
        }
        if pid == 0 {
            let result = child(&plan, &mut child_go, &mut child_done);
            if let Err(error) = result {
                eprintln!("{error:#}");
            }
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(1) };
        }
        Ok(Container { pid, go, done })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn mount(&mut self) -> Result<()> {
        self.go.write_all(b"m")?;
        let mut answer = [0];
        self.done
            .read_exact(&mut answer)
            .context("the child gave up")?;
        Ok(())
    }

    pub fn run(&mut self) -> Result<()> {
        self.go.write_all(b"x")?;
        let mut status = 0;
        // SAFETY: the status is written to a place of ours.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        ensure!(
            waited == self.pid && status == 0,
            "the container ended with {status}"
        );
        Ok(())
    }
}

fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn child(plan: &Plan, go: &mut impl Read, done: &mut impl Write) -> Result<()> {
    let mut byte = [0];
    go.read_exact(&mut byte)?;
    mounts(plan)?;
    done.write_all(b"m")?;
    go.read_exact(&mut byte)?;
    exec(plan)
}

/// mount(2), with the target relative to the working directory.
fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    data: &CStr,
) -> Result<()> {
    // SAFETY: all are C strings.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).with_context(|| format!("mount {target:?}")),
    }
}

fn mounts(plan: &Plan) -> Result<()> {
    use libc::{
        MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT,
        MS_STRICTATIME,
    };
    mount(c"", c"/", c"", MS_REC | MS_PRIVATE, c"")?;
    mount(c"overlay", &plan.merged, c"overlay", 0, &plan.overlay)?;
    std::env::set_current_dir(plan.merged.to_str()?)?;
    let quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mount(c"proc", c"proc", c"proc", quiet, c"")?;
    mount(
        c"tmpfs",
        c"dev",
        c"tmpfs",
        MS_NOSUID | MS_STRICTATIME,
        c"mode=755,size=65536k",
    )?;
    for directory in ["dev/pts", "dev/shm", "dev/mqueue"] {
        std::fs::create_dir(directory)?;
    }
    mount(
        c"devpts",
        c"dev/pts",
        c"devpts",
        MS_NOSUID | MS_NOEXEC,
        c"newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    mount(
        c"shm",
        c"dev/shm",
        c"tmpfs",
        quiet,
        c"mode=1777,size=65536k",
    )?;
    mount(c"mqueue", c"dev/mqueue", c"mqueue", quiet, c"")?;
    mount(c"sysfs", c"sys", c"sysfs", quiet | MS_RDONLY, c"")?;
    for (node, major, minor) in NODES {
        // SAFETY: the name is a C string.
        let made = unsafe {
            libc::mknod(
                node.as_ptr(),
                libc::S_IFCHR | 0o666,
                libc::makedev(major, minor),
            )
        };
        ensure!(
            made == 0,
            "mknod {node:?}: {}",
            std::io::Error::last_os_error()
        );
    }
    for (link, target) in [
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
        ("dev/ptmx", "pts/ptmx"),
    ] {
        std::os::unix::fs::symlink(target, link)?;
    }
    for (file, target) in plan
        .home
        .iter()
        .zip([c"etc/hosts", c"etc/hostname", c"etc/resolv.conf"])
    {
        mount(file, target, c"", MS_BIND, c"")?;
    }
    for path in MASKED {
        let Ok(metadata) = std::fs::metadata(path.to_str()?) else {
            continue;
        };
        if metadata.is_dir() {
            mount(c"tmpfs", path, c"tmpfs", MS_RDONLY, c"")?;
        } else {
            mount(c"/dev/null", path, c"", MS_BIND, c"")?;
        }
    }
    for path in READ_ONLY {
        if std::fs::metadata(path.to_str()?).is_ok() {
            mount(path, path, c"", MS_BIND | MS_REC, c"")?;
            mount(
                c"",
                path,
                c"",
                MS_BIND | MS_REMOUNT | MS_RDONLY | quiet,
                c"",
            )?;
        }
    }
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    Ok(())
}

fn exec(plan: &Plan) -> Result<()> {
    /// Docker's fourteen capabilities.
    const KEPT: u64 = 0xa804_25fb;
    for capability in 0..=40 {
        if KEPT & (1 << capability) == 0 {
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
    }
    let sets = [KEPT as u32, KEPT as u32, 0, 0, 0, 0];
    // _LINUX_CAPABILITY_VERSION_3, for this process.
    let header = [0x2008_0522_u32, 0];
    // SAFETY: both point to structures of the layout that version 3 has.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    ensure!(set == 0, "capset: {}", std::io::Error::last_os_error());
    seccomp::load(&plan.filter)?;
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let environment = [c"PATH=/bin".as_ptr(), std::ptr::null()];
    // SAFETY: both lists are of C strings and end with a null pointer.
    unsafe { libc::execve(c"/bin/true".as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    bail!("exec: {}", std::io::Error::last_os_error())
}
