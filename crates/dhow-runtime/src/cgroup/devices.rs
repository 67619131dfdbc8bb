//! Device rules on version 1: the kernel keeps the list, and each rule is a line in it (the kernel's
//! Documentation/admin-guide/cgroup-v1/devices.rst).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

pub(super) fn write_rules(directory: &Path, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    let open = |name: &str| OpenOptions::new().write(true).open(directory.join(name));
    let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules {
        let file: &mut File = if rule.allow() { &mut allow } else { &mut deny };
        let line = line(rule);
        file.write_all(line.as_bytes()).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("the kernel refused the device rule {line:?}: {e}"),
            )
        })?;
    }
    Ok(())
}

fn line(rule: &LinuxDeviceCgroup) -> String {
    let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::A | LinuxDeviceType::P => return "a".to_owned(),
    };
    let number = |n: Option<i64>| match n {
        Some(n) if n >= 0 => n.to_string(),
        _ => "*".to_owned(),
    };
    let access = rule
        .access()
        .as_deref()
        .filter(|a| !a.is_empty())
        .unwrap_or("rwm");
    format!(
        "{kind} {}:{} {access}",
        number(rule.major()),
        number(rule.minor())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    #[test]
    fn rules_are_written_as_the_kernel_reads_them() {
        let all = LinuxDeviceCgroupBuilder::default()
            .allow(false)
            .access("rwm")
            .build()
            .unwrap();
        assert_eq!(line(&all), "a");
        let null = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(LinuxDeviceType::C)
            .major(1)
            .minor(3)
            .access("rw")
            .build()
            .unwrap();
        assert_eq!(line(&null), "c 1:3 rw");
        let any = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(LinuxDeviceType::B)
            .major(-1)
            .access("m")
            .build()
            .unwrap();
        assert_eq!(line(&any), "b *:* m");
    }
}
