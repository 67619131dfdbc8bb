//! /dev: the nodes that every container has (the runtime specification's "Default Devices"), those that were
//! asked for, and the links that programs expect.

use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;

use super::mounts::Plan;
use super::resolve;
use super::{failed, unfit};
use crate::protocol::StartError;

const DEFAULTS: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

pub(crate) fn create(plan: &Plan<'_>, asked: &[LinuxDevice]) -> Result<(), StartError> {
    if !plan.owns_dev()? {
        return Ok(());
    }
    let dev = plan.directory(Path::new("/dev"))?;
    for (name, major, minor) in DEFAULTS {
        match rustix::fs::mknodat(
            &dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            makedev(major, minor),
        ) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(format!("creating /dev/{name}"))(error)),
        }
    }
    for device in asked {
        node(plan, device)?;
    }
    for (target, name) in LINKS {
        link(&dev, target, name)?;
    }
    if Path::new("/proc/kcore").exists() {
        link(&dev, "/proc/kcore", "core")?;
    }
    Ok(())
}

fn link(dev: &std::os::fd::OwnedFd, target: &str, name: &str) -> Result<(), StartError> {
    match rustix::fs::symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed(format!("creating /dev/{name}"))(error)),
    }
}

fn node(plan: &Plan<'_>, device: &LinuxDevice) -> Result<(), StartError> {
    let path = device.path();
    let what = || format!("creating the device {}", path.display());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(StartError::Invalid(format!(
            "{} is not the path of a device",
            path.display()
        )));
    };
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let parent = resolve::create(plan.root(), parent, true).map_err(unfit(what()))?;
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o777);
    let number = if kind == FileType::Fifo {
        0
    } else {
        makedev(device.major() as u32, device.minor() as u32)
    };
    match rustix::fs::mknodat(&parent, name, kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(unfit(what()))?;
            if FileType::from_raw_mode(found.st_mode) != kind || found.st_rdev != number {
                return Err(StartError::Invalid(format!(
                    "{}: something else is there",
                    what()
                )));
            }
            let fd = rustix::fs::openat(
                &parent,
                name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(unfit(what()))?;
            rustix::fs::chmod(resolve::fd_path(&fd), mode).map_err(unfit(what()))?;
        }
        Err(error) => return Err(unfit(what())(error)),
    }
    if device.uid().is_some() || device.gid().is_some() {
        let (uid, gid) = (
            device.uid().map(Uid::from_raw),
            device.gid().map(Gid::from_raw),
        );
        rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(unfit(what()))?;
    }
    Ok(())
}
