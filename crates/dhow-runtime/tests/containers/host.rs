//! What the tests share: a busybox image, containers of it with Docker's defaults, and clients.

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use dhow_runtime::{
    AttachStreams, ExecRequest, ExitRecord, Handed, LogFile, LogFormat, LogSink, Rootfs, Shim,
    Spawner, StartError, StartRequest, Started,
};
use oci_spec::runtime::*;
use tokio::sync::watch;

pub struct Host {
    pub spawner: Spawner,
    pub dir: tempfile::TempDir,
    next: AtomicU32,
}

/// Docker's default capabilities.
pub const CAPABILITIES: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

impl Host {
    pub fn new(spawner: Spawner) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        for name in ["bin", "etc", "dev", "proc", "sys", "tmp", "root"] {
            std::fs::create_dir_all(image.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", image.join("bin/busybox"))
            .expect("busybox-static is installed");
        for name in [
            "sh", "true", "false", "echo", "cat", "sleep", "id", "ls", "head", "stty", "tty",
            "kill", "env", "pwd", "mount", "touch", "mknod", "hostname", "seq", "printf", "dd",
            "wc", "grep", "ps", "trap", "test", "stat", "mkdir", "chroot", "unshare", "yes",
            "readlink", "tr", "date", "cut", "sort",
        ] {
            std::os::unix::fs::symlink("busybox", image.join("bin").join(name)).unwrap();
        }
        std::fs::write(
            image.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(
            image.join("etc/group"),
            "root:x:0:\nanna:x:1000:\naudio:x:29:anna\n",
        )
        .unwrap();
        std::fs::write(image.join("etc/text"), "not a program").unwrap();
        Self {
            spawner,
            dir,
            next: AtomicU32::new(1),
        }
    }

    /// A container that is to run a command.
    pub fn container(&self, arguments: &[&str]) -> Container<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}{:056x}", std::process::id(), number);
        let bundle = self.dir.path().join(&id);
        for name in ["upper", "work"] {
            std::fs::create_dir_all(bundle.join(name)).unwrap();
        }
        let runtime_dir = self.dir.path().join("run");
        std::fs::create_dir_all(&runtime_dir).unwrap();
        let request = StartRequest {
            id: id.clone(),
            runtime_dir,
            spec: spec(&id, arguments),
            rootfs: Rootfs::Overlay {
                lower: vec![self.dir.path().join("image")],
                upper: bundle.join("upper"),
                work: bundle.join("work"),
            },
            has_netns: false,
            joined: Vec::new(),
            open_stdin: false,
            stdin_once: false,
            log: LogSink {
                file: Some(LogFile {
                    path: bundle.join("log.json"),
                    format: LogFormat::JsonFile,
                    max_size: None,
                    max_file: 1,
                    compress: false,
                    attrs: String::new(),
                }),
                server: None,
            },
            attach: Vec::new(),
            held_fds: 0,
            init: false,
            sync_exit: false,
            tty_size: None,
            bundle,
        };
        Container {
            host: self,
            request,
            attach: Vec::new(),
            held: Vec::new(),
        }
    }
}

pub struct Container<'a> {
    host: &'a Host,
    pub request: StartRequest,
    attach: Vec<OwnedFd>,
    held: Vec<OwnedFd>,
}

impl Container<'_> {
    pub fn process(&mut self) -> &mut Process {
        self.request.spec.process_mut().as_mut().unwrap()
    }

    pub fn linux(&mut self) -> &mut Linux {
        self.request.spec.linux_mut().as_mut().unwrap()
    }

    pub fn mount(&mut self, mount: Mount) {
        self.request.spec.mounts_mut().as_mut().unwrap().push(mount);
    }

    /// A client from the start.
    pub fn attach(&mut self, streams: AttachStreams) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.request.attach.push(streams);
        self.attach.push(theirs.into());
        ours
    }

    /// What the shim is to keep open.
    pub fn hold(&mut self, fd: OwnedFd) {
        self.held.push(fd);
    }

    pub async fn start(self) -> Result<Running, StartError> {
        let (bundle, id, runtime_dir) = (
            self.request.bundle.clone(),
            self.request.id.clone(),
            self.request.runtime_dir.clone(),
        );
        let (shim, started) = self
            .host
            .spawner
            .start(
                self.request,
                Handed {
                    attach: self.attach,
                    held: self.held,
                    ..Handed::default()
                },
            )
            .await?;
        Ok(Running {
            shim,
            started,
            bundle,
            id,
            runtime_dir,
        })
    }

    #[allow(dead_code, reason = "the tests do not measure")]
    pub async fn start_traced(self) -> Result<Running, StartError> {
        let (bundle, id, runtime_dir) = (
            self.request.bundle.clone(),
            self.request.id.clone(),
            self.request.runtime_dir.clone(),
        );
        let (shim, started) = self
            .host
            .spawner
            .start_traced(
                self.request,
                Handed {
                    attach: self.attach,
                    ..Handed::default()
                },
            )
            .await?;
        Ok(Running {
            shim,
            started,
            bundle,
            id,
            runtime_dir,
        })
    }

    /// Runs it to its end: code and both outputs.
    pub async fn run(mut self) -> (i32, String, String) {
        let client = self.attach(OUTPUT);
        let running = self.start().await.expect("start");
        let (stdout, stderr) = tokio::task::spawn_blocking(move || frames(client))
            .await
            .unwrap();
        let record = running.exit().await;
        running.shim.release().await.unwrap();
        (record.code, stdout, stderr)
    }
}

pub const OUTPUT: AttachStreams = AttachStreams {
    stdin: false,
    stdout: true,
    stderr: true,
};
pub const ALL: AttachStreams = AttachStreams {
    stdin: true,
    stdout: true,
    stderr: true,
};

pub struct Running {
    pub shim: Shim,
    pub started: Started,
    pub bundle: PathBuf,
    pub id: String,
    pub runtime_dir: PathBuf,
}

impl Running {
    pub async fn exit(&self) -> ExitRecord {
        ended(self.shim.exit()).await
    }

    pub fn cgroup(&self) -> dhow_runtime::cgroup::Cgroup {
        dhow_runtime::cgroup::Cgroup::open(&format!("/dhow-test/{}", self.id)).unwrap()
    }

    /// Runs an exec to its end.
    pub async fn exec(
        &self,
        id: &str,
        change: impl FnOnce(&mut ExecRequest),
    ) -> Result<(i32, String, String), StartError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut request = exec_request(id, &["true"]);
        request.attach = Some(OUTPUT);
        change(&mut request);
        self.shim.exec(request, Some(theirs.into())).await?;
        let (stdout, stderr) = tokio::task::spawn_blocking(move || frames(ours))
            .await
            .unwrap();
        Ok((ended(self.shim.exec_exit(id)).await.code, stdout, stderr))
    }

    pub fn log(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.bundle.join("log.json")).unwrap();
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                (
                    value["stream"].as_str().unwrap().into(),
                    value["log"].as_str().unwrap().into(),
                )
            })
            .collect()
    }
}

pub async fn ended(mut exit: watch::Receiver<Option<ExitRecord>>) -> ExitRecord {
    exit.wait_for(Option::is_some)
        .await
        .expect("the shim tells of the exit")
        .clone()
        .unwrap()
}

/// Reads Docker's frames to the end.
pub fn frames(mut stream: UnixStream) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut header = [0; 8];
    while stream.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        match header[0] {
            1 => stdout.extend(body),
            2 => stderr.extend(body),
            other => panic!("a frame of stream {other}"),
        }
    }
    (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

pub fn exec_request(id: &str, arguments: &[&str]) -> ExecRequest {
    ExecRequest {
        exec_id: id.into(),
        process: process(arguments),
        open_stdin: false,
        attach: None,
        tty_size: None,
    }
}

pub fn process(arguments: &[&str]) -> Process {
    let set: HashSet<Capability> = CAPABILITIES.into_iter().collect();
    ProcessBuilder::default()
        .args(
            arguments
                .iter()
                .map(|argument| argument.to_string())
                .collect::<Vec<_>>(),
        )
        .env(vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string(),
        ])
        .cwd("/")
        .capabilities(
            LinuxCapabilitiesBuilder::default()
                .bounding(set.clone())
                .effective(set.clone())
                .permitted(set)
                .inheritable(HashSet::new())
                .ambient(HashSet::new())
                .build()
                .unwrap(),
        )
        .rlimits(Vec::new())
        .no_new_privileges(false)
        .user(UserBuilder::default().uid(0u32).gid(0u32).build().unwrap())
        .build()
        .unwrap()
}

pub fn mount(kind: &str, source: impl AsRef<Path>, destination: &str, options: &[&str]) -> Mount {
    MountBuilder::default()
        .typ(kind)
        .source(source.as_ref())
        .destination(destination)
        .options(
            options
                .iter()
                .map(|option| option.to_string())
                .collect::<Vec<_>>(),
        )
        .build()
        .unwrap()
}

pub fn device_rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: i64,
    minor: i64,
    access: &str,
) -> LinuxDeviceCgroup {
    LinuxDeviceCgroupBuilder::default()
        .allow(allow)
        .typ(kind)
        .major(major)
        .minor(minor)
        .access(access)
        .build()
        .unwrap()
}

/// Docker's default specification, but for the network: a namespace of its own.
fn spec(id: &str, arguments: &[&str]) -> Spec {
    let namespace = |kind| LinuxNamespaceBuilder::default().typ(kind).build().unwrap();
    let kinds = [
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Cgroup,
    ];
    let c = LinuxDeviceType::C;
    let rules = vec![
        device_rule(false, LinuxDeviceType::A, -1, -1, "rwm"),
        device_rule(true, c, -1, -1, "m"),
        device_rule(true, LinuxDeviceType::B, -1, -1, "m"),
        device_rule(true, c, 1, 3, "rwm"),
        device_rule(true, c, 1, 5, "rwm"),
        device_rule(true, c, 1, 7, "rwm"),
        device_rule(true, c, 1, 8, "rwm"),
        device_rule(true, c, 1, 9, "rwm"),
        device_rule(true, c, 5, 0, "rwm"),
        device_rule(true, c, 5, 1, "rwm"),
        device_rule(true, c, 5, 2, "rwm"),
        device_rule(true, c, 136, -1, "rwm"),
    ];
    let strings = |list: &[&str]| list.iter().map(|item| item.to_string()).collect::<Vec<_>>();
    SpecBuilder::default()
        .version("1.2.0")
        .hostname(&id[..12])
        .root(
            RootBuilder::default()
                .path("rootfs")
                .readonly(false)
                .build()
                .unwrap(),
        )
        .process(process(arguments))
        .mounts(vec![
            mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
            mount(
                "tmpfs",
                "tmpfs",
                "/dev",
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
            mount(
                "devpts",
                "devpts",
                "/dev/pts",
                &[
                    "nosuid",
                    "noexec",
                    "newinstance",
                    "ptmxmode=0666",
                    "mode=0620",
                    "gid=5",
                ],
            ),
            mount(
                "sysfs",
                "sysfs",
                "/sys",
                &["nosuid", "noexec", "nodev", "ro"],
            ),
            mount(
                "cgroup",
                "cgroup",
                "/sys/fs/cgroup",
                &["ro", "nosuid", "noexec", "nodev"],
            ),
            mount(
                "mqueue",
                "mqueue",
                "/dev/mqueue",
                &["nosuid", "noexec", "nodev"],
            ),
            mount(
                "tmpfs",
                "shm",
                "/dev/shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
            ),
        ])
        .linux(
            LinuxBuilder::default()
                .namespaces(kinds.map(namespace).to_vec())
                .cgroups_path(format!("/dhow-test/{id}"))
                .resources(
                    LinuxResourcesBuilder::default()
                        .devices(rules)
                        .build()
                        .unwrap(),
                )
                .masked_paths(strings(&[
                    "/proc/acpi",
                    "/proc/asound",
                    "/proc/kcore",
                    "/proc/keys",
                    "/proc/latency_stats",
                    "/proc/timer_list",
                    "/proc/timer_stats",
                    "/proc/sched_debug",
                    "/proc/scsi",
                    "/sys/firmware",
                    "/sys/devices/virtual/powercap",
                ]))
                .readonly_paths(strings(&[
                    "/proc/bus",
                    "/proc/fs",
                    "/proc/irq",
                    "/proc/sys",
                    "/proc/sysrq-trigger",
                ]))
                .build()
                .unwrap(),
        )
        .build()
        .unwrap()
}
