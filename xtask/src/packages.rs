//! Debian packages, installed only where the program or file that is wanted from them is missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cache_dir, on_path, output};

/// What is looked for, and the package that has it.
struct Need {
    present: fn() -> bool,
    package: &'static str,
}

macro_rules! program {
    ($program:literal, $package:literal) => {
        Need {
            present: || on_path($program),
            package: $package,
        }
    };
}

/// Needed by the end-to-end tests.
const TESTS: &[Need] = &[
    Need {
        present: || Path::new("/usr/share/doc/busybox-static").exists(),
        package: "busybox-static",
    },
    program!("skopeo", "skopeo"),
    program!("ip", "iproute2"),
    program!("nft", "nftables"),
    program!("iptables", "iptables"),
    program!("tmux", "tmux"),
    program!("curl", "curl"),
    program!("openssl", "openssl"),
    program!("jq", "jq"),
    program!("git", "git"),
    program!("xz", "xz-utils"),
    program!("bzip2", "bzip2"),
    program!("python3", "python3"),
    Need {
        present: || Path::new("/etc/ssl/certs/ca-certificates.crt").exists(),
        package: "ca-certificates",
    },
    Need {
        present: || {
            Command::new("python3")
                .args(["-c", "import ensurepip, venv"])
                .output()
                .is_ok_and(|o| o.status.success())
        },
        package: "python3-venv",
    },
    // runc, one of the peers, is built with seccomp.
    Need {
        present: || Path::new("/usr/include/seccomp.h").exists(),
        package: "libseccomp-dev",
    },
    program!("pkg-config", "pkg-config"),
];

const CROSS: &[Need] = &[
    program!("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    Need {
        present: || Path::new("/usr/aarch64-linux-gnu/lib/libc.a").exists(),
        package: "libc6-dev-arm64-cross",
    },
    program!("qemu-aarch64-static", "qemu-user-static"),
];

/// libFuzzer is C++.
const FUZZ: &[Need] = &[program!("c++", "g++")];

const VM: &[Need] = &[
    program!("qemu-system-x86_64", "qemu-system-x86"),
    program!("xz", "xz-utils"),
];

pub fn for_tests() -> Result<()> {
    install(TESTS)?;
    docker_cli()
}

pub fn for_cross() -> Result<()> {
    install(CROSS)
}

pub fn for_fuzz() -> Result<()> {
    install(FUZZ)
}

pub fn for_vm() -> Result<()> {
    install(VM)
}

fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<_> = needs
        .iter()
        .filter(|need| !(need.present)())
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    let install = || {
        output(
            apt_get()
                .args(["install", "-y", "--no-install-recommends"])
                .args(&missing),
        )
    };
    // The package lists may be absent or stale: they are fetched only where it fails without.
    if install().is_err() {
        output(apt_get().arg("update"))?;
        install()?;
    }
    for need in needs {
        if !(need.present)() {
            bail!(
                "{} is installed, but what is wanted from it is not there",
                need.package
            );
        }
    }
    Ok(())
}

pub fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    command
}

/// Unpacks a Debian package into a directory without installing it.
pub fn unpack(package: &str, into: &Path) -> Result<()> {
    let downloads = cache_dir()?.join("packages").join(package);
    std::fs::create_dir_all(&downloads)?;
    let download = || {
        output(
            apt_get()
                .current_dir(&downloads)
                .args(["download", package]),
        )
    };
    let archive = || -> Result<Option<std::path::PathBuf>> {
        for entry in std::fs::read_dir(&downloads)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "deb") {
                return Ok(Some(path));
            }
        }
        Ok(None)
    };
    if archive()?.is_none() && download().is_err() {
        output(apt_get().arg("update"))?;
        download()?;
    }
    let archive = archive()?.with_context(|| format!("apt-get download left no {package}*.deb"))?;
    std::fs::create_dir_all(into)?;
    output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(into))?;
    Ok(())
}

/// The stock `docker` client. Debian's package would also install and start a daemon: only the client is
/// taken out of it.
fn docker_cli() -> Result<()> {
    if on_path("docker") {
        return Ok(());
    }
    let bin = cache_dir()?.join("docker-cli");
    if !bin.join("docker").exists() {
        eprintln!("fetching the docker client");
        let unpacked = bin.join("unpacked");
        // Debian 13 has the client in a package of its own.
        unpack("docker-cli", &unpacked).or_else(|_| unpack("docker.io", &unpacked))?;
        std::fs::rename(unpacked.join("usr/bin/docker"), bin.join("docker"))?;
        std::fs::remove_dir_all(&unpacked)?;
    }
    prepend_to_path(&bin)
}

/// Puts a directory first on the PATH of everything that is run from now on.
pub fn prepend_to_path(dir: &Path) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let joined = std::env::join_paths(
        std::iter::once(dir.to_path_buf()).chain(std::env::split_paths(&path)),
    )?;
    // SAFETY: xtask has a single thread, so nothing reads the environment at the same time.
    unsafe { std::env::set_var("PATH", joined) };
    Ok(())
}
