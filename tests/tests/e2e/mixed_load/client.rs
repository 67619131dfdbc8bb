//! One of the clients: goes on asking until it is told, and looks after a while whether it is still so.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dhow_tests::http::Exchange;
use dhow_tests::{Answer, Random};
use serde_json::{Value, json};

use super::SMALL;
use super::kept::Kept;

/// No request takes longer, whatever is killed meanwhile: its connection breaks, or it is answered.
const ANSWER: Duration = Duration::from_secs(90);

/// How long the same may be asked for again and again.
const PATIENCE: Duration = Duration::from_secs(240);

/// So many things are kept by a client.
const MOST: usize = 6;

/// What the image in a client's archive is called.
pub fn archived(number: u32) -> String {
    format!("c{number}loaded:latest")
}

pub struct Client {
    pub asks: Asks,
    pub kept: VecDeque<Kept>,
    /// How many there were of each kind.
    pub lives: BTreeMap<&'static str, u32>,
    number: u32,
    random: Random,
    archive: Vec<u8>,
    count: u32,
}

impl Client {
    pub fn new(socket: PathBuf, number: u32, random: Random, archive: Vec<u8>) -> Client {
        Client {
            asks: Asks {
                socket,
                troubles: RefCell::default(),
            },
            kept: VecDeque::new(),
            lives: BTreeMap::new(),
            number,
            random,
            archive,
            count: 0,
        }
    }

    /// Something is made and used, and kept or removed.
    pub fn life(&mut self) {
        self.count += 1;
        let name = format!("c{}n{}", self.number, self.count);
        type Life = fn(&mut Client, String) -> Option<Kept>;
        let lives: [(&'static str, Life); 12] = [
            ("job", Client::job),
            ("exec", Client::exec),
            ("paused", Client::paused),
            ("killed", Client::killed),
            ("service", Client::service),
            ("copy", Client::copy),
            ("commit", Client::commit),
            ("volume", Client::volume),
            ("pull", Client::pull),
            ("load", Client::load),
            ("prune", Client::prune),
            ("look", Client::look),
        ];
        let (kind, life) = *self.random.pick(&lives).expect("there are some");
        *self.lives.entry(kind).or_default() += 1;
        if let Some(kept) = life(self, name) {
            self.kept.push_back(kept);
        }
        if self.kept.len() > MOST
            && let Some(oldest) = self.kept.pop_front()
        {
            oldest.check(&self.asks);
            oldest.remove(&self.asks);
        }
    }

    /// Long enough for something to be killed meanwhile, now and then.
    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.below(200)));
    }

    fn sleeper(&mut self, name: &str, policy: &str) {
        self.asks.create(
            name,
            json!({"Cmd": ["sleep", "1000"], "HostConfig": {"RestartPolicy": {"Name": policy}}}),
        );
        self.asks.start(name);
    }

    fn job(&mut self, name: String) -> Option<Kept> {
        let wanted = self.random.below(100) as i64;
        let script = format!("echo {name}; exit {wanted}");
        self.asks
            .create(&name, json!({"Cmd": ["sh", "-c", script]}));
        self.asks.start(&name);
        let answer = self
            .asks
            .ask("POST", &format!("/containers/{name}/wait"), None);
        let answer = answer.json();
        let code = answer["StatusCode"].as_i64().unwrap_or(-1);
        let says = code == wanted;
        assert!(
            says || code == 137,
            "{name} exited with {code} and not with {wanted}: {answer:#}"
        );
        Some(Kept::Exited { name, code, says })
    }

    fn exec(&mut self, name: String) -> Option<Kept> {
        self.sleeper(&name, "no");
        let gone = Some(Kept::Ended { name: name.clone() });
        let body = json!({"Cmd": ["sh", "-c", format!("echo {name} >>/note")]});
        let made = self
            .asks
            .ask("POST", &format!("/containers/{name}/exec"), Some(&body));
        // Its shim may have been killed by now, and with it the container.
        if made.status == 409 {
            return gone;
        }
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["Id"].as_str().unwrap_or_default().to_owned();
        let begun = json!({"Detach": true});
        let begun = self
            .asks
            .ask("POST", &format!("/exec/{id}/start"), Some(&begun));
        assert!([200, 404, 409].contains(&begun.status), "{begun:?}");
        let end = Instant::now() + PATIENCE;
        let code = loop {
            let exec = self.asks.ask("GET", &format!("/exec/{id}/json"), None);
            // A daemon knows only its own.
            if exec.status == 404 {
                break None;
            }
            let exec = exec.json();
            if exec["Running"] == false {
                break exec["ExitCode"].as_i64();
            }
            assert!(Instant::now() < end, "{exec:#} doesn't end");
            std::thread::sleep(Duration::from_millis(50));
        };
        self.asks.stop(&name);
        match code {
            Some(0) => Some(Kept::File {
                container: name.clone(),
                text: name,
            }),
            _ => gone,
        }
    }

    fn paused(&mut self, name: String) -> Option<Kept> {
        self.sleeper(&name, "no");
        for action in ["pause", "unpause"] {
            let answer = self
                .asks
                .ask("POST", &format!("/containers/{name}/{action}"), None);
            // Done already by an attempt that was not answered, or not running any more.
            assert!([204, 409].contains(&answer.status), "{action}: {answer:?}");
            self.pause();
        }
        self.asks.stop(&name);
        Some(Kept::Ended { name })
    }

    fn killed(&mut self, name: String) -> Option<Kept> {
        self.sleeper(&name, "on-failure");
        self.pause();
        let end = Instant::now() + PATIENCE;
        loop {
            let killed = self
                .asks
                .ask("POST", &format!("/containers/{name}/kill"), None);
            // One between two runs can't be killed; one that an unanswered kill has ended is.
            if killed.status == 204 || self.asks.state(&name)["Status"] == "exited" {
                break;
            }
            assert!(Instant::now() < end, "{name} can't be killed: {killed:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        // A kill that was answered precedes the end.
        dhow_tests::within(Duration::from_secs(60), || {
            (self.asks.state(&name)["Status"] == "exited").then_some(())
        });
        Some(Kept::Ended { name })
    }

    fn service(&mut self, name: String) -> Option<Kept> {
        self.sleeper(&name, "always");
        self.pause();
        let renamed = format!("{name}renamed");
        let path = format!("/containers/{name}/rename?name={renamed}");
        let answer = self.asks.ask("POST", &path, None);
        assert!([204, 404].contains(&answer.status), "{answer:?}");
        Some(Kept::Serves { name: renamed })
    }

    /// A container with a file that was copied into it.
    fn with_file(&mut self, name: &str) {
        let running = self.random.below(2) == 0;
        self.asks.create(name, json!({"Cmd": ["sleep", "1000"]}));
        if running {
            self.asks.start(name);
        }
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(name.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, "note", name.as_bytes())
            .unwrap();
        let archive = archive.into_inner().unwrap();
        let path = format!("/containers/{name}/archive?path=/");
        let answer = self
            .asks
            .ask_with("PUT", &path, ("application/x-tar", &archive));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn copy(&mut self, name: String) -> Option<Kept> {
        self.with_file(&name);
        Some(Kept::File {
            container: name.clone(),
            text: name,
        })
    }

    fn commit(&mut self, name: String) -> Option<Kept> {
        self.with_file(&name);
        let image = format!("{name}:latest");
        let path = format!("/commit?container={name}&repo={name}&tag=latest");
        let answer = self.asks.ask("POST", &path, Some(&json!({})));
        assert_eq!(answer.status, 201, "{answer:?}");
        self.asks.remove(&format!("/containers/{name}?force=1"));
        Some(Kept::Committed {
            name: image,
            text: name,
        })
    }

    fn volume(&mut self, name: String) -> Option<Kept> {
        let body = json!({"Name": name, "Labels": {"of": "load"}});
        let answer = self.asks.ask("POST", "/volumes/create", Some(&body));
        assert_eq!(answer.status, 201, "{answer:?}");
        let job = format!("{name}job");
        self.asks.create(
            &job,
            json!({"Cmd": ["true"], "HostConfig": {"Binds": [format!("{name}:/data")]}}),
        );
        self.asks.start(&job);
        self.asks.remove(&format!("/containers/{job}?force=1&v=1"));
        if self.random.below(3) == 0 {
            self.asks.remove(&format!("/volumes/{name}"));
            return None;
        }
        Some(Kept::Volume { name })
    }

    fn pull(&mut self, name: String) -> Option<Kept> {
        let small = format!("small{}", self.random.below(SMALL.into()));
        let end = Instant::now() + PATIENCE;
        loop {
            let path = format!("/images/create?fromImage={small}&tag=latest");
            let pulled = self.asks.ask("POST", &path, None);
            assert_eq!(pulled.status, 200, "{pulled:?}");
            let path = format!("/images/{small}/tag?repo={name}&tag=latest");
            let tagged = self.asks.ask("POST", &path, None);
            if tagged.status == 201 {
                break;
            }
            // Another has removed it in between, or the pull was cut off.
            assert_eq!(tagged.status, 404, "{tagged:?}");
            assert!(Instant::now() < end, "{small} can't be had: {pulled:?}");
        }
        if self.random.below(2) == 0 {
            let path = format!("/images/{small}?noprune=0");
            let answer = self.asks.ask("DELETE", &path, None);
            assert!([200, 404, 409].contains(&answer.status), "{answer:?}");
        }
        Some(Kept::Image {
            name: format!("{name}:latest"),
        })
    }

    fn load(&mut self, name: String) -> Option<Kept> {
        let loaded = archived(self.number);
        let body = ("application/x-tar", &self.archive[..]);
        let path = format!("/images/{loaded}/tag?repo={name}&tag=latest");
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.asks.ask_with("POST", "/images/load", body);
            assert_eq!(answer.status, 200, "{answer:?}");
            let tagged = self.asks.ask("POST", &path, None);
            if tagged.status == 201 {
                break;
            }
            // A load that was cut off says so at its end.
            assert_eq!(tagged.status, 404, "{tagged:?}");
            assert!(Instant::now() < end, "it can't be loaded: {answer:?}");
        }
        self.asks.remove(&format!("/images/{loaded}"));
        Some(Kept::Image {
            name: format!("{name}:latest"),
        })
    }

    /// Takes what has its label, and nothing else.
    fn prune(&mut self, name: String) -> Option<Kept> {
        let mut body = json!({"Cmd": ["true"]});
        body["Labels"] = json!({"prune": name});
        self.asks.create(&name, body);
        let filters = format!("%7B%22label%22%3A%5B%22prune%3D{name}%22%5D%7D");
        let path = format!("/containers/prune?filters={filters}");
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.asks.ask("POST", &path, None);
            // One prune at a time.
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 409, "{answer:?}");
            assert!(Instant::now() < end, "{answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let gone = self
            .asks
            .ask("GET", &format!("/containers/{name}/json"), None);
        assert_eq!(gone.status, 404, "{name} was pruned: {gone:?}");
        None
    }

    fn look(&mut self, _: String) -> Option<Kept> {
        for path in [
            "/containers/json?all=1&size=1",
            "/images/json?all=1",
            "/volumes",
            "/system/df",
            "/info",
        ] {
            self.asks.get(path, 200);
        }
        // A stream: there is no telling whether it is whole.
        let _ = Exchange::begin(
            &self.asks.socket,
            "GET",
            "/events?since=1&until=2",
            None,
            ANSWER,
        )
        .and_then(Exchange::answer);
        None
    }
}

/// Requests, each asked again until an answer comes that is none of the daemon's own troubles.
pub struct Asks {
    socket: PathBuf,
    /// What it was told instead, and how often.
    pub troubles: RefCell<BTreeMap<String, u32>>,
}

impl Asks {
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.ask_with(method, path, ("application/json", body.as_bytes()))
    }

    pub fn ask_with(&self, method: &str, path: &str, body: (&str, &[u8])) -> Answer {
        let path = format!("/v1.45{path}");
        let end = Instant::now() + PATIENCE * dhow_tests::patience();
        loop {
            let begun = Exchange::begin_with(&self.socket, method, &path, body, ANSWER);
            let last = match begun.and_then(Exchange::answer) {
                Ok(answer) if (1..500).contains(&answer.status) && answer.is_whole() => {
                    return answer;
                }
                Ok(answer) if answer.status >= 500 => {
                    let trouble = answer.body.replace(|c: char| c.is_ascii_digit(), "0");
                    let count = &mut *self.troubles.borrow_mut();
                    *count.entry(trouble).or_default() += 1;
                    format!("{answer:?}")
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

    #[track_caller]
    pub fn get(&self, path: &str, status: u16) -> String {
        let answer = self.ask("GET", path, None);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.body
    }

    /// Whether a stream has this text. It may be cut off, and is asked for again.
    pub fn streams(&self, path: &str, text: &str) -> bool {
        let found = dhow_tests::within(Duration::from_secs(60), || {
            self.get(path, 200).contains(text).then_some(())
        });
        found.is_some()
    }

    #[track_caller]
    pub fn state(&self, name: &str) -> Value {
        let container = self.get(&format!("/containers/{name}/json"), 200);
        let mut container: Value = serde_json::from_str(&container).unwrap_or_default();
        container["State"].take()
    }

    #[track_caller]
    pub fn create(&self, name: &str, mut body: Value) {
        if body["Image"].is_null() {
            body["Image"] = "busybox".into();
        }
        let path = format!("/containers/create?name={name}");
        let answer = self.ask("POST", &path, Some(&body));
        // An attempt that was not answered may have made it.
        assert!(
            [201, 409].contains(&answer.status),
            "{name} can't be made: {answer:?}"
        );
    }

    #[track_caller]
    pub fn start(&self, name: &str) {
        let answer = self.ask("POST", &format!("/containers/{name}/start"), None);
        assert!(
            [204, 304].contains(&answer.status),
            "{name} can't be started: {answer:?}"
        );
    }

    #[track_caller]
    pub fn stop(&self, name: &str) {
        let answer = self.ask("POST", &format!("/containers/{name}/stop?t=0"), None);
        assert!(
            [204, 304].contains(&answer.status),
            "{name} can't be stopped: {answer:?}"
        );
    }

    #[track_caller]
    pub fn remove(&self, path: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("DELETE", path, None);
            if [200, 204, 404].contains(&answer.status) {
                return;
            }
            assert!(Instant::now() < end, "{path} can't be removed: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
