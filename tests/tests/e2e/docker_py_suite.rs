//! docker-py's own integration tests, a module each beside the others. Those that may fail, and why, are the table in
//! `docs/conformance.md`: a test that fails and isn't there is a failure here, and so is one that is there and passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dhow_tests::image::{self, Image, Layer};
use dhow_tests::{Engine, HostOptions, TestHost};
use serde_json::json;

/// Where `cargo xtask` has put the suite.
fn suite() -> PathBuf {
    std::env::var_os("DHOW_DOCKER_PY_SUITE").map_or_else(
        || {
            let home = std::env::var("HOME").unwrap_or_default();
            Path::new(&home).join(".cache/dhow/suites/docker-6.1.3")
        },
        PathBuf::from,
    )
}

/// What stands for the `alpine` that the tests pull: the user and the directory that they name are in that.
fn alpine() -> Image {
    let mut layer = Layer::default();
    let whole = "the archive is in memory";
    layer.directory("var/opt", 0o755).expect(whole);
    layer
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n",
        )
        .expect(whole);
    image::busybox_with(layer)
}

/// With a layer that no other image has.
fn hello_world() -> Image {
    let config = json!({ "Cmd": ["cat", "/hello"], "Env": ["PATH=/bin"] });
    let mut layer = Layer::default();
    let layer = layer
        .file("hello", 0o644, b"Hello from Docker!\n")
        .and_then(|()| layer.finish())
        .expect("the archive is in memory");
    Image::new(&[image::busybox_layer_tar(), layer], config)
}

/// The table's rows for an engine: which tests don't pass there, and why.
fn known(engine: Engine) -> BTreeMap<String, String> {
    let table = include_str!("../../../docs/conformance.md");
    let column = match engine {
        Engine::Dhow => 2,
        Engine::Dockerd => 3,
    };
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let fails = cells.get(column).is_some_and(|cell| *cell == "fails");
        fails.then(|| (cells[1].trim_matches('`').to_owned(), cells[4].to_owned()))
    })
    .collect()
}

/// What became of each test, by `Class::name`: nothing, or the first line of how it failed.
fn results(report: &str) -> BTreeMap<String, Option<String>> {
    let attribute = |text: &str, name: &str| -> String {
        let found = text
            .split_once(&format!(" {name}=\""))
            .map(|(_, rest)| rest);
        found
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default()
            .to_owned()
    };
    let cases = report.split("<testcase ").skip(1);
    cases
        .map(|case| {
            let case = case.split("</testcase>").next().unwrap_or(case);
            let head = format!(" {}", case.split('>').next().unwrap_or_default());
            let class = attribute(&head, "classname");
            let class = class.rsplit('.').next().unwrap_or_default();
            let failed = ["<failure", "<error"]
                .iter()
                .find_map(|tag| Some(attribute(case.split_once(tag)?.1, "message")));
            (format!("{class}::{}", attribute(&head, "name")), failed)
        })
        .collect()
}

/// Runs these modules, which have so many tests, on a host of their own.
fn passes(tests: usize, modules: &[&str]) {
    let host = TestHost::with(HostOptions::default());
    host.push_image(&alpine(), "library/alpine:latest");
    host.push_image(&alpine(), "library/alpine:3.10");
    host.push_image(&hello_world(), "library/hello-world:latest");
    // Its conftest pulls what nearly all of them want; some want the others without pulling them.
    host.sh("docker pull -q alpine && docker pull -q hello-world")
        .ok();
    let python = std::env::var("DHOW_PYTHON").unwrap_or_else(|_| {
        let home = std::env::var("HOME").unwrap_or_default();
        format!("{home}/.cache/dhow/venv/docker-py/bin/python3")
    });
    let files: Vec<String> = modules
        .iter()
        .map(|module| format!("tests/integration/{module}"))
        .collect();
    // The library loses output that comes together with an answer's head, from any daemon: the more often the busier the machine.
    // Some of the tests take the host out of the environment: they find it where Docker's socket is by default.
    let script = format!(
        "mount --bind {dir} /mnt && mount -t tmpfs tmpfs /run && ln -s /mnt/s /run/docker.sock && unset DOCKER_HOST DOCKER_CONFIG && export HOME=/mnt/home && cd {suite} && exec {python} -B -m pytest -q --timeout 120 --reruns 5 --only-rerun AssertionError -p no:cacheprovider -k '{parts}' --junitxml=/mnt/report.xml {files}",
        dir = host.dir().display(),
        suite = suite().display(),
        parts =
            "not swarm and not service and not node and not secret and not config and not plugin",
        files = files.join(" "),
    );
    std::fs::write(host.path("suite.sh"), &script).expect("/tmp is writable");
    let finished = host.sh_within(Duration::from_secs(600), "unshare --mount sh suite.sh");
    let report = std::fs::read_to_string(host.path("report.xml")).unwrap_or_default();
    let results = results(&report);
    assert_eq!(results.len(), tests, "{finished:?}");
    let known = known(host.engine);
    let passed = results.values().filter(|failed| failed.is_none()).count();
    println!("docker-py {modules:?}: {passed} of {} pass", results.len());
    let wrong: Vec<String> = results
        .iter()
        .filter_map(|(test, failed)| match (failed, known.get(test)) {
            (Some(message), None) => Some(format!("{test} fails: {message}")),
            (None, Some(why)) => Some(format!("{test} passes, though the table says: {why}")),
            _ => None,
        })
        .collect();
    // Its tests leave containers and images behind.
    host.sh("docker ps -aq | xargs -r docker rm -fv; docker volume prune -af")
        .ok();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn containers() {
    passes(81, &["api_container_test.py"]);
}

#[test]
fn execs_and_health() {
    passes(24, &["api_exec_test.py", "api_healthcheck_test.py"]);
}

#[test]
fn images_and_volumes() {
    passes(27, &["api_image_test.py", "api_volume_test.py"]);
}

#[test]
fn networks_and_builds() {
    passes(
        56,
        &[
            "api_network_test.py",
            "models_networks_test.py",
            "api_build_test.py",
        ],
    );
}

#[test]
fn models() {
    passes(
        54,
        &[
            "models_containers_test.py",
            "models_images_test.py",
            "models_volumes_test.py",
            "models_resources_test.py",
        ],
    );
}

#[test]
fn everything_else() {
    passes(
        20,
        &[
            "api_client_test.py",
            "client_test.py",
            "context_api_test.py",
            "errors_test.py",
            "regression_test.py",
        ],
    );
}
