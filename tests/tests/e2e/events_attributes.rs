//! What each action tells, with its attributes: the same list on Docker's daemon, but for three things. There the pause for
//! a commit lasts until all is done, volumes are told to be mounted for a copy, too, and pruning images tells nothing.

use dhow_tests::TestHost;
use serde_json::Value;

/// Lines of shell, and what each tells.
const STEPS: &[(&str, &[&str])] = &[
    (
        "docker volume create --label a=b vol",
        &["volume create vol (driver=local)"],
    ),
    (
        "docker create --name web -v vol:/data -l port=lamu --health-cmd true --health-interval 1h busybox sleep 1000",
        &["container create WEB (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker start web",
        &[
            "volume mount vol (container=WEB, destination=/data, driver=local, propagation=, read/write=true)",
            "network connect ID (container=WEB, name=bridge, type=bridge)",
            "container start WEB (image=busybox, name=web, port=lamu)",
        ],
    ),
    (
        "docker exec web true",
        &[
            "container exec_create: true  WEB (execID=ID, image=busybox, name=web, port=lamu)",
            "container exec_start: true  WEB (execID=ID, image=busybox, name=web, port=lamu)",
            "container exec_die WEB (execID=ID, exitCode=0, image=busybox, name=web, port=lamu)",
        ],
    ),
    (
        "docker exec web sh -c 'exit 3' || true",
        &[
            "container exec_create: sh -c exit 3 WEB (execID=ID, image=busybox, name=web, port=lamu)",
            "container exec_start: sh -c exit 3 WEB (execID=ID, image=busybox, name=web, port=lamu)",
            "container exec_die WEB (execID=ID, exitCode=3, image=busybox, name=web, port=lamu)",
        ],
    ),
    (
        "docker top web",
        &["container top WEB (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker pause web",
        &["container pause WEB (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker unpause web",
        &["container unpause WEB (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker rename web dd; docker rename dd web",
        &[
            "container rename WEB (image=busybox, name=dd, oldName=/web, port=lamu)",
            "container rename WEB (image=busybox, name=web, oldName=/dd, port=lamu)",
        ],
    ),
    (
        "docker update --cpu-shares 100 web",
        &["container update WEB (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker cp web:/etc/group - >/dev/null; echo x > x; docker cp x web:/x",
        &[
            "container archive-path WEB (image=busybox, name=web, port=lamu)",
            "container extract-to-dir WEB (image=busybox, name=web, port=lamu)",
        ],
    ),
    (
        "docker commit web made:1",
        &[
            "container pause WEB (image=busybox, name=web, port=lamu)",
            "container unpause WEB (image=busybox, name=web, port=lamu)",
            "image create IMAGE (name=IMAGE, port=lamu)",
            "image tag IMAGE (name=made:1, port=lamu)",
            "container commit WEB (comment=, image=busybox, imageID=IMAGE, imageRef=made:1, name=web, port=lamu)",
        ],
    ),
    (
        "docker export web >/dev/null",
        &["container export WEB (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker kill -s USR1 web",
        &["container kill WEB (image=busybox, name=web, port=lamu, signal=10)"],
    ),
    (
        "docker restart -t 0 web",
        &[
            "container kill WEB (image=busybox, name=web, port=lamu, signal=15)",
            "container kill WEB (image=busybox, name=web, port=lamu, signal=9)",
            "network disconnect ID (container=WEB, name=bridge, type=bridge)",
            "volume unmount vol (container=WEB, driver=local)",
            "container stop WEB (image=busybox, name=web, port=lamu)",
            "container die WEB (execDuration=N, exitCode=137, image=busybox, name=web, port=lamu)",
            "volume mount vol (container=WEB, destination=/data, driver=local, propagation=, read/write=true)",
            "network connect ID (container=WEB, name=bridge, type=bridge)",
            "container start WEB (image=busybox, name=web, port=lamu)",
            "container restart WEB (image=busybox, name=web, port=lamu)",
        ],
    ),
    (
        "docker stop -t 1 web",
        &[
            "container kill WEB (image=busybox, name=web, port=lamu, signal=15)",
            "container kill WEB (image=busybox, name=web, port=lamu, signal=9)",
            "network disconnect ID (container=WEB, name=bridge, type=bridge)",
            "volume unmount vol (container=WEB, driver=local)",
            "container stop WEB (image=busybox, name=web, port=lamu)",
            "container die WEB (execDuration=N, exitCode=137, image=busybox, name=web, port=lamu)",
        ],
    ),
    (
        "docker rm web",
        &["container destroy ID (image=busybox, name=web, port=lamu)"],
    ),
    (
        "docker run --name web busybox false || docker rm web",
        &[
            "container create ID (image=busybox, name=web)",
            "container attach ID (image=busybox, name=web)",
            "network connect ID (container=ID, name=bridge, type=bridge)",
            "container start ID (image=busybox, name=web)",
            "network disconnect ID (container=ID, name=bridge, type=bridge)",
            "container die ID (execDuration=N, exitCode=1, image=busybox, name=web)",
            "container destroy ID (image=busybox, name=web)",
        ],
    ),
    (
        "docker run -t --name web busybox true; docker rm -f web",
        &[
            "container create ID (image=busybox, name=web)",
            "container attach ID (image=busybox, name=web)",
            "network connect ID (container=ID, name=bridge, type=bridge)",
            "container start ID (image=busybox, name=web)",
            "network disconnect ID (container=ID, name=bridge, type=bridge)",
            "container die ID (execDuration=N, exitCode=0, image=busybox, name=web)",
            "container destroy ID (image=busybox, name=web)",
        ],
    ),
    (
        "docker tag busybox other:1",
        &["image tag IMAGE (name=other:1)"],
    ),
    ("docker rmi other:1", &["image untag IMAGE (name=other:1)"]),
    (
        "docker save busybox made:1 -o save.tar",
        &[
            "image save IMAGE (name=IMAGE)",
            "image save IMAGE (name=IMAGE, port=lamu)",
        ],
    ),
    (
        "docker rmi made:1",
        &[
            "image untag IMAGE (name=made:1)",
            "image delete IMAGE (name=IMAGE)",
        ],
    ),
    (
        "docker load -i save.tar",
        &[
            "image load IMAGE (name=IMAGE)",
            "image load IMAGE (name=IMAGE, port=lamu)",
        ],
    ),
    (
        "docker rmi made:1",
        &[
            "image untag IMAGE (name=made:1)",
            "image delete IMAGE (name=IMAGE)",
        ],
    ),
    (
        "printf '' | docker import - imported:1",
        &[
            "image tag IMAGE (name=imported:1)",
            "image import IMAGE (name=IMAGE)",
        ],
    ),
    (
        "docker rmi imported:1",
        &[
            "image untag IMAGE (name=imported:1)",
            "image delete IMAGE (name=IMAGE)",
        ],
    ),
    (
        "docker tag busybox 127.0.0.1:5000/pushed:1; docker push -q 127.0.0.1:5000/pushed:1",
        &[
            "image tag IMAGE (name=127.0.0.1:5000/pushed:1)",
            "image push 127.0.0.1:5000/pushed:1 (name=127.0.0.1:5000/pushed)",
        ],
    ),
    (
        "docker rmi 127.0.0.1:5000/pushed:1",
        &["image untag IMAGE (name=127.0.0.1:5000/pushed:1)"],
    ),
    (
        "docker pull -q 127.0.0.1:5000/pushed:1",
        &["image pull 127.0.0.1:5000/pushed:1 (name=127.0.0.1:5000/pushed)"],
    ),
    (
        "docker volume rm vol",
        &["volume destroy vol (driver=local)"],
    ),
    (
        "docker volume create wol; docker volume prune -af",
        &[
            "volume create wol (driver=local)",
            "volume destroy wol (driver=local)",
            "volume prune  (reclaimed=N)",
        ],
    ),
    (
        "docker container prune -f",
        &["container prune  (reclaimed=N)"],
    ),
    (
        "docker run --rm --name anon -v /anon busybox true",
        &[
            "volume create ID (driver=local)",
            "container create ID (image=busybox, name=anon)",
            "container attach ID (image=busybox, name=anon)",
            "volume mount ID (container=ID, destination=/anon, driver=local, propagation=, read/write=true)",
            "network connect ID (container=ID, name=bridge, type=bridge)",
            "container start ID (image=busybox, name=anon)",
            "network disconnect ID (container=ID, name=bridge, type=bridge)",
            "volume unmount ID (container=ID, driver=local)",
            "container die ID (execDuration=N, exitCode=0, image=busybox, name=anon)",
            "volume destroy ID (driver=local)",
            "container destroy ID (image=busybox, name=anon)",
        ],
    ),
];

/// An event as a line, with names for what differs from run to run.
fn shown(event: &Value, web: &str) -> String {
    let named = |text: &str| {
        let hexadecimal =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !web.is_empty() && text == web {
            "WEB".to_owned()
        } else if hexadecimal(text) {
            "ID".to_owned()
        } else if text.starts_with("sha256:") {
            "IMAGE".to_owned()
        } else {
            text.to_owned()
        }
    };
    let attributes = event["Actor"]["Attributes"].as_object();
    let attributes: Vec<String> = attributes
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let value = value.as_str().expect("attributes are strings");
            match key.as_str() {
                "execDuration" | "reclaimed" => {
                    assert!(value.parse::<u64>().is_ok(), "{key}={value}");
                    format!("{key}=N")
                }
                _ => format!("{key}={}", named(value)),
            }
        })
        .collect();
    format!(
        "{} {} {} ({})",
        event["Type"].as_str().unwrap_or_default(),
        event["Action"].as_str().unwrap_or_default(),
        named(event["Actor"]["ID"].as_str().unwrap_or_default()),
        attributes.join(", ")
    )
}

#[test]
fn each_action_tells_what_it_tells_in_docker() {
    let host = TestHost::start();
    let now = || host.sh("date +%s.%N").ok().trim().to_owned();
    for (line, expected) in STEPS {
        let since = now();
        host.sh(line).ok();
        let text = host
            .sh(&format!(
                "docker events --since {since} --until {} --format json",
                now()
            ))
            .ok();
        let web = host.sh("docker inspect -f '{{.Id}}' web");
        let told: Vec<String> = text
            .lines()
            .map(|line| {
                shown(
                    &serde_json::from_str(line).expect("it is JSON"),
                    web.stdout.trim(),
                )
            })
            .collect();
        assert_eq!(told, *expected, "{line}");
    }
}

#[test]
fn a_health_check_tells_of_its_processes_and_of_what_changes() {
    let host = TestHost::start();
    let live = host.spawn("docker events --since 1h -f container=web --format '{{.Action}}'");
    host.sh(
        "docker run -d --name web --health-cmd true --health-interval 100ms busybox sleep 1000",
    )
    .ok();
    let told = live.prints("health_status: healthy");
    let told: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("exec") || line.starts_with("health"))
        .take(4)
        .collect();
    assert_eq!(
        told,
        [
            "exec_create: /bin/sh -c true",
            "exec_start: /bin/sh -c true",
            "exec_die",
            "health_status: healthy"
        ]
    );
    host.sh("docker rm -f web").ok();
}
