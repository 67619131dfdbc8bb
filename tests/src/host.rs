//! A test host: see [`TestHost`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::engine::{self, Engine};
use crate::footprint::{self, Footprint};
use crate::http::Exchange;
use crate::image::{self, Image};
use crate::netns::NetNs;
use crate::processes::{self, Process};
use crate::shell::{self, Background, Finished};
use crate::terminal::Terminal;
use crate::{eventually, within};

/// What a host begins with.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Whether busybox is pulled into the daemon's store, besides being in the registry.
    pub busybox: bool,
    /// Further arguments of the daemon.
    pub daemon: Vec<String>,
    /// The data-root is a file system of its own of this many MiB.
    pub disk_mib: Option<u32>,
    /// Whose registry it is, if not the engine's own.
    pub registry: Option<Engine>,
    /// What its directory is made in, if not `DHOW_TEST_DIR` or `/tmp`.
    pub directory: Option<PathBuf>,
    /// The daemon's mask of file modes, if not the tests' own.
    pub umask: Option<u32>,
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        HostOptions {
            busybox: true,
            daemon: Vec::new(),
            disk_mib: None,
            registry: None,
            directory: None,
            umask: None,
        }
    }
}

/// One machine's worth of the engine under test: see the crate's documentation.
pub struct TestHost {
    pub engine: Engine,
    pub netns: NetNs,
    dir: TempDir,
    options: HostOptions,
    daemon: Option<Child>,
    registry: Option<Child>,
    before: Footprint,
    /// Counts the background commands, whose output files are numbered.
    spawned: AtomicU32,
    disk: Option<PathBuf>,
}

/// An answer to an HTTP request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("not JSON: {e}\n{self:#?}"))
    }

    /// Whether all of its body is here, as far as it can be told: a daemon that is killed may leave half of it.
    pub fn is_whole(&self) -> bool {
        match self.header("content-length").map(str::parse::<usize>) {
            Some(Ok(length)) => self.body.len() == length,
            Some(Err(_)) => false,
            None => {
                self.header("content-type") != Some("application/json")
                    || serde_json::from_str::<Value>(&self.body).is_ok()
            }
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

impl TestHost {
    /// A daemon with busybox in its store, and a registry that it uses as docker.io's mirror.
    pub fn start() -> TestHost {
        TestHost::with(HostOptions::default())
    }

    /// The same with an empty store.
    pub fn empty() -> TestHost {
        TestHost::with(HostOptions {
            busybox: false,
            ..HostOptions::default()
        })
    }

    pub fn with(options: HostOptions) -> TestHost {
        TestHost::of(Engine::under_test(), options)
    }

    /// A host with one of the engines, whichever is under test: for measuring them side by side.
    pub fn of(engine: Engine, options: HostOptions) -> TestHost {
        let within = options
            .directory
            .clone()
            .or_else(|| std::env::var_os("DHOW_TEST_DIR").map(PathBuf::from))
            .unwrap_or_else(|| "/tmp".into());
        // Unix sockets' names are at most 107 bytes, and an exec-root has long file names below it.
        let dir = tempfile::Builder::new()
            .prefix("dt")
            .rand_bytes(5)
            .tempdir_in(within)
            .expect("the directory for test hosts is writable");
        let mut host = TestHost {
            engine,
            netns: NetNs::new().expect("tests are run as root"),
            dir,
            options,
            daemon: None,
            registry: None,
            before: Footprint::default(),
            spawned: AtomicU32::new(0),
            disk: None,
        };
        host.set_up();
        host
    }

    fn set_up(&mut self) {
        for directory in ["data", "run", "home/.docker", "bin"] {
            fs::create_dir_all(self.path(directory)).expect("/tmp is writable");
        }
        symlink(engine::dhow(), self.path("bin/dhow")).expect("/tmp is writable");
        if let Some(mib) = self.options.disk_mib {
            self.mount_disk(mib);
        }
        self.start_registry();
        self.push_image(image::busybox(), "library/busybox:latest");
        self.start_daemon();
        if self.options.busybox {
            self.sh("docker pull -q busybox").ok();
        }
        // The daemon may be making things ahead of time still: they are not left behind by the test.
        self.before = self.settled_footprint();
    }

    /// A small file system, so that a full disk is this host's alone.
    fn mount_disk(&mut self, mib: u32) {
        let data = self.path("data");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(&data)
            .status()
            .expect("mount is installed");
        assert!(status.success());
        self.disk = Some(data);
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("s")
    }

    pub fn data_root(&self) -> PathBuf {
        self.path("data")
    }

    /// Pushes to the host's registry, for instance as `library/busybox:latest`.
    pub fn push_image(&self, image: &Image, name: &str) {
        let layout = self.path("layout");
        image
            .write_layout(&layout, "image")
            .expect("/tmp is writable");
        self.sh(&format!(
            "skopeo --insecure-policy copy --quiet --dest-tls-verify=false oci:{}:image docker://127.0.0.1:5000/{name}",
            layout.display()
        ))
        .ok();
        let _ = fs::remove_dir_all(layout);
    }

    // The daemon's life.

    pub fn start_daemon(&mut self) {
        self.start_daemon_again();
        eventually("the daemon answers", || {
            if let Some(daemon) = &mut self.daemon
                && let Ok(Some(status)) = daemon.try_wait()
            {
                panic!("the daemon ended: {status}\n{}", self.daemon_log());
            }
            UnixStream::connect(self.socket()).ok()?;
            (self.api("GET", "/_ping", None).status == 200).then_some(())
        });
    }

    /// Starts it without waiting until it answers.
    pub fn start_daemon_again(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        let mut daemon = self.engine.daemon(&self.netns, self.dir.path());
        daemon.args(&self.options.daemon);
        if let Some(mask) = self.options.umask {
            // SAFETY: a single system call between fork and exec.
            unsafe {
                daemon.pre_exec(move || {
                    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
                    Ok(())
                })
            };
        }
        self.daemon = Some(self.spawn_logged(daemon, "daemon.log"));
    }

    fn spawn_logged(&self, mut command: Command, log: &str) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(log))
            .expect("/tmp is writable");
        let again = log.try_clone().expect("a descriptor can be had");
        command
            .env(footprint::MARK, self.dir.path())
            .env("HOME", self.path("home"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again);
        // SAFETY: a single system call between fork and exec.
        unsafe {
            // A test that is killed takes its daemon with it.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?))
        };
        let shown = format!("{command:?}");
        command
            .spawn()
            .unwrap_or_else(|e| panic!("can't run {shown}: {e}"))
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    pub fn signal_daemon(&self, signal: Signal) {
        kill_process(pid(self.daemon.as_ref().expect("the daemon runs")), signal)
            .expect("it is our child");
    }

    /// `kill -9`, as a crash would.
    pub fn kill_daemon(&mut self) {
        self.signal_daemon(Signal::KILL);
        self.wait_for_daemon();
    }

    /// SIGTERM; gives the exit code.
    pub fn stop_daemon(&mut self) -> Option<i32> {
        self.signal_daemon(Signal::TERM);
        self.wait_for_daemon()
    }

    fn wait_for_daemon(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        let ended = within(Duration::from_secs(60), || daemon.try_wait().ok().flatten());
        let Some(status) = ended else {
            let _ = daemon.kill();
            let _ = daemon.wait();
            panic!("the daemon doesn't end\n{}", self.daemon_log());
        };
        status.code()
    }

    pub fn daemon_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("daemon.log")).unwrap_or_default()).into_owned()
    }

    pub fn start_registry(&mut self) {
        let registry = self
            .options
            .registry
            .unwrap_or(self.engine)
            .registry(&self.netns, &self.path("registry"));
        self.registry = Some(self.spawn_logged(registry, "registry.log"));
        eventually("the registry listens", || {
            self.netns
                .run(|| std::net::TcpStream::connect("127.0.0.1:5000"))
                .ok()
        });
    }

    /// `kill -9`.
    pub fn stop_registry(&mut self) {
        if let Some(mut registry) = self.registry.take() {
            let _ = registry.kill();
            let _ = registry.wait();
        }
    }

    // Doing things on it.

    fn environment(&self, command: &mut Command) {
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(engine::path_with_peers());
        command
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("DOCKER_CONFIG", self.path("home/.docker"))
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env_remove("DHOW_HOST")
            .env("DOCKER_CLI_HINTS", "false")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.dir.path());
    }

    /// Runs a command line as a user of the host types it: `docker` and `dhow` talk to its daemon.
    #[track_caller]
    pub fn sh(&self, line: &str) -> Finished {
        self.sh_within(shell::PATIENCE, line)
    }

    /// A program that talks to its daemon, by itself: with neither a shell nor a deadline around it.
    pub fn program(&self, name: &str) -> Command {
        let mut path = vec![self.path("bin")];
        path.extend(std::env::split_paths(&engine::path_with_peers()));
        let found = path.iter().map(|dir| dir.join(name)).find(|p| p.exists());
        let mut command = self.netns.command(found.unwrap_or_else(|| name.into()));
        self.environment(&mut command);
        command
    }

    /// A command line that must be answered soon, or the test fails.
    #[track_caller]
    pub fn sh_within(&self, patience: Duration, line: &str) -> Finished {
        let mut command = self.netns.command("timeout");
        self.environment(&mut command);
        shell::run(command, line, patience)
    }

    /// Starts a command line beside the test. It ends with the value.
    pub fn spawn(&self, line: &str) -> Background {
        self.spawn_with(line, Stdio::null())
    }

    /// The same with a pipe for its standard input.
    pub fn spawn_with_stdin(&self, line: &str) -> Background {
        self.spawn_with(line, Stdio::piped())
    }

    fn spawn_with(&self, line: &str, stdin: Stdio) -> Background {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let mut command = self.netns.command("sh");
        self.environment(&mut command);
        Background::start(command, line, self.path(&format!("spawn{number}")), stdin)
    }

    /// A real terminal with this command line in it.
    pub fn terminal(&self, line: &str) -> Terminal {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let mut command = self.netns.command("tmux");
        self.environment(&mut command);
        Terminal::start(command, &self.path(&format!("tmux{number}")), line)
    }

    /// A request to the Engine API, without a version in its path unless `path` has one.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut command = self.netns.command("curl");
        command.arg("--unix-socket").arg(self.socket());
        self.request(
            command,
            method,
            &format!("http://d{path}"),
            "application/json",
            body.map(Value::to_string),
        )
    }

    /// A request to the host's registry.
    pub fn registry_api(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: Option<&str>,
    ) -> Answer {
        let command = self.netns.command("curl");
        let url = format!("http://127.0.0.1:5000{path}");
        self.request(command, method, &url, media_type, body.map(str::to_owned))
    }

    fn request(
        &self,
        mut curl: Command,
        method: &str,
        url: &str,
        media_type: &str,
        body: Option<String>,
    ) -> Answer {
        curl.args([
            "--silent",
            "--include",
            "--max-time",
            "60",
            "--request",
            method,
        ]);
        if method == "HEAD" {
            curl.arg("--head");
        }
        if let Some(body) = body {
            curl.args([
                "--header",
                &format!("Content-Type: {media_type}"),
                "--header",
                "Expect:",
            ])
            .args(["--data-binary", &body]);
        }
        let output = curl.arg(url).output().expect("curl is installed");
        parse_answer(&String::from_utf8_lossy(&output.stdout))
    }

    /// `docker inspect` of one object.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        self.sh(&format!("docker inspect {name}")).json()[0].take()
    }

    #[track_caller]
    pub fn state(&self, name: &str) -> String {
        self.sh(&format!("docker inspect -f '{{{{.State.Status}}}}' {name}"))
            .ok()
    }

    /// Waits for a container's end, and gives its exit code.
    #[track_caller]
    pub fn wait(&self, name: &str) -> i32 {
        let code = self.sh(&format!("docker wait {name}")).ok();
        code.parse()
            .unwrap_or_else(|e| panic!("an exit code, not {code:?}: {e}"))
    }

    /// A client that waits for a container's next end, known to the daemon when this returns.
    #[track_caller]
    pub fn waits_for(&self, name: &str) -> Exchange {
        let path = format!("/v1.45/containers/{name}/wait?condition=next-exit");
        let mut exchange =
            Exchange::begin(&self.socket(), "POST", &path, None, Duration::from_secs(60))
                .expect("the daemon listens");
        exchange.head().expect("the daemon answers at once");
        exchange
    }

    // Its processes.

    /// The id of a container by its name.
    #[track_caller]
    pub fn id(&self, name: &str) -> String {
        self.sh(&format!("docker inspect -f '{{{{.Id}}}}' {name}"))
            .ok()
    }

    /// The first process of a container that runs.
    #[track_caller]
    pub fn init(&self, name: &str) -> Process {
        let pid = self.inspect(name)["State"]["Pid"].as_i64().unwrap_or(0);
        Process::open(pid as i32).unwrap_or_else(|| panic!("{name} doesn't run"))
    }

    /// The parent of a container's first process.
    #[track_caller]
    pub fn shim(&self, name: &str) -> Process {
        let init = self.init(name);
        let shim = processes::parent(init.pid).and_then(Process::open);
        shim.unwrap_or_else(|| panic!("{name} doesn't run under a shim"))
    }

    /// The process that the daemon has fork shims.
    #[track_caller]
    pub fn spawner(&self) -> Process {
        eventually("the daemon has a spawner", || self.spawner_now())
    }

    /// The same, if there is one at this moment.
    pub fn spawner_now(&self) -> Option<Process> {
        processes::spawner(self.daemon_pid() as i32)
    }

    // What is left.

    /// Ids of all containers, also those that are gone.
    fn all_containers(&self) -> BTreeSet<String> {
        let mut ids = processes::containers(&self.data_root());
        let mut curl = self.netns.command("curl");
        curl.args(["--silent", "--max-time", "30", "--unix-socket"])
            .arg(self.socket())
            .arg("http://d/v1.44/events?since=1&until=1&filters=%7B%22event%22%3A%5B%22create%22%5D%7D".replace(
                "until=1",
                &format!("until={}", now()),
            ));
        if let Ok(output) = curl.stderr(Stdio::null()).output() {
            for line in BufReader::new(&output.stdout[..])
                .lines()
                .map_while(Result::ok)
            {
                if let Ok(event) = serde_json::from_str::<Value>(&line)
                    && event["Type"] == "container"
                    && let Some(id) = event["Actor"]["ID"].as_str()
                {
                    ids.insert(id.to_owned());
                }
            }
        }
        ids
    }

    /// What the host has on the machine now.
    pub fn footprint(&self) -> Footprint {
        Footprint::take(&self.netns, self.dir.path(), &self.all_containers())
    }

    /// The footprint when two in a row are the same: the daemon makes and unmakes things in the background.
    pub fn settled_footprint(&self) -> Footprint {
        let mut last = self.footprint();
        within(Duration::from_secs(5), || {
            std::thread::sleep(Duration::from_millis(60));
            let now = self.footprint();
            let same = now == last;
            last = now;
            same.then_some(())
        });
        last
    }

    /// Fails the test unless the host comes to have no more than it had at first. For a daemon that runs.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        within(Duration::from_secs(60), || {
            left = self.footprint().beyond(&self.before);
            left.retain(|line| !self.made_ahead(line));
            left.is_empty().then_some(())
        });
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// Namespaces are made before they are wanted: their links differ from those that there were at first, and are
    /// counted instead.
    fn made_ahead(&self, line: &str) -> bool {
        line.starts_with("link ") && footprint::links(&self.netns).len() <= self.before.links.len()
    }

    fn remove_containers(&self) {
        self.sh("docker ps -aq | xargs -r docker rm -f -v >/dev/null; docker network prune -f >/dev/null")
            .ok();
    }

    fn tear_down(&mut self) {
        if self.daemon.is_none() {
            self.start_daemon();
        }
        self.remove_containers();
        if self.engine == Engine::Dhow {
            self.assert_nothing_left();
        }
        let containers = self.all_containers();
        let code = self.stop_daemon();
        self.stop_registry();
        if self.engine == Engine::Dhow {
            assert_eq!(
                code,
                Some(0),
                "the daemon ends cleanly on SIGTERM\n{}",
                self.daemon_log()
            );
            let mut left = Vec::new();
            within(Duration::from_secs(60), || {
                left = footprint::processes(&self.netns, self.dir.path(), &containers)
                    .into_iter()
                    .chain(footprint::mounts(self.dir.path()))
                    .chain(
                        footprint::cgroups(&containers)
                            .into_iter()
                            .map(|c| c.display().to_string()),
                    )
                    .collect();
                if let Some(disk) = &self.disk {
                    left.retain(|line| line != &disk.display().to_string());
                }
                left.is_empty().then_some(())
            });
            assert!(left.is_empty(), "left behind after the daemon: {left:#?}");
        }
    }

    /// Ends all that is there by force: after a failure, or for a peer, which leaves some.
    fn sweep(&mut self) {
        let containers = self.all_containers();
        for child in [self.daemon.take(), self.registry.take()]
            .into_iter()
            .flatten()
        {
            let mut child = child;
            let _ = child.kill();
            let _ = child.wait();
        }
        within(Duration::from_secs(5), || {
            let pids = footprint::pids(&self.netns, self.dir.path(), &containers);
            for pid in &pids {
                if let Some(pid) = Pid::from_raw(*pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            pids.is_empty().then_some(())
        });
        // The innermost first.
        for mount in footprint::mounts(self.dir.path()).iter().rev() {
            let _ = rustix::mount::unmount(mount.as_str(), rustix::mount::UnmountFlags::DETACH);
        }
        for cgroup in footprint::cgroups(&containers) {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.daemon_log();
            let last: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("the daemon's log ends so:");
            for line in last.iter().rev() {
                eprintln!("  {line}");
            }
            self.sweep();
            return;
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.tear_down()));
        self.sweep();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// curl's `--include` output: one or more heads, the last of which is the answer's.
pub(crate) fn parse_answer(text: &str) -> Answer {
    let mut rest = text;
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        if status == 100 {
            rest = body;
            continue;
        }
        return Answer {
            status,
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
            body: body.to_owned(),
        };
    }
}
