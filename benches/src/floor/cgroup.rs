//! A cgroup in every hierarchy of version 1, with Docker's device rules, or one of version 2.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Docker's default device rules in version 1's notation, after "deny all".
const DEVICES: [&str; 14] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
    "c 1:11 r",
    "c 5:3 r",
];

pub struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    pub fn make(id: &str) -> Result<Cgroups> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let mut made = Vec::new();
        if root.join("cgroup.controllers").exists() {
            let path = root.join(id);
            fs::create_dir(&path)?;
            made.push(path);
            return Ok(Cgroups(made));
        }
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let path = entry.path().join(id);
            fs::create_dir(&path).with_context(|| path.display().to_string())?;
            if entry.file_name() == "devices" {
                fs::write(path.join("devices.deny"), "a")?;
                for rule in DEVICES {
                    fs::write(path.join("devices.allow"), rule)?;
                }
            }
            if entry.file_name() == "cpuset" {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(path.join(file), fs::read(entry.path().join(file))?)?;
                }
            }
            made.push(path);
        }
        Ok(Cgroups(made))
    }

    pub fn join(&self, pid: i32) -> Result<()> {
        for path in &self.0 {
            fs::write(path.join("cgroup.procs"), pid.to_string())
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    pub fn remove(&self) -> Result<()> {
        for path in &self.0 {
            fs::remove_dir(path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}
