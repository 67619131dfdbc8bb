//! Whose the directories and files are that a start makes in a container, and what others may do with them: root's,
//! and the same whatever the mask was that the daemon was started with.

use dhow_tests::{HostOptions, TestHost};

const SHOWN: [(&str, &str); 24] = [
    ("/", "755"),
    // The working directory and its parents.
    ("/not", "755"),
    ("/not/there", "755"),
    ("/not/there/at/all", "755"),
    // Mount points and their parents; what is mounted on a new one has its own mode.
    ("/bind", "755"),
    ("/bind/here", "755"),
    ("/file", "755"),
    ("/volume", "755"),
    ("/volume/here", "755"),
    ("/memory", "755"),
    ("/memory/here", "1777"),
    ("/memory/private", "700"),
    ("/mine", "755"),
    ("/mine/null", "644"),
    // The runtime's own.
    ("/etc/hosts", "644"),
    ("/etc/hostname", "644"),
    ("/etc/resolv.conf", "644"),
    ("/dev", "755"),
    ("/dev/null", "666"),
    ("/dev/tty", "666"),
    ("/dev/pts", "755"),
    ("/dev/shm", "1777"),
    ("/dev/mqueue", "1777"),
    ("/proc", "555"),
];

#[test]
fn what_a_start_makes_is_roots() {
    for umask in [0, 0o077] {
        let host = TestHost::with(HostOptions {
            umask: Some(umask),
            ..HostOptions::default()
        });
        let paths: Vec<&str> = SHOWN.iter().map(|(path, _)| *path).collect();
        let shown = host
            .sh(&format!(
                "docker run --name box -w /not/there/at/all -v $PWD/made/here:/bind/here -v named:/volume/here \
                 -v /etc/passwd:/file/passwd --tmpfs /memory/here --tmpfs /memory/private:mode=700 \
                 --device /dev/null:/mine/null busybox stat -c '%n %a %u:%g' {} /file/passwd",
                paths.join(" ")
            ))
            .ok();
        let null = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata("/dev/null").unwrap().permissions(),
        ) & 0o777;
        for (line, (path, mode)) in shown.lines().zip(SHOWN) {
            let mode = match path {
                // As the host has it.
                "/mine/null" => format!("{null:o}"),
                _ => mode.to_owned(),
            };
            assert_eq!(line, format!("{path} {mode} 0:0"), "umask {umask:o}");
        }
        assert_eq!(shown.lines().count(), SHOWN.len() + 1);
        // And on the host: the source of a bind that was not there.
        let modes = host.sh("stat -c '%a %u:%g' made made/here").ok();
        assert_eq!(modes, "755 0:0\n755 0:0", "umask {umask:o}");
        // The programs' own mask is not the daemon's.
        let masks = host
            .sh("docker run --rm busybox sh -c umask; docker run -d --name on busybox sleep 1000 >/dev/null; docker exec on sh -c umask")
            .ok();
        assert_eq!(masks, "0022\n0022", "umask {umask:o}");
        // Whoever runs in it can use them.
        host.sh("docker run --rm -u 1000:1000 -v named:/volume/here -w /not/there busybox sh -c 'ls . /volume/here && cat /etc/hosts /etc/resolv.conf && echo x >/dev/null'").ok();
    }
}
