//! A container's mounts, in the order in which they are made: Docker's defaults, then what was asked for,
//! parents before what lies below them.

use std::path::{Path, PathBuf};

use dhow_api::HostConfig;
use oci_spec::runtime::{Mount, MountBuilder};

use super::{SharedIpc, Sources, SpecInput, built, edits};
use crate::containers::definition::{Definition, MountKind, MountRecord};
use crate::error::Result;
use crate::networks::EtcFiles;

/// `ShmSize` where none is asked for.
pub const DEFAULT_SHM_SIZE: i64 = 64 << 20;

pub fn all(input: &SpecInput<'_>, writable_cgroups: bool) -> Result<Vec<Mount>> {
    let host = &input.definition.host_config;
    let mut wanted = Vec::new();
    let mode = if host.readonly_rootfs { "ro" } else { "rw" };
    for (place, file) in etc_files(input.definition, input.files) {
        wanted.push(bind(place, file, &["rbind", mode, "rprivate"])?);
    }
    for record in &input.definition.mounts {
        wanted.push(from_record(record, input.sources)?);
    }
    for (destination, options) in &host.tmpfs {
        let options: Vec<String> = options
            .split(',')
            .filter(|o| !o.is_empty())
            .map(str::to_owned)
            .collect();
        wanted.push(tmpfs(destination, &options, false)?);
    }
    // Stable: of two at the same depth the later one is mounted later.
    wanted.sort_by_key(|m| depth(m.destination()));

    let mut mounts = defaults(host, input.shared.ipc, writable_cgroups)?;
    if !input.edits.mounts.is_empty() {
        edits::add_mounts(input.edits, &mut mounts)?;
        mounts.sort_by_key(|m| depth(m.destination()));
    }
    mounts.retain(|m| {
        let place = m.destination();
        !wanted.iter().any(|w| {
            w.destination() == place
                || (place.starts_with("/dev/") && w.destination() == Path::new("/dev"))
        })
    });
    mounts.extend(wanted);
    Ok(mounts)
}

/// What of a container's files is not in its own root filesystem, for one that does not run: no tmpfs, whose
/// contents are gone, and nothing that the kernel shows of itself. What is mounted so is seen by nobody else.
pub fn at_rest(
    definition: &Definition,
    files: &EtcFiles,
    sources: Sources<'_>,
) -> Result<Vec<Mount>> {
    let mut wanted = Vec::new();
    for (place, file) in etc_files(definition, files) {
        // There are none before the first start.
        if file.exists() {
            wanted.push(bind(place, file, &["rbind", "rw", "rprivate"])?);
        }
    }
    for record in &definition.mounts {
        if matches!(record.kind, MountKind::Tmpfs { .. }) {
            continue;
        }
        let private = MountRecord {
            propagation: String::new(),
            ..record.clone()
        };
        wanted.push(from_record(&private, sources)?);
    }
    wanted.sort_by_key(|m| depth(m.destination()));
    Ok(wanted)
}

/// Where the files are that the engine writes for a container. A mount of the user's own at the same place takes
/// its stead.
pub fn etc_files<'a>(
    definition: &'a Definition,
    files: &'a EtcFiles,
) -> impl Iterator<Item = (&'static str, &'a Path)> {
    [
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hostname", &files.hostname),
        ("/etc/hosts", &files.hosts),
    ]
    .into_iter()
    .filter(|(place, _)| !definition.mounts.iter().any(|m| m.destination == *place))
    .map(|(place, file)| (place, file.as_path()))
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

fn defaults(host: &HostConfig, ipc: SharedIpc, writable_cgroups: bool) -> Result<Vec<Mount>> {
    let cgroups = if writable_cgroups { "rw" } else { "ro" };
    let sys = if host.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        )?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        )?,
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", sys],
        )?,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[cgroups, "nosuid", "noexec", "nodev"],
        )?,
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        )?,
    ];
    // Message queues need no more than their namespace: a mount of their filesystem shows those of it.
    match (ipc, host.ipc_mode.as_str()) {
        (SharedIpc::Host, _) | (SharedIpc::No, "host") => mounts.push(bind(
            "/dev/shm",
            Path::new("/dev/shm"),
            &["rbind", "rprivate"],
        )?),
        (SharedIpc::Container, _) => {
            mounts.push(mount("/dev/shm", "x-dhow.shm", "shm", &["rprivate"])?);
        }
        (SharedIpc::No, "none") => {}
        (SharedIpc::No, _) => {
            let size = match host.shm_size {
                0 => DEFAULT_SHM_SIZE,
                size => size,
            };
            let size = format!("size={size}");
            mounts.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &size],
            )?);
        }
    }
    Ok(mounts)
}

fn from_record(record: &MountRecord, sources: Sources<'_>) -> Result<Mount> {
    let mut beneath = None;
    let source = match &record.kind {
        MountKind::Tmpfs { options } => {
            return tmpfs(&record.destination, options, record.read_only);
        }
        MountKind::Image { id, subpath, .. } => {
            let layers = sources.images.get(id).map(Vec::as_slice);
            return image(record, layers.unwrap_or_default(), subpath);
        }
        MountKind::Bind { source, .. } => PathBuf::from(source),
        MountKind::Volume { name, subpath, .. } => {
            let data = sources.volumes_dir.join(name).join("_data");
            if subpath.is_empty() {
                data
            } else {
                beneath = Some(format!("x-dhow.beneath={}", data.display()));
                data.join(subpath)
            }
        }
    };
    let propagation = match record.propagation.as_str() {
        "" => "rprivate",
        other => other,
    };
    let kind = if record.non_recursive {
        "bind"
    } else {
        "rbind"
    };
    let mode = match (record.read_only, record.read_only_recursive) {
        (true, true) => "rro",
        (true, false) => "ro",
        // What is read-only on the host stays so.
        (false, _) => "",
    };
    let mut options = vec![kind, propagation];
    if !mode.is_empty() {
        options.insert(1, mode);
    }
    options.extend(beneath.as_deref());
    // What only the runtime of Dhow's own understands, see its options.
    let uid = record.uid.map(|uid| format!("x-dhow.uid={uid}"));
    let gid = record.gid.map(|gid| format!("x-dhow.gid={gid}"));
    options.extend(uid.as_deref().into_iter().chain(gid.as_deref()));
    options.extend(record.read_only_forced.then_some("x-dhow.strict"));
    bind(&record.destination, &source, &options)
}

fn image(record: &MountRecord, layers: &[PathBuf], subpath: &str) -> Result<Mount> {
    let layers = layers
        .iter()
        .map(|l| format!("x-dhow.layer={}", l.display()));
    let mut options: Vec<String> = layers.collect();
    if !subpath.is_empty() {
        options.push(format!("x-dhow.subpath={subpath}"));
    }
    options.push("rprivate".to_owned());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    mount(&record.destination, "x-dhow.image", "image", &options)
}

fn tmpfs(destination: &str, options: &[String], read_only: bool) -> Result<Mount> {
    let mut all: Vec<&str> = vec!["noexec", "nosuid", "nodev"];
    for option in options {
        // The opposite of a default takes its place, as `exec` that of `noexec`.
        all.retain(|o| o.strip_prefix("no") != Some(option));
        if !all.contains(&option.as_str()) {
            all.push(option);
        }
    }
    if read_only {
        all.push("ro");
    }
    all.push("rprivate");
    mount(destination, "tmpfs", "tmpfs", &all)
}

fn bind(destination: &str, source: &Path, options: &[&str]) -> Result<Mount> {
    let options: Vec<String> = options.iter().map(|o| o.to_string()).collect();
    built(
        MountBuilder::default()
            .destination(destination)
            .typ("bind")
            .source(source)
            .options(options)
            .build(),
    )
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount> {
    let options: Vec<String> = options.iter().map(|o| o.to_string()).collect();
    built(
        MountBuilder::default()
            .destination(destination)
            .typ(kind)
            .source(source)
            .options(options)
            .build(),
    )
}
