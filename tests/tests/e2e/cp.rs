//! `cp`: what its paths mean and what it says, with Docker's client and with ours.

use dhow_tests::{Engine, TestHost};

const CLIENTS: [&str; 2] = ["docker", "dhow"];

/// Goes through sources and destinations with one client, each time in a new copy of the same files, and says what
/// it printed and what was there afterwards.
const TABLE: &str = r#"
cli=$1 flags=$2 way=$3 sources=$4 destinations=$5
for source in $sources; do for destination in $destinations; do
    find table -mindepth 1 -delete
    cp -a files/. table/
    echo "== $flags $source -> $destination"
    if [ $way = out ]; then from=box:/files/$source to=table/$destination
    else from=files/$source to=box:/table/$destination; fi
    $cli cp $flags "$from" "$to" >out 2>&1
    echo "exit $?"
    # Docker's client logs what comes of its own giving up.
    grep -v ^time= out | sed "s#$PWD#HOST#g"
    (cd table && find . -printf '%p %y %l\n' | sort && find . -type f | sort | xargs head -n 1)
done; done
"#;

/// A running container `box` that has `files` of the host at `/files`, and at `/table` what is copied into.
fn table_host() -> TestHost {
    let host = TestHost::start();
    std::fs::write(host.path("table.sh"), TABLE).unwrap();
    host.sh("mkdir table files && cd files && mkdir -p dir/sub there empty && echo 1 >file && echo 2 >dir/a && echo 3 >dir/sub/b && ln -s file link && ln -s dir dirlink && ln -s nothing dangling && echo old >there/old && echo x >other && ln -s ../files/there/old there/uplink").ok();
    host.sh(
        "docker run -d --name box -v $PWD/files:/files -v $PWD/table:/table busybox sleep 1000",
    )
    .ok();
    host
}

#[track_caller]
fn same_as_docker(host: &TestHost, flags: &str, way: &str, sources: &str, destinations: &str) {
    let told = CLIENTS.map(|cli| {
        host.sh(&format!(
            "sh table.sh {cli} '{flags}' {way} '{sources}' '{destinations}'"
        ))
        .ok()
    });
    let [docker, dhow] = told.map(|told| {
        told.split("== ")
            .map(str::to_owned)
            .collect::<Vec<String>>()
    });
    assert_eq!(docker.len(), dhow.len());
    for (docker, dhow) in docker.iter().zip(&dhow) {
        assert_eq!(docker, dhow);
    }
}

#[test]
fn every_pair_of_paths_out_of_a_container() {
    let host = table_host();
    let places = "new new/ there/. other link dirlink dangling none/new";
    same_as_docker(&host, "", "out", "file dir dir/. link dirlink/", places);
    same_as_docker(
        &host,
        "",
        "out",
        "none file/ dangling dirlink/. empty",
        "new there other",
    );
    same_as_docker(
        &host,
        "-L",
        "out",
        "link dirlink dirlink/. dangling",
        "new there other",
    );
}

#[test]
fn every_pair_of_paths_into_a_container() {
    let host = table_host();
    let places = "new new/ there/. other link dirlink dangling none/new";
    same_as_docker(&host, "", "in", "file dir dir/. link dirlink/", places);
    same_as_docker(
        &host,
        "",
        "in",
        "none file/ dangling dirlink/. empty",
        "new there other",
    );
    same_as_docker(
        &host,
        "-L",
        "in",
        "link dirlink dirlink/. dangling",
        "new there other",
    );
}

#[test]
fn what_is_refused_is_said_in_dockers_words() {
    let host = TestHost::start();
    host.sh("docker create --name box busybox && touch f").ok();
    for line in [
        "cp box:/a box:/b",
        "cp a b",
        "cp '' box:/",
        "cp f ''",
        "cp f",
        "cp nobox:/etc .",
        "cp f nobox:/",
        "cp box:/none .",
        "cp box:/etc/passwd/ .",
        "cp none box:/",
        "cp f box:/none/none",
        "cp box:/etc/passwd none/f",
        "cp box:/etc/passwd /dev/null",
        "cp box:/etc f",
        "cp - box:/none",
        "cp - box:/etc/passwd",
        "cp f box:/etc/passwd/x",
    ] {
        let [docker, dhow] = CLIENTS.map(|cli| host.sh(&format!("{cli} {line} </dev/null")));
        assert_ne!(docker.code, 0, "{line}");
        assert_eq!(docker.code, dhow.code, "{line}: {dhow:#?}");
        let first = |text: &str| {
            // Docker's client logs what comes of its own giving up.
            let mut lines = text.lines().filter(|line| !line.starts_with("time="));
            lines.next().unwrap_or_default().replace("dhow", "docker")
        };
        assert_eq!(first(&docker.stderr), first(&dhow.stderr), "{line}");
    }
}

#[test]
fn copies_are_summed_up() {
    let host = TestHost::start();
    host.sh("docker create --name box busybox && printf 12345 >five")
        .ok();
    for (line, said) in [
        (
            "cp -q=false five box:/tmp",
            "Successfully copied 5B (transferred 2.05kB) to box:/tmp\n",
        ),
        (
            "cp -q=false box:/tmp/five there",
            "Successfully copied 5B (transferred 2.05kB) to HOST/there\n",
        ),
        ("cp five box:/tmp", ""),
        ("cp -q five box:/tmp", ""),
    ] {
        let done = host.sh(&format!("dhow {line}"));
        let stderr = done
            .stderr
            .replace(&host.dir().display().to_string(), "HOST");
        assert_eq!((done.code, stderr.as_str()), (0, said), "{line}");
    }
    let terminal = host.terminal("dhow cp five box:/tmp; sleep 1000");
    terminal.shows_text("Successfully copied 5B (transferred 2.05kB) to box:/tmp");
}

#[test]
fn archives_on_standard_input_and_output() {
    let host = TestHost::start();
    host.sh("docker create --name box busybox && mkdir a && echo 1 >a/f && tar -cf plain a && gzip -k plain && zstd -q plain").ok();
    for cli in CLIENTS {
        for (n, archive) in ["plain", "plain.gz", "plain.zst"].iter().enumerate() {
            host.sh(&format!("docker create --name {cli}{n} busybox && {cli} cp - {cli}{n}:/root < {archive} && {cli} cp {cli}{n}:/root/a - | tar -xO a/f")).ok();
        }
        let broken = host.sh(&format!("head -c 700 plain | {cli} cp - box:/root"));
        assert_ne!(broken.code, 0);
        let bad = host.sh(&format!("seq 1000 | {cli} cp - box:/root"));
        assert_ne!(bad.code, 0);
        let over = host
            .sh(&format!(
                "mkdir -p b && echo 1 >b/etc && tar -C b -c etc | {cli} cp - box:/"
            ))
            .fails(1);
        assert!(
            over.contains("cannot overwrite directory \"etc\" with non-directory \"/\""),
            "{over}"
        );
    }
    // Only if it is asked for.
    host.sh("curl -sf --unix-socket s -T plain 'http://d/containers/box/archive?path=/root' && tar -C b -cf over etc && curl -sf --unix-socket s -T over 'http://d/containers/box/archive?path=/'").ok();
    assert_eq!(host.sh("dhow cp box:/etc - | tar -xO").ok(), "1");
}

#[test]
fn owners_modes_and_kinds_come_along() {
    let host = TestHost::start();
    host.sh("mkdir -p in/d && echo 1 >in/f && chmod 4755 in/f && ln in/f in/hard && ln -s f in/soft && mknod in/null c 1 3 && mkfifo in/pipe && truncate -s 300M in/sparse && touch -d 2001-02-03T04:05:06.789 in/f in/d && echo long >in/$(printf 'x%.0s' $(seq 200)) && chown -hR 1234:4321 in && chmod 4755 in/f")
        .ok();
    let list = "find . -printf '%p %y %m %U %G %l %n %i %Cs\\n' | sort | sed 's/ [0-9]* [0-9]*$//'";
    host.sh("docker run -d --name box busybox sleep 1000 && docker create --name user -u www:1000 busybox").ok();
    for cli in CLIENTS {
        host.sh(&format!(
            "{cli} cp in box:/{cli} && {cli} cp box:/{cli} out-{cli}"
        ))
        .ok();
        // Owned by whoever copies out.
        let same = format!(
            "set -e; chown -hR 1234:4321 out-{cli}; chmod 4755 out-{cli}/f; (cd in; {list}) >1; (cd out-{cli}; {list}) >2; diff 1 2"
        );
        host.sh(&same).ok();
        let seen = |path: &str| {
            host.sh(&format!(
                "docker exec box stat -c '%u %g %a %h' /{cli}/{path}"
            ))
            .ok()
        };
        assert_eq!(seen("f"), "1234 4321 4755 2");
        assert_eq!(seen("d"), "1234 4321 755 2");
        let blocks = host.sh(&format!("docker exec box sh -c 'test -c /{cli}/null && test -p /{cli}/pipe && du -k /{cli}/sparse | cut -f1'")).ok();
        if host.engine == Engine::Dhow {
            assert_eq!(blocks, "0", "{cli}: a sparse file stays one");
        }
        // To the container's user, if it is asked for.
        host.sh(&format!(
            "{cli} cp -a in/f user:/tmp/{cli}-a && {cli} cp in/f user:/tmp/{cli}"
        ))
        .ok();
        let owner = |path: &str| {
            host.sh(&format!(
                "{cli} cp user:/tmp/{path} - | tar --numeric-owner -tv | cut -d' ' -f2"
            ))
            .ok()
        };
        assert_eq!(owner(&format!("{cli}-a")), "33/1000");
        assert_eq!(owner(cli), "1234/4321");
    }
    host.sh("docker create --name nouser -u nobody-knows busybox")
        .ok();
    let refused = host.sh("docker cp -a in/f nouser:/").fails(1);
    assert!(refused.contains("nobody-knows"), "{refused}");
}
