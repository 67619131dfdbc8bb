//! Compose, as its users have it: a stack of ten services from its first `up` to its `down`.

use dhow_tests::engine::peer;
use dhow_tests::{TestHost, eventually};

const STACK: &str = r#"
name: voyage
services:
  db:
    image: busybox
    command: sh -c 'touch /data/ready; exec sleep 1000'
    stop_signal: SIGKILL
    volumes: [data:/data]
    networks: { back: { aliases: [database], ipv4_address: 10.60.0.50 } }
    healthcheck: { test: [CMD, test, -e, /data/ready], interval: 1s, start_interval: 100ms, start_period: 30s }
  web:
    image: busybox
    command: sh -c 'echo ahoy > /tmp/index.html; exec httpd -f -p 80 -h /tmp'
    stop_signal: SIGKILL
    ports: ["127.0.0.1:8080:80"]
    networks: [front, back]
    depends_on: { db: { condition: service_healthy } }
  migrate:
    image: busybox
    command: "true"
    networks: [back]
    depends_on: { db: { condition: service_healthy } }
  job:
    image: busybox
    command: sh -c 'echo done; exec sleep 1000'
    stop_signal: SIGKILL
    depends_on: { migrate: { condition: service_completed_successfully } }
  w1: &worker { image: busybox, command: sleep 1000, stop_signal: SIGKILL, networks: [back] }
  w2: *worker
  w3: *worker
  w4: *worker
  w5: *worker
  w6: { <<: *worker, networks: [front] }
networks:
  front: {}
  back: { ipam: { config: [{ subnet: 10.60.0.0/24 }] } }
volumes: { data: {} }
"#;

#[test]
fn a_stack_of_ten_services() {
    let host = TestHost::start();
    std::fs::write(host.path("compose.yaml"), STACK).expect("/tmp is writable");
    let compose = peer("docker-compose").display().to_string();
    let up = host.sh(&format!("{compose} up -d --quiet-pull"));
    assert_eq!(up.code, 0, "{up:#?}");
    let running = |extra: &str| {
        host.sh(&format!(
            "{compose} ps {extra} --format '{{{{.Service}}}}' | sort | tr '\n' ' '"
        ))
        .ok()
    };
    assert_eq!(running("").trim(), "db job w1 w2 w3 w4 w5 w6 web");
    eventually("the published service answers", || {
        let page = host
            .sh("curl -s --max-time 5 http://127.0.0.1:8080/")
            .stdout;
        page.eq("ahoy\n").then_some(())
    });
    // By the names of services, aliases and containers.
    for name in ["db", "database", "voyage-db-1"] {
        let found = host
            .sh(&format!("{compose} exec -T w1 ping -c 1 -W 5 {name}"))
            .ok();
        assert!(found.contains("(10.60.0.50)"), "{found}");
    }
    let page = "{ printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 0.5; } | nc -w 5 web 80";
    let page = host
        .sh(&format!("{compose} exec -T w6 sh -c \"{page}\""))
        .ok();
    assert!(page.ends_with("ahoy"), "{page}");
    // From another network nobody is found.
    let lost = host.sh(&format!("{compose} exec -T w6 ping -c 1 -W 1 db"));
    assert_ne!(lost.code, 0, "{lost:#?}");

    // Nothing to do is nothing done.
    let ids = host.sh("docker ps -q --no-trunc | sort").ok();
    let again = host.sh(&format!("{compose} up -d"));
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!(host.sh("docker ps -q --no-trunc | sort").ok(), ids);

    let logs = host.sh(&format!("{compose} logs job")).ok();
    assert!(logs.contains("done"), "{logs}");
    host.sh(&format!("{compose} up -d --scale w2=3 --no-recreate"))
        .ok();
    assert_eq!(
        host.sh(&format!("{compose} ps -q w2 | wc -l")).ok().trim(),
        "3"
    );
    // All of them under one name.
    let three = host
        .sh(&format!("{compose} exec -T w1 nslookup w2 127.0.0.11"))
        .stdout;
    assert_eq!(three.matches("Address: 10.60.0.").count(), 3, "{three}");

    host.sh(&format!(
        "{compose} restart -t 0 web && {compose} stop -t 0 w1 && {compose} start w1"
    ))
    .ok();
    let down = host.sh(&format!("{compose} down -v -t 0"));
    assert_eq!(down.code, 0, "{down:#?}");
    for list in ["docker ps -aq", "docker volume ls -q"] {
        assert_eq!(host.sh(list).ok(), "");
    }
    assert_eq!(
        host.sh("docker network ls --format '{{.Name}}' | sort | tr '\n' ' '")
            .ok()
            .trim(),
        "bridge host none"
    );
}
