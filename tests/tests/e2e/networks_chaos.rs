//! Networks, and containers on them, made, joined, left and removed at full speed while the daemon is killed at random: no
//! address is anybody's twice, what was acknowledged is so, and nothing is left. `DHOW_TEST_SEED` repeats a row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dhow_tests::{Answer, Engine, Random, TestHost, http, rounds};
use serde_json::{Value, json};

/// No request takes longer: its connection breaks, or it is answered.
const ANSWER: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(90);
const WORKERS: u32 = 3;

struct Worker {
    socket: PathBuf,
    number: u32,
    random: Random,
}

impl Worker {
    /// Asks until there is an answer: an error too, if it is one that says so.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let end = Instant::now() + PATIENCE;
        loop {
            let path = format!("/v1.45{path}");
            match http::request(&self.socket, method, &path, body, ANSWER) {
                Ok(answer) => return answer,
                Err(error) => assert!(Instant::now() < end, "{method} {path}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn expect(&self, method: &str, path: &str, body: Option<&Value>, fine: &[u16]) {
        let answer = self.ask(method, path, body);
        assert!(fine.contains(&answer.status), "{method} {path}: {answer:?}");
    }

    /// What an unanswered request has done is as good as if it had been answered: hence the second codes.
    fn round(&mut self, round: u32) {
        let (own, name) = (
            format!("net{}x{round}", self.number),
            format!("box{}x{round}", self.number),
        );
        self.expect(
            "POST",
            "/networks/create",
            Some(&json!({ "Name": own })),
            &[201, 409],
        );
        let stays = self.random.below(3) == 0;
        // The port is the worker's own: the one before it must have let go of it.
        let port = (21_000 + self.number).to_string();
        let ports = match stays {
            true => json!({}),
            false => json!({ "80/tcp": [{ "HostPort": port }] }),
        };
        let create = json!({
            "Image": "busybox", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL",
            "ExposedPorts": { "80/tcp": {} },
            "HostConfig": { "NetworkMode": "shared", "PortBindings": ports },
        });
        let path = format!("/containers/create?name={name}");
        self.expect("POST", &path, Some(&create), &[201, 409]);
        let path = format!("/containers/{name}/start");
        self.expect("POST", &path, None, &[204, 304]);
        let body = json!({ "Container": name });
        for _ in 0..self.random.below(3) {
            // It may be there already, or be there no more.
            let path = format!("/networks/{own}/connect");
            self.expect("POST", &path, Some(&body), &[200, 403]);
            let shown = self.ask("GET", &format!("/containers/{name}/json"), None);
            let shown = shown.json()["NetworkSettings"]["Networks"][&own].take();
            assert_ne!(shown["IPAddress"], "", "{name}");
            let leaves = match self.random.below(2) {
                0 => own.as_str(),
                _ => "shared",
            };
            let path = format!("/networks/{leaves}/disconnect");
            self.expect("POST", &path, Some(&body), &[200, 403]);
            let path = format!("/networks/{leaves}/connect");
            self.expect("POST", &path, Some(&body), &[200, 403]);
        }
        if stays {
            return;
        }
        let path = format!("/containers/{name}?force=1");
        self.expect("DELETE", &path, None, &[204, 404]);
        self.expect("DELETE", &format!("/networks/{own}"), None, &[204, 404]);
    }
}

#[test]
fn networks_outlive_any_daemon() {
    let mut host = TestHost::start();
    // This is what Dhow promises and a peer doesn't.
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("docker network create shared").ok();
    let mut random = Random::seeded();
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let mut worker = Worker {
                socket: host.socket(),
                number,
                random: random.split(),
            };
            let rounds = rounds().div_ceil(WORKERS);
            std::thread::spawn(move || {
                for round in 0..rounds {
                    worker.round(round);
                }
            })
        })
        .collect();
    let mut killed = 0;
    while !workers.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(50 + random.below(300)));
        host.kill_daemon();
        host.start_daemon();
        killed += 1;
    }
    println!("killed {killed} times");
    for worker in workers {
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
    }
    // All that run have addresses of their own.
    let mut holders: BTreeMap<String, String> = BTreeMap::new();
    let list = host.api("GET", "/v1.45/containers/json", None).json();
    for container in list.as_array().into_iter().flatten() {
        let networks = container["NetworkSettings"]["Networks"].as_object();
        for (_, endpoint) in networks.into_iter().flatten() {
            let ip = endpoint["IPAddress"].as_str().unwrap_or_default();
            let name = container["Names"][0].as_str().unwrap_or_default();
            let before = holders.insert(ip.to_owned(), name.to_owned());
            assert!(before.is_none(), "{ip} is {before:?}'s and {name}'s");
        }
    }
    let log = host.daemon_log();
    assert!(!log.contains("ERROR"), "{log}");
}
