//! `dhow-floor N`: what a start with Docker's defaults costs at the least. A bare program does all that the kernel
//! has to do for it, one container after another, with nothing of an engine around it, and prints a line
//! `PHASE MICROSECONDS` for each phase.
//!
//! It makes its own network namespace and its own directory, and leaves neither behind.

mod cgroup;
mod container;
mod netlink;
mod seccomp;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

/// Which phases there are, in their order.
#[derive(Default)]
struct Phases(Vec<(&'static str, u128)>);

impl Phases {
    fn time<T>(&mut self, phase: &'static str, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let value = f().with_context(|| phase.to_owned())?;
        self.0.push((phase, start.elapsed().as_micros()));
        Ok(value)
    }
}

fn main() -> Result<()> {
    let rounds: u32 = std::env::args()
        .nth(1)
        .context("usage: dhow-floor ROUNDS")?
        .parse()?;
    let dir = std::env::temp_dir().join(format!("dhow-floor-{}", std::process::id()));
    // SAFETY: only the network namespace changes, and the program has a single thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
    let mut netlink = netlink::Netlink::open()?;
    netlink.bridge("floor0")?;
    image(&dir.join("image"))?;
    let result = (0..rounds).try_for_each(|round| one(round, &dir, &mut netlink));
    fs::remove_dir_all(&dir)?;
    result
}

/// A root filesystem with busybox, read-only below each container's own layer.
fn image(root: &Path) -> Result<()> {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", root.join("bin/true"))?;
    for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        fs::write(root.join(file), "")?;
    }
    Ok(())
}

fn one(round: u32, dir: &Path, netlink: &mut netlink::Netlink) -> Result<()> {
    let begin = Instant::now();
    let mut phases = Phases::default();
    let home = dir.join(format!("c{round}"));
    let id = format!("dhow-floor-{}-{round}", std::process::id());
    phases.time("directories and files", || {
        for directory in ["upper", "work", "merged"] {
            fs::create_dir_all(home.join(directory))?;
        }
        fs::write(
            home.join("hosts"),
            "127.0.0.1\tlocalhost\n172.17.0.2\tfloor\n",
        )?;
        fs::write(home.join("hostname"), "floor\n")?;
        fs::write(home.join("resolv.conf"), "nameserver 10.0.0.1\n")?;
        Ok(())
    })?;
    let cgroups = phases.time("cgroups", || cgroup::Cgroups::make(&id))?;
    let container = phases.time("clone", || {
        container::Container::clone(&home, &dir.join("image"))
    })?;
    phases.time("cgroups, joining", || cgroups.join(container.pid()))?;
    phases.time("veth, address, route", || {
        netlink.connect(round, container.pid())
    })?;
    let mut container = container;
    phases.time("mounts, masks, root", || container.mount())?;
    phases.time("capabilities, filter, exec, exit", || container.run())?;
    let seen = begin.elapsed().as_micros();
    phases.time("cgroups, removal", || cgroups.remove())?;
    phases.time("directories, removal", || Ok(fs::remove_dir_all(&home)?))?;
    for (phase, us) in &phases.0 {
        println!("{phase} {us}");
    }
    println!("until the exit is seen {seen}");
    println!("all {}", begin.elapsed().as_micros());
    Ok(())
}
