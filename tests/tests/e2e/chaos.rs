//! Starts and stops under kills at random: of the daemon, of shims, of the spawner. What was acknowledged is so
//! afterwards, nothing ran twice at once, and nothing is left. `DHOW_TEST_ROUNDS` says how many starts, and
//! `DHOW_TEST_SEED` repeats a row of kills and kinds, as far as the machine's own timing lets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dhow_tests::{Answer, Census, Engine, Random, TestHost, eventually, http, processes, rounds};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Daemon,
    Shim,
    Spawner,
}

impl Victim {
    /// Kills one of the kind, if there is one, and says what was killed.
    pub fn kill(self, host: &mut TestHost, random: &mut Random) -> Option<&'static str> {
        match self {
            Victim::Daemon => {
                host.kill_daemon();
                std::thread::sleep(Duration::from_millis(random.below(100)));
                host.start_daemon();
                Some("daemons")
            }
            Victim::Shim => {
                let shims = processes::shims(&processes::containers(&host.data_root()));
                random.pick(&shims)?.kill();
                Some("shims")
            }
            Victim::Spawner => {
                host.spawner_now()?.kill();
                Some("spawners")
            }
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_any_daemon() {
    survive(&[Victim::Daemon]);
}

#[test]
fn what_was_acknowledged_outlives_daemons_shims_and_spawners() {
    use Victim::{Daemon, Shim, Spawner};
    survive(&[Daemon, Daemon, Shim, Shim, Spawner]);
}

/// How many work side by side.
const WORKERS: u32 = 3;

/// No request takes longer, whatever is killed meanwhile: its connection breaks, or it is answered.
const ANSWER: Duration = Duration::from_secs(40);

/// How long the same may be asked for again and again.
const PATIENCE: Duration = Duration::from_secs(90);

fn survive(victims: &'static [Victim]) {
    let mut host = TestHost::start();
    // These are what Dhow promises and a peer doesn't.
    if host.engine != Engine::Dhow {
        return;
    }
    let mut random = Random::seeded();
    let census = Census::begin(host.data_root());
    let workers: Vec<JoinHandle<Vec<Fact>>> = (0..WORKERS)
        .map(|number| {
            let mut worker = Worker {
                socket: host.socket(),
                number,
                random: random.split(),
                shims_are_killed: victims.contains(&Victim::Shim),
                facts: Vec::new(),
            };
            let rounds = rounds().div_ceil(WORKERS);
            std::thread::spawn(move || {
                for round in 0..rounds {
                    worker.round(round);
                }
                worker.facts
            })
        })
        .collect();
    let mut killed: BTreeMap<&str, u32> = BTreeMap::new();
    while !workers.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(5 + random.below(200)));
        let victim = random.pick(victims).expect("there is one");
        if let Some(what) = victim.kill(&mut host, &mut random) {
            *killed.entry(what).or_default() += 1;
        }
    }
    println!("killed: {killed:?}");
    let mut facts = Vec::new();
    for worker in workers {
        match worker.join() {
            Ok(known) => facts.extend(known),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    census.assert_never_two();
    for fact in &facts {
        fact.check(&host);
    }
    // All that was made is there, and nothing else.
    let there = facts.iter().filter_map(Fact::name_if_there);
    let there: BTreeSet<String> = there.map(|name| format!("/{name}")).collect();
    let mut listed = BTreeSet::new();
    dhow_tests::within(Duration::from_secs(30), || {
        let answer = host.api("GET", "/v1.45/containers/json?all=1", None).json();
        listed = answer
            .as_array()?
            .iter()
            .filter_map(|container| container["Names"][0].as_str().map(str::to_owned))
            .collect();
        (listed == there).then_some(())
    });
    let lost: Vec<_> = there.difference(&listed).collect();
    let left: Vec<_> = listed.difference(&there).collect();
    assert!(
        lost.is_empty() && left.is_empty(),
        "lost: {lost:?}, left: {left:?}"
    );
    host.sh(
        "dhow ps -aq | xargs -r dhow rm -f >/dev/null; dhow volume ls -q | xargs -r dhow volume rm",
    )
    .ok();
    eventually("no volume's directory is left", || {
        let mut volumes = std::fs::read_dir(host.data_root().join("volumes")).ok()?;
        volumes.next().is_none().then_some(())
    });
    // Processes, mounts, cgroups, links, rules and sockets are counted when the host goes.
}

/// What a client was told.
enum Fact {
    /// Who waited for it learnt this code, and saw its output if it came to its end.
    Exited {
        name: String,
        code: i64,
        done: bool,
    },
    /// A user has ended it: no policy brings it back.
    Ended {
        name: String,
    },
    Gone {
        name: String,
    },
    /// The volume has a file with this in it.
    Written {
        volume: String,
        text: String,
    },
}

impl Fact {
    fn name_if_there(&self) -> Option<&str> {
        match self {
            Fact::Exited { name, .. } | Fact::Ended { name } => Some(name),
            Fact::Gone { .. } | Fact::Written { .. } => None,
        }
    }

    #[track_caller]
    fn check(&self, host: &TestHost) {
        let inspect = |name: &str| host.api("GET", &format!("/v1.45/containers/{name}/json"), None);
        match self {
            Fact::Exited { name, code, done } => {
                let state = inspect(name).json()["State"].take();
                assert_eq!(
                    (state["Status"].as_str(), state["ExitCode"].as_i64()),
                    (Some("exited"), Some(*code)),
                    "{name}, of which a client was told that it exited with {code}: {state:#}"
                );
                if *done {
                    let logs = host.api(
                        "GET",
                        &format!("/v1.45/containers/{name}/logs?stdout=1"),
                        None,
                    );
                    assert!(logs.body.contains(name), "{name} has lost its output");
                }
            }
            Fact::Ended { name } => {
                let state = inspect(name).json()["State"].take();
                assert_eq!(
                    state["Status"], "exited",
                    "{name}, which a user has ended: {state:#}"
                );
            }
            Fact::Gone { name } => {
                // It goes after the answer where it goes by itself.
                eventually(&format!("{name} is gone"), || {
                    (inspect(name).status == 404).then_some(())
                });
            }
            Fact::Written { volume, text } => {
                let file = host
                    .data_root()
                    .join("volumes")
                    .join(volume)
                    .join("_data/file");
                let written = std::fs::read_to_string(&file).unwrap_or_default();
                assert_eq!(written.trim(), text, "the file of volume {volume}");
            }
        }
    }
}

/// A client that goes on asking until it is told.
struct Worker {
    socket: PathBuf,
    number: u32,
    random: Random,
    shims_are_killed: bool,
    facts: Vec<Fact>,
}

impl Worker {
    fn round(&mut self, round: u32) {
        let name = format!("round{}x{round}", self.number);
        match self.random.below(8) {
            0 | 1 => self.job(name),
            2 => self.job_with_volume(name),
            3 => self.service(name),
            4 => self.stopped(name),
            5 => self.killed(name),
            6 => self.removed(name),
            _ => self.removes_itself(name),
        }
    }

    fn job(&mut self, name: String) {
        let code = self.random.below(100) as i64;
        self.create(
            &name,
            json!({"Cmd": ["sh", "-c", format!("echo {name}; exit {code}")]}),
        );
        self.start(&name);
        self.exits(name, code);
    }

    fn job_with_volume(&mut self, name: String) {
        let volume = format!("of-{name}");
        self.create(
            &name,
            json!({
                "Cmd": ["sh", "-c", format!("echo {name} >/data/file; echo {name}; exit 7")],
                "HostConfig": {"Binds": [format!("{volume}:/data")]},
            }),
        );
        self.start(&name);
        if self.exits(name.clone(), 7) {
            self.facts.push(Fact::Written { volume, text: name });
        }
    }

    /// The port is the worker's own: the one before it must have let go of it.
    fn service(&mut self, name: String) {
        let port = 20_000 + self.number;
        self.create(
            &name,
            json!({
                "Cmd": ["sleep", "1000"],
                "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": port.to_string()}]}},
            }),
        );
        self.start(&name);
        self.pause();
        self.ask("POST", &format!("/containers/{name}/stop?t=0"), None);
        self.facts.push(Fact::Ended { name });
    }

    fn create_with_policy(&mut self, name: &str) {
        let policy = *self
            .random
            .pick(&["unless-stopped", "on-failure"])
            .expect("there are two");
        self.create(
            name,
            json!({
                "Cmd": ["sleep", "1000"],
                "HostConfig": {"RestartPolicy": {"Name": policy}},
            }),
        );
    }

    fn stopped(&mut self, name: String) {
        self.create_with_policy(&name);
        self.start(&name);
        self.pause();
        self.ask("POST", &format!("/containers/{name}/stop?t=0"), None);
        self.facts.push(Fact::Ended { name });
    }

    fn killed(&mut self, name: String) {
        self.create_with_policy(&name);
        self.start(&name);
        self.pause();
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("POST", &format!("/containers/{name}/kill"), None);
            if answer.status < 300 {
                break;
            }
            // One that is between two runs can't be killed; one that an unanswered kill has ended is.
            let state = self
                .ask("GET", &format!("/containers/{name}/json"), None)
                .json()["State"]
                .take();
            if state["Status"] == "exited" {
                break;
            }
            assert!(
                Instant::now() < end,
                "{name} can't be killed: {answer:?}, {state:#}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.facts.push(Fact::Ended { name });
    }

    fn removed(&mut self, name: String) {
        self.create_with_policy(&name);
        self.start(&name);
        self.pause();
        self.remove(&name);
        self.facts.push(Fact::Gone { name });
    }

    fn removes_itself(&mut self, name: String) {
        let brief = self.random.below(2) == 0;
        let command = if brief { "exit 3" } else { "exec sleep 1000" };
        self.create(
            &name,
            json!({
                "Cmd": ["sh", "-c", command],
                "HostConfig": {"AutoRemove": true},
                "Volumes": {"/data": {}},
            }),
        );
        self.start(&name);
        if !brief {
            self.pause();
            self.ask("POST", &format!("/containers/{name}/stop?t=0"), None);
        }
        self.facts.push(Fact::Gone { name });
    }

    /// Long enough for something to be killed meanwhile, now and then.
    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.below(80)));
    }

    fn create(&self, name: &str, mut body: Value) {
        body["Image"] = "busybox".into();
        let answer = self.ask(
            "POST",
            &format!("/containers/create?name={name}"),
            Some(&body),
        );
        // An attempt that was not answered may have made it.
        assert!(
            [201, 409].contains(&answer.status),
            "{name} can't be made: {answer:?}"
        );
    }

    fn start(&self, name: &str) {
        let answer = self.ask("POST", &format!("/containers/{name}/start"), None);
        // One of `--rm` that an unanswered attempt has started may be gone by now, or going.
        assert!(
            [204, 304, 404, 409].contains(&answer.status),
            "{name} can't be started: {answer:?}"
        );
    }

    /// Waits for its end; whether it came to it by itself.
    fn exits(&mut self, name: String, wanted: i64) -> bool {
        let answer = self
            .ask("POST", &format!("/containers/{name}/wait"), None)
            .json();
        let code = answer["StatusCode"].as_i64().unwrap_or(-1);
        let done = code == wanted;
        assert!(
            done || self.shims_are_killed && code == 137,
            "{name} exited with {code} and not with {wanted}: {answer:#}"
        );
        self.facts.push(Fact::Exited { name, code, done });
        done
    }

    fn remove(&self, name: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("DELETE", &format!("/containers/{name}?force=1&v=1"), None);
            if [204, 404].contains(&answer.status) {
                return;
            }
            assert!(Instant::now() < end, "{name} can't be removed: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks again until an answer comes that is none of the daemon's own troubles.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let path = format!("/v1.45{path}");
        let end = Instant::now() + PATIENCE * dhow_tests::patience();
        loop {
            let last = match http::request(&self.socket, method, &path, body, ANSWER) {
                Ok(answer) if (1..500).contains(&answer.status) && answer.is_whole() => {
                    return answer;
                }
                Ok(answer) => format!("{answer:?}"),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("{method} {path} was not answered within {ANSWER:?}")
                }
                Err(e) => e.to_string(),
            };
            assert!(
                Instant::now() < end,
                "{method} {path} doesn't come to an end: {last}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
