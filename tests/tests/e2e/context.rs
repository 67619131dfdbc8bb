//! Contexts: Docker's client and ours read each other's, and say the same of them.

use dhow_tests::{Finished, HostOptions, TestHost};
use serde_json::{Value, json};

/// Runs one command line with each client, which have a configuration each. What can be seen differs, or not.
/// `{}` is the client.
fn difference(host: &TestHost, line: &str) -> Option<String> {
    let run = |client: &str| {
        let line = line.replace("{}", client);
        let config = host.path(client);
        let mut done = host.sh(&format!(
            "unset DOCKER_HOST; export DOCKER_CONFIG={}; {line}",
            config.display()
        ));
        for text in [&mut done.stdout, &mut done.stderr] {
            *text = text
                .replace(&config.display().to_string(), "CONFIG")
                .replace("docker:", "dhow:")
                .replace("docker context", "dhow context")
                // Which socket there is by default is each one's own, and how wide it is.
                .replace("unix:///var/run/docker.sock", "unix:///run/dhow.sock");
            while text.contains("    ") {
                *text = text.replace("    ", "   ");
            }
        }
        done
    };
    let (theirs, ours) = (run("docker"), run("dhow"));
    let seen = |done: &Finished| (done.code, done.stdout.clone(), done.stderr.clone());
    (seen(&ours) != seen(&theirs)).then(|| {
        format!(
            "{line}\nours:   {:?}\ntheirs: {:?}",
            seen(&ours),
            seen(&theirs)
        )
    })
}

#[test]
fn commands_say_what_dockers_say() {
    let host = TestHost::empty();
    host.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -keyout key -out pem; printf junk > junk; mkdir docker dhow")
        .ok();
    let lines = [
        "{} context show",
        "{} context ls",
        "{} context ls -q",
        "{} context create one --docker host=tcp://127.0.0.1:1,ca=pem,skip-tls-verify=true --description 'the first'",
        "{} context create one --docker host=tcp://127.0.0.1:1",
        "{} context create two --docker host=ssh://me@box",
        "{} context create a",
        "{} context create default",
        "{} context create 'b d'",
        "{} context create bad --docker foo=bar",
        "{} context create bad --docker host",
        "{} context create bad --docker host=tcp://127.0.0.1:1,skip-tls-verify=maybe",
        "{} context create bad --docker host=tcp://127.0.0.1:1,ca=/not/there",
        "{} context create bad --docker host=tcp://127.0.0.1:1,ca=junk",
        "{} context create bad --docker host=tcp://127.0.0.1:1,cert=pem,key=junk",
        "{} context create bad --docker from=nope",
        "{} context create bad --from nope",
        "{} context create bad --from one --docker host=tcp://127.0.0.1:1",
        "{} context create like1 --from one",
        "{} context create like10 --from one --description tenth",
        "{} context create like2 --docker from=one",
        "{} context create own --docker ca=pem",
        "{} context ls",
        "{} context ls --format json",
        "{} context ls --format '{{.Name}} {{.Current}} {{if .Current}}*{{end}}{{.DockerEndpoint}} {{.Error}}{{.Description}}'",
        "{} context ls --format 'table {{.Name}}\\t{{.DockerEndpoint}}'",
        "{} context inspect one two nope",
        "{} context inspect -f '{{.Name}} {{.Endpoints.docker.Host}} {{.TLSMaterial}} {{.Storage.TLSPath}}' one",
        "{} context inspect --format json one",
        "{} context use nope",
        "{} context use one",
        "{} context show",
        "{} context ls",
        "{} context inspect -f '{{.Name}}'",
        "DOCKER_CONTEXT=two {} context show",
        "DOCKER_HOST=tcp://127.0.0.1:1 {} context show",
        "DOCKER_HOST=tcp://127.0.0.1:1 DOCKER_CONTEXT=two {} context ls",
        "DOCKER_HOST=tcp://127.0.0.1:1 {} context use two",
        "{} -c like1 context show",
        "{} -c like1 context ls -q",
        "{} -H tcp://127.0.0.1:3 context ls",
        "{} -H tcp://127.0.0.1:3 context show",
        "{} -c one -H tcp://127.0.0.1:3 ps",
        "{} -H tcp://127.0.0.1:3 -H tcp://127.0.0.1:4 ps",
        "{} -c nope ps",
        "DOCKER_CONTEXT=nope {} ps",
        "DOCKER_CONTEXT=nope {} context ls",
        "DOCKER_CONTEXT=nope {} version",
        "{} context rm like1 two nope default",
        "{} context rm -f two nope",
        "{} context show",
        "{} context use default",
        "{} context update like2 --description second",
        "{} context update like2 --docker host=tcp://127.0.0.1:7,cert=pem",
        "{} context update like2",
        "{} context update nope",
        "{} context update default",
        "{} context inspect like2 own",
        "cd $DOCKER_CONFIG; {} context export one",
        "cd $DOCKER_CONFIG; {} context export one",
        "cd $DOCKER_CONFIG; {} context export one file",
        "{} context export nope",
        "{} context import one $DOCKER_CONFIG/file",
        "{} context import three $DOCKER_CONFIG/file",
        "{} context import four - < $DOCKER_CONFIG/file",
        "{} context import five /not/there",
        "{} context import a $DOCKER_CONFIG/file",
        "{} context inspect three four",
        "{} context rm one three",
        "{} context ls",
        "find $DOCKER_CONFIG/contexts -mindepth 1 -printf '%M %P\\n' | sort",
        "{} context show x",
        "{} context rm",
        "{} context nope",
        "{} context ls --nope",
    ];
    let differences: Vec<String> = lines
        .iter()
        .filter_map(|line| difference(&host, line))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    // Here Docker says "unexpected EOF".
    let junk = host.sh("dhow context import five junk");
    assert!(!junk.fails(1).is_empty());
    assert!(!host.sh("dhow context ls -q").ok().contains("five"));
}

#[test]
fn each_client_uses_what_the_other_made() {
    let host = TestHost::empty();
    let socket = host.socket().display().to_string();
    let both = |line: &str| {
        ["docker", "dhow"].map(|client| {
            host.sh(&format!(
                "unset DOCKER_HOST; {}",
                line.replace("{}", client)
            ))
            .ok()
        })
    };
    for (maker, name) in [("docker", "theirs"), ("dhow", "ours")] {
        host.sh(&format!(
            "{maker} context create {name} --docker host=unix://{socket} --description '<&>'"
        ))
        .ok();
        let [a, b] = both(&format!("{{}} context inspect {name}"));
        assert_eq!(a, b);
        // By the flag, by the variable, and by the configuration.
        both(&format!("{{}} -c {name} ps"));
        both(&format!("DOCKER_CONTEXT={name} {{}} ps"));
        host.sh(&format!("{maker} context use {name}")).ok();
        assert_eq!(both("{} context show"), [name, name]);
        both("{} ps");
        assert_eq!(both("{} info -f '{{.ClientInfo.Context}}'"), [name, name]);
        let shown = both("{} version");
        for text in &shown {
            let line = text.lines().find(|line| line.contains("Context:"));
            assert!(line.is_some_and(|line| line.ends_with(name)), "{text}");
        }
        host.sh(&format!("{maker} context export {name} {name}.tar"))
            .ok();
    }
    host.sh("docker context import from-ours ours.tar; dhow context import from-theirs theirs.tar")
        .ok();
    let [a, b] = both("{} context inspect from-ours from-theirs");
    assert_eq!(a, b);
    let read: Value = serde_json::from_str(&a).expect("JSON");
    assert_eq!(read[1]["Metadata"], json!({"Description": "<&>"}));
    assert_eq!(
        read[0]["Endpoints"]["docker"]["Host"],
        format!("unix://{socket}")
    );
    // A host that is named comes before; other members of the configuration stay.
    host.sh("echo '{\"currentContext\":\"ours\",\"mine\":[1]}' > home/.docker/config.json")
        .ok();
    let gone = host.sh("DOCKER_HOST=unix:///not/there dhow ps").fails(1);
    assert!(gone.contains("unix:///not/there"), "{gone}");
    host.sh("dhow context use theirs").ok();
    let config: Value = host.sh("cat home/.docker/config.json").json();
    assert_eq!(config, json!({"currentContext": "theirs", "mine": [1]}));
    host.sh("dhow context rm -f theirs ours").ok();
    let config: Value = host.sh("cat home/.docker/config.json").json();
    assert_eq!(config["currentContext"], Value::Null);
}

/// An authority with a certificate for the daemon and one for its client.
const CERTIFICATES: &str = "
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
    for name in server client; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
        printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext
        openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem
    done";

#[test]
fn a_contexts_tls_material_is_used() {
    let dir = tempfile::tempdir().expect("/tmp is writable");
    let made = std::process::Command::new("sh")
        .args(["-ec", CERTIFICATES])
        .current_dir(dir.path())
        .output()
        .expect("there is a shell");
    assert!(made.status.success(), "{made:?}");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let host = TestHost::with(HostOptions {
        busybox: false,
        daemon: [
            "-H",
            "tcp://127.0.0.1:2376",
            "--tlsverify",
            "--tlscacert",
            &file("ca.pem"),
            "--tlscert",
            &file("server.pem"),
            "--tlskey",
            &file("server.key"),
        ]
        .map(str::to_owned)
        .to_vec(),
        ..HostOptions::default()
    });
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    for client in ["docker", "dhow"] {
        let create = |name: &str, options: &str| {
            host.sh(&format!(
                "{client} context create {client}-{name} --docker host=tcp://127.0.0.1:2376{options}"
            ))
            .ok();
        };
        create("whole", &format!(",ca={ca},cert={cert},key={key}"));
        create(
            "blind",
            &format!(",cert={cert},key={key},skip-tls-verify=true"),
        );
        create("stranger", &format!(",cert={cert},key={key}"));
        create("nameless", &format!(",ca={ca}"));
        create("plain", "");
    }
    // The material is a copy: where it came from may go.
    drop(dir);
    for user in ["docker", "dhow"] {
        for maker in ["docker", "dhow"] {
            for (name, works) in [
                ("whole", true),
                ("blind", true),
                ("stranger", false),
                ("nameless", false),
                ("plain", false),
            ] {
                let done = host.sh(&format!(
                    "unset DOCKER_HOST; {user} -c {maker}-{name} version -f '{{{{.Server.Version}}}}'"
                ));
                assert_eq!(done.code == 0, works, "{done:#?}");
            }
        }
    }
}
