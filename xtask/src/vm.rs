//! `cargo xtask vm`: the end-to-end suite in a virtual machine that has cgroup v2 only and AppArmor, as most users'
//! hosts do; with `-p PACKAGE`, that package's own tests.
//!
//! qemu boots Debian's own kernel under software emulation. The guest's root is this machine's file system, shared
//! read-only over 9p, under an overlay in the guest's memory: the same binary, tests and tools run there, and
//! nothing that they write comes back. It has no network beyond itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cache_dir, cargo, output, root};
use crate::packages;
use crate::test::{self, Equipment};

/// What the guest's first program loads. (crc32c isn't in any list of dependencies: libcrc32c asks for it by name.)
/// Further ones are loaded by the kernel where this machine has kmod, so all
/// that the engines use is here.
const MODULES: &str = "crc32c_generic virtio_pci 9pnet_virtio 9p overlay veth bridge br_netfilter macvlan ipvlan 8021q vxlan dummy tun \
    nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_redir nft_fib_inet nft_compat nft_limit nft_log nft_reject_inet \
    nf_conntrack nf_nat ip_tables iptable_nat iptable_filter xt_conntrack xt_addrtype xt_MASQUERADE xt_nat xt_tcpudp \
    xt_comment xt_mark sch_netem loop ext4 fuse";

/// The line that the guest ends with, and the tests' exit code.
const ENDED: &str = "guest-ended-with";

pub fn run(args: &[String]) -> Result<()> {
    packages::for_vm()?;
    let commands = match args {
        [flag, package, rest @ ..] if flag == "-p" => {
            let programs = build_tests(&["-p", package])?;
            commands(programs.iter().map(|(_, program)| program), None, rest)
        }
        _ => {
            let equipment = test::set_up()?;
            test::build_release()?;
            let programs = build_tests(&["-p", "dhow-tests"])?;
            let end_to_end = programs.iter().filter(|(name, _)| name == "e2e");
            commands(
                end_to_end.map(|(_, program)| program),
                Some(&equipment),
                args,
            )
        }
    };
    if commands.is_empty() {
        bail!("cargo built no program of these tests");
    }
    let kernel = kernel()?;
    let dir = cache_dir()?.join("vm");
    let initramfs = initramfs(&kernel, &dir, &commands)?;
    boot(&kernel.image, &initramfs)
}

/// Shell commands that run the tests' programs.
fn commands<'a>(
    programs: impl Iterator<Item = &'a PathBuf>,
    equipment: Option<&Equipment>,
    args: &[String],
) -> Vec<String> {
    let mut variables =
        "DHOW_TEST_DIR=/run DHOW_TEST_PATIENCE=8 DHOW_TEST_RUNS=30 DHOW_TEST_ROUNDS=10".to_owned();
    if let Some(equipment) = equipment {
        for (name, value) in equipment.variables() {
            variables += &format!(" {name}={}", value.display());
        }
    } else {
        // An overlay can't have its upper directory on the guest's root, which is one itself.
        variables += " TMPDIR=/run";
    }
    let args: String = args
        .iter()
        .map(|arg| format!(" '{}'", arg.replace('\'', r"'\''")))
        .collect();
    programs
        .map(|program| format!("{variables} {} --test-threads=2{args}", program.display()))
        .collect()
}

struct Kernel {
    image: PathBuf,
    release: String,
    modules: PathBuf,
}

/// Debian's newest kernel, taken out of its package.
fn kernel() -> Result<Kernel> {
    let unpacked = cache_dir()?.join("vm/kernel");
    if !unpacked.join("boot").exists() {
        eprintln!("fetching Debian's kernel");
        let depends = || output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]));
        let package = |depends: String| {
            let (_, package) = depends.split_once("Depends: linux-image-")?;
            Some(format!("linux-image-{}", package.lines().next()?.trim()))
        };
        let mut found = package(depends()?);
        if found.is_none() {
            output(packages::apt_get().arg("update"))?;
            found = package(depends()?);
        }
        packages::unpack(
            &found.context("linux-image-amd64 depends on no kernel")?,
            &unpacked,
        )?;
    }
    for entry in fs::read_dir(unpacked.join("boot"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            // Debian moved /lib into /usr with version 13.
            let modules = ["lib/modules", "usr/lib/modules"]
                .map(|dir| unpacked.join(dir).join(release))
                .into_iter()
                .find(|dir| dir.exists())
                .context("the kernel's package has no modules")?;
            return Ok(Kernel {
                image: path.clone(),
                release: release.to_owned(),
                modules,
            });
        }
    }
    bail!("the kernel's package has no kernel")
}

/// The tests' programs, by name.
fn build_tests(of: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let messages = output(
        cargo()
            .args(["test", "--release", "--no-run", "--message-format", "json"])
            .args(of),
    )?;
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(r#""{name}":""#))?;
        Some(rest.split('"').next()?.to_owned())
    };
    // Programs that are no tests are built as well, for the tests to run.
    let is_test = |line: &&str| {
        let profile = line
            .split_once(r#""profile":{"#)
            .map_or("", |(_, rest)| rest);
        profile
            .split('}')
            .next()
            .is_some_and(|profile| profile.contains(r#""test":true"#))
    };
    Ok(messages
        .lines()
        .filter(is_test)
        .filter_map(|line| {
            let target = line.split_once(r#""target":"#)?.1;
            Some((field(target, "name")?, field(line, "executable")?.into()))
        })
        .collect())
}

/// Busybox, the modules, and a script that goes on to this machine's root and runs the tests there.
fn initramfs(kernel: &Kernel, dir: &Path, commands: &[String]) -> Result<PathBuf> {
    let tree = dir.join("initramfs");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for directory in [
        "bin",
        "proc",
        "sys",
        "dev",
        "lower",
        "upper",
        "root",
        "lib/modules",
    ] {
        fs::create_dir_all(tree.join(directory))?;
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    let modules = tree.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&modules)?;
    for part in [
        "kernel/fs",
        "kernel/net",
        "kernel/drivers/net",
        "kernel/drivers/virtio",
        "kernel/drivers/block",
        "kernel/lib",
        "kernel/crypto",
        "kernel/arch/x86/crypto",
    ] {
        let from = kernel.modules.join(part);
        if from.exists() {
            let to = modules.join(part);
            fs::create_dir_all(to.parent().context("it has a parent")?)?;
            output(Command::new("cp").arg("-r").arg(from).arg(to))?;
        }
    }
    for list in ["modules.builtin", "modules.order"] {
        let _ = fs::copy(kernel.modules.join(list), modules.join(list));
    }
    output(
        Command::new("/bin/busybox")
            .args(["depmod", "-b"])
            .arg(&tree)
            .arg(&kernel.release),
    )?;

    let root = root();
    let root = root.display();
    // All of them run, also after one has failed.
    let commands: String = commands
        .iter()
        .map(|command| format!("{command} || code=$?\n"))
        .collect();
    let path = std::env::var("PATH").unwrap_or_default();
    let home = std::env::var("HOME").unwrap_or_default();
    let init = format!(
        r#"#!/bin/busybox sh
/bin/busybox --install /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {MODULES}; do modprobe $module 2>/dev/null; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /lower || poweroff -f
mount -t tmpfs -o size=80% tmpfs /upper
mkdir /upper/upper /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work overlay /root || poweroff -f
mkdir -p /root/run && mount -t tmpfs tmpfs /root/run
cat >/root/tests.sh <<'TESTS'
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
export HOME={home} PATH={path} TERM=dumb LC_ALL=C.UTF-8 RUST_BACKTRACE=0
ip link set lo up
uname -r
code=0
cd {root}
{commands}echo {ENDED} $code
exec /bin/busybox poweroff -f
TESTS
umount /sys /proc /dev
exec switch_root /root /bin/sh /tests.sh
"#
    );
    let init_path = tree.join("init");
    fs::write(&init_path, init)?;
    output(Command::new("chmod").arg("755").arg(&init_path))?;
    let archive = dir.join("initramfs.cpio");
    output(Command::new("sh").arg("-c").arg(format!(
        "cd {} && find . | /bin/busybox cpio -o -H newc > {}",
        tree.display(),
        archive.display()
    )))?;
    Ok(archive)
}

/// Boots it, shows what it prints, and fails where the tests did.
fn boot(kernel: &Path, initramfs: &Path) -> Result<()> {
    eprintln!("booting");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "6G",
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args([
            "-append",
            "console=ttyS0 loglevel=1 panic=-1 cgroup_no_v1=all rdinit=/init",
        ])
        .args([
            "-virtfs",
            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("can't run qemu-system-x86_64")?;
    let mut code = None;
    for line in BufReader::new(qemu.stdout.take().context("its output is a pipe")?).lines() {
        let line = line?;
        let line = line.trim_end();
        match line.split_once(ENDED) {
            Some((_, rest)) => code = rest.trim().parse::<i32>().ok(),
            None => println!("{line}"),
        }
    }
    qemu.wait()?;
    match code {
        Some(0) => Ok(()),
        Some(code) => bail!("the tests in the virtual machine ended with {code}"),
        None => bail!("the virtual machine ended before the tests did"),
    }
}
