//! No zero byte gets to the kernel: it ends every string there, and the rest would be lost without a word.

use dhow_api::{ContainerConfig, HostConfig};

use super::refuse;
use crate::error::Result;

/// Refuses the first of these that has a zero byte in it.
pub fn check_text<'a>(named: impl IntoIterator<Item = (&'static str, &'a str)>) -> Result<()> {
    match named.into_iter().find(|(_, text)| text.contains('\0')) {
        None => Ok(()),
        Some((name, text)) => refuse(format!("invalid {name} {text:?}: it contains a null byte")),
    }
}

/// All of a definition that the kernel, a path or a file in /etc is made of.
pub fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    fn all<'a>(
        name: &'static str,
        list: &'a Option<Vec<String>>,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        let list = list.iter().flatten();
        list.map(move |text| (name, text.as_str()))
    }
    let r = &host.resources;
    check_text([
        ("hostname", config.hostname.as_str()),
        ("domain name", &config.domainname),
        ("user", &config.user),
        ("working directory", &config.working_dir),
        ("cgroup parent", &r.cgroup_parent),
        ("cpuset cpus", &r.cpuset_cpus),
        ("cpuset mems", &r.cpuset_mems),
    ])?;
    check_text(
        all("environment variable", &config.env)
            .chain(all("command", &config.cmd))
            .chain(all("entrypoint", &config.entrypoint))
            .chain(all("bind", &host.binds))
            .chain(all("DNS option", &host.dns_options))
            .chain(all("DNS search domain", &host.dns_search))
            .chain(all("extra host", &host.extra_hosts))
            .chain(all("group", &host.group_add))
            .chain(all("security option", &host.security_opt))
            .chain(all("masked path", &host.masked_paths))
            .chain(all("read-only path", &host.readonly_paths)),
    )?;
    let health = config.healthcheck.iter().flat_map(|check| &check.test);
    check_text(health.map(|word| ("health check", word.as_str())))?;
    let volumes = config.volumes.iter().flatten().map(|(path, _)| path);
    check_text(volumes.map(|path| ("volume", path.as_str())))?;
    let pairs = host.tmpfs.iter().chain(&host.sysctls);
    check_text(pairs.flat_map(|(name, value)| {
        [
            ("tmpfs mount or sysctl", name.as_str()),
            ("option or value", value.as_str()),
        ]
    }))?;
    for mount in &host.mounts {
        check_text([
            ("mount source", mount.source.as_str()),
            ("mount target", &mount.target),
        ])?;
        let volume = mount.volume_options.iter().map(|o| o.subpath.as_str());
        check_text(volume.map(|path| ("mount subpath", path)))?;
        let tmpfs = mount.tmpfs_options.iter().flat_map(|o| &o.options);
        check_text(tmpfs.flatten().map(|word| ("tmpfs option", word.as_str())))?;
    }
    for device in r.devices.iter().flatten() {
        check_text([
            ("device", device.path_on_host.as_str()),
            ("device", &device.path_in_container),
        ])?;
    }
    Ok(())
}
