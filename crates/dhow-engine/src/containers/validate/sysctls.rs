//! Which of the kernel's settings a container may have: those that are its namespaces' own.

use dhow_api::HostConfig;

use super::refuse;
use crate::error::Result;

/// Only what belongs to the container's own namespaces can be set, by the name that the kernel has for it:
/// whether there is such a setting, and takes the value, shows when it is written.
pub fn check(name: &str, value: &str, host: &HostConfig) -> Result<()> {
    let malformed =
        |part: &str| part.is_empty() || part == ".." || part.contains(char::is_whitespace);
    if name.split(['.', '/']).any(malformed) {
        return refuse(format!(
            "invalid sysctl {name:?}: use a name such as net.core.somaxconn"
        ));
    }
    if value.contains(['\n', '\r']) {
        return refuse(format!(
            "invalid value for sysctl {name:?}: it must be a single line"
        ));
    }
    let dotted = dotted(name);
    let name = dotted.as_str();
    let ipc = name.starts_with("fs.mqueue.") || dhow_api::IPC_SYSCTLS.contains(&name);
    let net = name.starts_with("net.");
    let uts = name == "kernel.domainname";
    if ipc && host.ipc_mode == "host" {
        return refuse(format!("sysctl '{name}' not allowed in host ipc namespace"));
    }
    if net && host.network_mode == "host" {
        return refuse(format!(
            "sysctl '{name}' not allowed in host network namespace"
        ));
    }
    if uts && host.uts_mode == "host" {
        return refuse(format!("sysctl '{name}' not allowed in host uts namespace"));
    }
    if name == "kernel.hostname" {
        return refuse(format!(
            "sysctl {name:?} is not allowed as it conflicts with the hostname: set that instead"
        ));
    }
    if ipc || net || uts {
        Ok(())
    } else {
        refuse(format!(
            "sysctl {name:?} is not in a separate kernel namespace"
        ))
    }
}

/// A name may have slashes for dots, as in sysctl(8): the first of the two tells which is which.
fn dotted(name: &str) -> String {
    if name.chars().find(|c| matches!(c, '.' | '/')) != Some('/') {
        return name.to_owned();
    }
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let host = HostConfig::default();
        for good in [
            "net.core.somaxconn",
            "net/ipv4/conf/eth0.1/forwarding",
            "fs.mqueue.msg_max",
            "kernel.shmmax",
        ] {
            check(good, "1", &host).unwrap();
        }
        for bad in [
            "",
            "net",
            "net.",
            ".net",
            "net..x",
            "net.../../x",
            "net. x",
            "kernel.hostname",
            "kernel.panic",
            "net/../../etc/x",
        ] {
            assert!(check(bad, "1", &host).is_err(), "{bad}");
        }
        assert!(check("net.core.somaxconn", "1\n2", &host).is_err());
        let host = HostConfig {
            network_mode: "host".into(),
            ..HostConfig::default()
        };
        assert!(check("net/core/somaxconn", "1", &host).is_err());
    }
}
