//! Every operation that the Engine API's published descriptions have is called, in the oldest version that has one, one
//! in the middle and the newest, and each answer is held against the description.

mod calls;
mod description;

use std::collections::BTreeSet;

use dhow_tests::{Answer, Engine, TestHost};
use serde_json::{Value, json};

use description::{Description, OLDEST};
pub use description::{NEWEST, published};

/// Calls operations, and remembers which, and what was wrong.
struct Session {
    host: TestHost,
    version: &'static str,
    description: Description,
    called: BTreeSet<String>,
    wrong: Vec<String>,
}

/// What is refused with a sentence until it is there.
const NOT_YET: &[&str] = &["GET /images/search", "POST /build", "POST /session"];

impl Session {
    fn begin(version: &'static str) -> Session {
        Session {
            host: TestHost::start(),
            version,
            description: Description::of(version),
            called: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    /// Whether this version has an operation.
    fn has(&self, operation: &str) -> bool {
        self.description.operations().contains_key(operation)
    }

    /// Calls an operation and expects this status. One that the version hasn't is not called.
    fn call(&mut self, operation: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        if !self.has(operation) {
            return Value::Null;
        }
        let method = operation.split(' ').next().unwrap_or_default();
        let path = format!("/v{}{path}", self.version);
        let answer = self.host.api(method, &path, body.as_ref());
        self.hold(operation, &answer, status)
    }

    fn get(&mut self, operation: &str, path: &str) -> Value {
        self.call(&format!("GET {operation}"), path, None, 200)
    }

    fn hold(&mut self, operation: &str, answer: &Answer, status: u16) -> Value {
        self.called.insert(operation.to_owned());
        if answer.status != status {
            self.wrong.push(format!(
                "{operation}: {} where {status} was expected: {}",
                answer.status, answer.body
            ));
        } else if !operation.starts_with("HEAD ")
            && let Some(wrong) = self.description.check(operation, status, &answer.body)
        {
            self.wrong.push(format!("{operation}: {wrong}"));
        }
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    /// Calls what has an archive for its body, or needs headers of its own, and looks at the status alone.
    fn curl(&mut self, operation: &str, path: &str, arguments: &str, status: u16) {
        if !self.has(operation) {
            return;
        }
        let method = operation.split(' ').next().unwrap_or_default();
        let socket = self.host.socket();
        let answered = self.host.sh(&format!(
            "curl -s -o /dev/null -w '%{{http_code}}' --max-time 60 -X {method} --unix-socket {} {arguments} 'http://d/v{}{path}'",
            socket.display(),
            self.version
        ));
        self.called.insert(operation.to_owned());
        // An upgraded connection is not curl's to end.
        let code = answered.stdout.trim().to_owned();
        if code != status.to_string() {
            self.wrong
                .push(format!("{operation}: {code} where {status} was expected"));
        }
    }

    /// What a version has and nobody called: parts that this engine hasn't, which answer as they do where nothing is of the
    /// kind.
    fn call_the_rest(&mut self) {
        let rest: Vec<(String, String)> = self
            .description
            .operations()
            .iter()
            .filter(|(name, _)| !self.called.contains(*name))
            .map(|(name, operation)| (name.clone(), operation.tag.clone()))
            .collect();
        for (name, tag) in rest {
            let (method, path) = name.split_once(' ').unwrap_or_default();
            if NOT_YET.contains(&name.as_str()) {
                let path = path.replace("{id}", "nosuch").replace("{name}", "nosuch");
                let path = format!("/v{}{path}", self.version);
                let answer = self.host.api(method, &path, Some(&json!({})));
                self.called.insert(name.clone());
                let refused = matches!(answer.status, 404 | 501) && message(&answer).is_some();
                if self.host.engine == Engine::Dhow && !refused {
                    self.wrong
                        .push(format!("{name}: {}: {}", answer.status, answer.body));
                }
                continue;
            }
            let none_here = [
                "Swarm", "Node", "Service", "Task", "Secret", "Config", "Plugin",
            ];
            if !none_here.contains(&tag.as_str()) {
                self.wrong.push(format!("{name} is not called"));
                continue;
            }
            let path = path.replace("{id}", "nosuch").replace("{name}", "nosuch");
            let query = match name.as_str() {
                "GET /plugins/privileges"
                | "POST /plugins/pull"
                | "POST /plugins/{name}/upgrade" => "?remote=127.0.0.1:1/nosuch",
                "POST /plugins/create" => "?name=nosuch",
                _ => "",
            };
            let path = format!("/v{}{path}{query}", self.version);
            let body = (method == "POST").then(|| json!({}));
            let answer = self.host.api(method, &path, body.as_ref());
            self.called.insert(name.clone());
            let described = self.description.operations()[&name].may_answer(answer.status);
            let refused = answer.status >= 400 && message(&answer).is_some();
            if self.host.engine == Engine::Dhow && !refused && !(described && answer.status < 300) {
                self.wrong
                    .push(format!("{name}: {}: {}", answer.status, answer.body));
            }
        }
    }

    fn end(mut self) {
        self.call_the_rest();
        assert!(
            self.wrong.is_empty(),
            "of version {}:\n{}",
            self.version,
            self.wrong.join("\n")
        );
        println!("{}: {} operations", self.version, self.called.len());
    }
}

/// The sentence of a refusal by a route that knows what it refuses.
fn message(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    let sentence = body["message"].as_str()?;
    (sentence != "page not found").then(|| sentence.to_owned())
}

fn keeps_to(version: &'static str) {
    let mut session = Session::begin(version);
    calls::system(&mut session);
    calls::images(&mut session);
    calls::containers(&mut session);
    calls::execs(&mut session);
    calls::volumes_and_networks(&mut session);
    calls::not_there(&mut session);
    calls::removals(&mut session);
    session.end();
}

#[test]
fn oldest() {
    keeps_to(OLDEST);
}

#[test]
fn middle() {
    keeps_to("1.41");
}

#[test]
fn newest() {
    keeps_to(NEWEST);
}
