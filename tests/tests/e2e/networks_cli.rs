//! `dhow network` beside `docker network`: what one prints, the other does, and what one asks of the daemon as well.

use dhow_tests::{Engine, Finished, TestHost};
use serde_json::{Value, json};

/// What both clients do with a line, under one name.
#[track_caller]
fn both(host: &TestHost, line: &str) -> [Finished; 2] {
    ["docker", "dhow"].map(|client| run(host, client, line))
}

fn run(host: &TestHost, client: &str, line: &str) -> Finished {
    let mut finished = host.sh(&line.replace("CLIENT", client));
    for text in [&mut finished.stdout, &mut finished.stderr] {
        *text = text.replace("docker", "dhow");
    }
    finished
}

/// In what they differ where both are to refuse, if in anything.
fn difference(host: &TestHost, line: &str) -> Option<[Finished; 2]> {
    let pair = both(host, line);
    let said = |f: &Finished| (f.code, f.stdout.clone(), f.stderr.clone());
    let refused = pair[0].code != 0 || line.contains("-f");
    (said(&pair[0]) != said(&pair[1]) || !refused).then_some(pair)
}

#[track_caller]
fn same(host: &TestHost, line: &str) -> Finished {
    let [theirs, ours] = both(host, line);
    assert_eq!(
        (ours.code, &ours.stdout, &ours.stderr),
        (theirs.code, &theirs.stdout, &theirs.stderr),
        "{line}"
    );
    ours
}

/// Takes away what two things made one after the other differ in.
fn without(value: Value, keys: &[&str]) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(key, _)| !keys.contains(&key.as_str()))
            .map(|(key, member)| (key, without(member, keys)))
            .collect(),
        Value::Array(list) => list.into_iter().map(|v| without(v, keys)).collect(),
        other => other,
    }
}

#[test]
fn create_asks_for_what_dockers_does() {
    let host = TestHost::empty();
    host.sh("docker network create --config-only --subnet 10.90.0.0/24 -o com.docker.network.driver.mtu=1300 base")
        .ok();
    for flags in [
        "",
        "--internal --label a=1 --label b -o com.docker.network.bridge.name=br-cli --opt com.docker.network.driver.mtu=1400",
        "--attachable --scope local --subnet 10.91.0.0/16 --ip-range 10.91.8.0/24 --gateway 10.91.0.9 --aux-address router=10.91.0.2 --aux-address b=10.91.0.3",
        "--ipv6 --subnet 10.92.0.0/24,fd00:92::/64 --gateway fd00:92::9 --ipam-driver default --ipam-opt a=b",
        "--ipv4=false --ipv6 --subnet fd00:94::/64",
        "-d bridge --config-from base",
        "--config-only --subnet 10.95.0.0/24 --ip-range 10.95.0.0/25 -o a=b",
    ] {
        if flags.contains("ipv6") && host.engine == Engine::Dhow {
            // Not yet.
            continue;
        }
        let made = ["docker", "dhow"].map(|client| {
            let id = host
                .sh(&format!("{client} network create {flags} made"))
                .ok();
            let made = host.sh("docker network inspect made").json()[0].take();
            assert_eq!(made["Id"], id.as_str());
            host.sh("docker network rm made").ok();
            // Which subnet it gets is the daemon's affair where none is asked for.
            let chosen: &[&str] = match flags.contains("--subnet") {
                true => &["Id", "Created"],
                false => &["Id", "Created", "Config"],
            };
            let mut made = without(made, chosen);
            if let Some(list) = made["IPAM"]["Config"].as_array_mut() {
                // Docker's client has no order.
                list.sort_by_key(Value::to_string);
            }
            made
        });
        assert_eq!(made[1], made[0], "{flags}");
    }
    host.sh("docker network rm base").ok();
}

#[test]
fn what_is_wrong_is_said_as_docker_says_it() {
    let host = TestHost::start();
    host.sh("docker network create --subnet 10.96.0.0/24 net; docker create --name box busybox")
        .ok();
    let mut differing = Vec::new();
    for line in [
        "create",
        "create a b",
        "create bridge",
        "create net",
        "create --nosuch x",
        "create --internal=maybe x",
        "create --label =1 x",
        "create --label 'a b=1' x",
        "create --subnet nonsense x",
        "create --subnet 10.96.0.0/24 x",
        "create --subnet 10.97.0.0/24 --subnet 10.97.0.0/16 x",
        "create --ip-range 10.97.0.0/24 x",
        "create --gateway 10.97.0.1 x",
        "create --subnet 10.97.0.0/24 --gateway 10.98.0.1 x",
        "create --subnet 10.97.0.0/24 --gateway 10.97.0.1 --gateway 10.97.0.2 x",
        "create --subnet 10.97.0.0/24,10.98.0.0/24 --gateway 10.97.0.1,10.97.0.2 x",
        "create --subnet 10.97.0.0/24,10.98.0.0/24 --ip-range 10.97.0.0/25,10.97.0.128/25 x",
        "create --subnet 10.97.0.0/24 --ip-range 10.97.0.0 x",
        "create --subnet 10.97.0.0/24 --ip-range 10.98.0.0/25 x",
        "create --subnet 10.97.0.0/24 --aux-address a=10.98.0.1 x",
        "create --subnet 10.97.0 --aux-address a=10.97.0.1 x",
        "create --config-from nosuch x",
        "connect net",
        "connect net nosuch",
        "connect --driver-opt x net box",
        "connect --link a:b:c net box",
        "connect --gw-priority x net box",
        "connect --ip 10.99.0.1 net box",
        "connect --alias x bridge box",
        "disconnect net box",
        "disconnect nosuch box",
        "disconnect net nosuch",
        "disconnect -f net nosuch",
        "rm",
        "rm nosuch other",
        "rm -f nosuch",
        "rm bridge",
        "inspect",
        "inspect nosuch",
        "inspect -f '{{.Name}}' nosuch bridge",
        "ls extra",
        "ls --filter nonsense",
        "ls --filter a=b",
        "prune extra",
        "prune -f --filter a=b",
    ] {
        differing.extend(difference(&host, &format!("CLIENT network {line}")));
    }
    for flags in [
        "--network name=net,alias=a --network-alias b",
        "--network name=net,ip=10.96.0.8 --ip 10.96.0.9",
        "--network name=net,ip6=fd00::8 --ip6 fd00::9",
        "--network name=net,mac-address=92:d0:c6:0a:29:33 --mac-address 92:d0:c6:0a:29:34",
        "--network name=net,link-local-ip=169.254.1.1 --link-local-ip 169.254.1.2",
        "--network net --network net",
        "--network net --network host",
        "--network name=net,foo=1",
        "--network name=net,foo",
        "--network alias=a",
        "--network name=net,driver-opt=a",
        "--network name=net,gw-priority=x",
        "--network=",
        "--network-alias x",
        "--mac-address x",
        "--net host --link box",
        "--link a:b:c",
    ] {
        for command in ["create", "run"] {
            let line = format!("CLIENT {command} {flags} busybox true");
            differing.extend(difference(&host, &line));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
    host.sh("docker ps -aq | xargs docker rm -f; docker network rm net")
        .ok();
}

#[test]
fn lists_and_inspect_are_dockers() {
    let host = TestHost::start();
    host.sh("docker network create --label a.b=1 --internal net10; docker network create --label a.b=2 net2; docker run -d --name box --network net2 busybox sleep 1000; mkdir other; echo '{\"networksFormat\": \"{{.Name}} is {{.Driver}}\"}' > other/config.json")
        .ok();
    for flags in [
        "",
        "-q",
        "--no-trunc",
        "-q --no-trunc",
        "--format json",
        "--format '{{json .}}'",
        "--format raw",
        "-q --format raw",
        "-q --format table",
        "--format 'table {{.Name}}\\t{{.Label \"a.b\"}}\\t{{.IPv4}}\\t{{.IPv6}}\\t{{.Internal}}\\t{{.Labels}}'",
        "--format '{{.ID}} {{.CreatedAt}} {{.Scope}}'",
        "--filter driver=bridge",
        "--filter name=net",
        "-f label=a.b=1 -f label=c",
        "--filter type=custom",
        "--filter dangling=true",
        "--filter scope=swarm",
    ] {
        same(&host, &format!("CLIENT network ls {flags}"));
    }
    same(&host, "CLIENT network list");
    let configured = same(&host, "CLIENT --config other network ls");
    assert!(
        configured
            .stdout
            .contains("net2 is bridge\nnet10 is bridge\n")
    );
    for line in [
        "inspect -f '{{.Name}} {{.ID}} {{.Created}} {{.Internal}} {{.Labels}} {{.IPAM.Driver}}' net10",
        "inspect -f '{{.Id}} {{.Created}} {{.Driver}}' net10",
        "inspect -f '{{.ID}} {{json .Created}} {{json .Labels}}' net10 net2",
        "inspect -f '{{(index .IPAM.Config 0).Subnet}} {{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}} {{len .Containers}}' net2",
    ] {
        let shown = same(&host, &format!("CLIENT network {line}"));
        assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{line}");
    }
    for line in [
        "inspect net2 net10",
        "inspect -v net2",
        "inspect -f json net10",
    ] {
        // Docker's client leaves out what it did not know yet.
        let [theirs, ours] = both(&host, &format!("CLIENT network {line}"))
            .map(|shown| without(shown.json(), &["Status"]));
        assert_eq!(ours, theirs, "{line}");
    }
    host.sh("docker rm -f box; docker network rm net2 net10")
        .ok();
}

#[test]
fn endpoints_are_as_docker_makes_them() {
    let host = TestHost::start();
    let six = match host.engine {
        // Not yet.
        Engine::Dhow => "",
        Engine::Dockerd => "--ipv6 --subnet fd00:96::/64",
    };
    host.sh(&format!("docker network create {six} --subnet 10.96.0.0/24 net; docker network create --subnet 10.97.0.0/24 net2; docker run -d --name other --network net busybox sleep 1000; docker run -d --name box busybox sleep 1000"))
        .ok();
    // Each by its own address and of its own time.
    let chosen = [
        "EndpointID",
        "MacAddress",
        "IPAddress",
        "GlobalIPv6Address",
        "DNSNames",
    ];
    for flags in [
        "",
        "--alias a --alias b,c",
        "--ip 10.96.0.77 --gw-priority 5",
        "--link other:o --link other",
        "--driver-opt x.y=1,z=2=3 --driver-opt w=",
        "--link-local-ip 169.254.7.7",
    ] {
        let [theirs, ours] = ["docker", "dhow"].map(|client| {
            let done = run(
                &host,
                client,
                &format!("CLIENT network connect {flags} net box"),
            );
            let endpoint = host.inspect("box")["NetworkSettings"]["Networks"]["net"].take();
            let left = host.sh(&format!("{client} network disconnect net box"));
            assert_eq!(left.code, done.code, "{left:?}");
            if flags.contains("--ip ") {
                assert_eq!(endpoint["IPAddress"], "10.96.0.77");
            }
            (
                done.code,
                done.stdout,
                done.stderr,
                without(endpoint, &chosen),
            )
        });
        assert_eq!(ours, theirs, "{flags}");
        assert_eq!(ours.0, 0, "{flags}: {ours:?}");
    }
    for flags in [
        "--network net",
        "--network name=net,alias=x,alias=y,ip=10.96.0.7,gw-priority=3,driver-opt=a.b=c --network name=net2,mac-address=92:d0:c6:0a:29:33,link-local-ip=169.254.7.7",
        "--net net --net-alias a --network-alias b --ip 10.96.0.9 --ip6 fd00:96::9 --link-local-ip 169.254.7.8 --link other:o --mac-address 92:d0:c6:0a:29:34",
        "--network net --network net2 --network-alias first",
        "--network none --dns-opt ndots:1",
        "--network container:box",
        "--link box:b --mac-address 92:d0:c6:0a:29:35",
    ] {
        if flags.contains("--ip6") && six.is_empty() {
            continue;
        }
        let [theirs, ours] = ["docker", "dhow"].map(|client| {
            let id = host
                .sh(&format!("{client} create --name made {flags} busybox"))
                .ok();
            let made = host.inspect(&id);
            host.sh(&format!("docker rm {id}")).ok();
            let networks = without(
                made["NetworkSettings"]["Networks"].clone(),
                &["EndpointID", "DNSNames"],
            );
            json!([
                networks,
                made["HostConfig"]["NetworkMode"],
                made["HostConfig"]["Links"],
                made["HostConfig"]["DnsOptions"],
            ])
        });
        assert_eq!(ours, theirs, "{flags}");
    }
    // What is to follow, by name: not what is there already.
    for (line, names) in [
        ("connect ''", "bridge\nhost\nnet\nnet2\nnone\n:4"),
        ("connect net ''", "box\n:4"),
        ("disconnect net ''", "other\n:4"),
        ("rm net ''", "bridge\nhost\nnet2\nnone\n:4"),
    ] {
        let said = host.sh(&format!("dhow __complete network {line}")).ok();
        assert_eq!(said, names, "{line}");
    }
    host.sh("docker rm -f box other; docker network rm net net2")
        .ok();
}

#[test]
fn what_is_removed_is_said_as_docker_says_it() {
    let host = TestHost::empty();
    let make =
        "docker network create --label keep a; docker network create b; docker network create c";
    for line in [
        "CLIENT network rm a b",
        "CLIENT network remove a nosuch b",
        "CLIENT network rm -f nosuch a",
        "CLIENT network prune -f",
        "CLIENT network prune --force --filter label=keep",
        "CLIENT network prune -f --filter label!=keep",
        "CLIENT network prune -f --filter until=24h",
        "echo n | CLIENT network prune",
        "echo y | CLIENT network prune --filter label=keep",
        "CLIENT system prune -f",
        "CLIENT system prune -f --volumes --filter until=1h",
        "CLIENT system prune -f --filter label=keep",
        "echo n | CLIENT system prune",
        "echo n | CLIENT system prune -a --volumes --filter label=x --filter label!=y",
        "echo y | CLIENT system prune",
    ] {
        let [theirs, ours] = ["docker", "dhow"].map(|client| {
            host.sh(
                "mkdir -p other; echo '{\"pruneFilters\": [\"label!=keep\"]}' > other/config.json",
            )
            .ok();
            host.sh(make).ok();
            let done = run(&host, client, line);
            let left = host.sh("docker network ls --format '{{.Name}}'").ok();
            host.sh("docker network prune -f").ok();
            let mut said: Vec<String> = done.stdout.lines().map(str::to_owned).collect();
            // There is no cache of builds in ours yet.
            said.retain(|line| !line.contains("build cache"));
            // The daemon has no order.
            said.sort();
            (done.code, said, done.stderr, left)
        });
        assert_eq!(ours, theirs, "{line}");
    }
    // Docker 28 reads filters of labels from its configuration, but only if there is one on the command line.
    host.sh(&format!(
        "{make}; mkdir other; echo '{{\"pruneFilters\": [\"label!=keep\"]}}' > other/config.json"
    ))
    .ok();
    host.sh("dhow --config other network prune -f").ok();
    let kept = host.sh("docker network ls -q --filter label=keep").ok();
    assert_ne!(kept, "");
    host.sh("docker network rm a").ok();
}

#[test]
fn the_graph_shows_who_is_on_what() {
    let host = TestHost::start();
    host.sh("docker network create --subnet 10.96.0.0/24 --gateway 10.96.0.1 front; docker network create --internal --subnet 10.97.0.0/24 back; docker run -d --name web --network name=front,ip=10.96.0.7 --network name=back,ip=10.97.0.7 -p 127.0.0.1:8080:80 busybox sleep 1000; docker run -d --name helper --network container:web busybox sleep 1000; docker run -d --name db --network back --ip 10.97.0.8 busybox sleep 1000; docker create --name later --network back busybox; docker run -d --name plain busybox sleep 1000")
        .ok();
    let text = host.sh("dhow network graph front back").ok();
    // What the gateway of an internal network is, is the daemon's affair.
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("back (bridge, 10.97.0.0/24") && lines[0].ends_with(", internal)")
    );
    lines.remove(0);
    assert_eq!(
        lines,
        [
            "├── db           10.97.0.8",
            "└── web          10.97.0.7   127.0.0.1:8080->80/tcp",
            "    └── helper   shares the network of web",
            "front (bridge, 10.96.0.0/24 via 10.96.0.1)",
            "└── web          10.96.0.7   127.0.0.1:8080->80/tcp",
            "    └── helper   shares the network of web",
        ]
    );
    let all = host.sh("dhow network graph --all").ok();
    assert!(
        all.contains("─ later") && all.contains("(created)"),
        "{all}"
    );
    assert!(
        all.contains("bridge (bridge, ") && all.contains("─ plain"),
        "{all}"
    );
    assert!(all.contains("host (host)\nnone (null)"), "{all}");
    let dot = host.sh("dhow network graph --format dot front").ok();
    assert!(
        dot.starts_with("graph networks {") && dot.ends_with('}'),
        "{dot}"
    );
    assert!(dot.contains("c0 -- n0 [label=\"10.96.0.7\"];"), "{dot}");
    assert!(!dot.contains("\"db"), "{dot}");
    let svg = host.sh("dhow network graph --format=svg -a").ok();
    for shown in [
        "<svg xmlns=",
        ">10.97.0.8</text>",
        ">127.0.0.1:8080-&gt;80/tcp</text>",
        "</svg>",
    ] {
        assert!(svg.contains(shown), "{shown}: {svg}");
    }
    for (flags, why) in [
        ("nosuch", "network nosuch not found"),
        (
            "--format png",
            "unknown format: \"png\": must be one of \"text\", \"dot\", \"svg\"",
        ),
    ] {
        assert_eq!(
            host.sh(&format!("dhow network graph {flags}")).fails(1),
            why
        );
    }
    host.sh("docker rm -f web helper db later plain; docker network rm front back")
        .ok();
}
