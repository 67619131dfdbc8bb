//! Further processes in a running container.

use std::io::Read;
use std::os::unix::net::UnixStream;

use dhow_runtime::{StartError, Target};
use oci_spec::runtime::UserBuilder;
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    ("exec::runs_in_the_container", runs_in_the_container),
    ("exec::commands_that_can_not_run", commands_that_can_not_run),
    ("exec::many_at_once", many_at_once),
    ("exec::a_terminal_and_signals", a_terminal_and_signals),
    (
        "exec::none_in_a_container_that_ended",
        none_in_a_container_that_ended,
    ),
];

fn runs_in_the_container(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let sh = |script: &'static str| move |request: &mut dhow_runtime::ExecRequest| request.process = process(&["sh", "-c", script]);
        let script = "hostname; tr '\\0' ' ' </proc/1/cmdline; echo err >&2; exit 9";
        let (code, stdout, stderr) = running.exec("a", sh(script)).await.unwrap();
        assert_eq!((code, stderr.as_str()), (9, "err\n"));
        assert_eq!(stdout, format!("{}\nsleep 1000 ", &running.id[..12]));
        // In its cgroups, all of them, and its namespaces.
        let script = "cat /proc/self/cgroup; for n in cgroup ipc mnt net pid uts; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo differs $n; done";
        let (_, stdout, _) = running.exec("b", sh(script)).await.unwrap();
        for line in stdout.lines().filter(|line| !line.starts_with("0::")) {
            assert!(line.ends_with(":/"), "{stdout}");
        }
        let script = ["sh", "-c", "id -u; id -G; pwd; echo \"$HOME $FOO\""];
        let anna = UserBuilder::default().uid(1000u32).gid(1000u32).additional_gids(vec![29u32]).build().unwrap();
        let (_, stdout, _) = running.exec("c", |request| {
            request.process = process(&script);
            request.process.set_user(anna);
            request.process.set_cwd("/tmp".into());
            request.process.env_mut().as_mut().unwrap().push("FOO=bar".into());
        }).await.unwrap();
        assert_eq!(stdout, "1000\n1000 29\n/tmp\n bar\n");
        running.shim.signal(Target::Init, 9).await.unwrap();
        assert_eq!(running.exit().await.code, 137);
        running.shim.release().await.unwrap();
    });
}

fn commands_that_can_not_run(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let error = running.exec("a", |request| request.process = process(&["nosuch"])).await.unwrap_err();
        assert!(matches!(error, StartError::NotFound(m) if m == "exec: \"nosuch\": executable file not found in $PATH"));
        let error = running.exec("a", |request| request.process = process(&["/etc/text"])).await.unwrap_err();
        assert!(matches!(error, StartError::NotExecutable(m) if m == "exec: \"/etc/text\": permission denied"));
        let error = running.exec("a", |request| { request.process.set_cwd("/nowhere".into()); }).await.unwrap_err();
        assert!(matches!(error, StartError::NotFound(m) if m == "chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory"));
        assert_eq!(running.exec("a", |_| {}).await.unwrap().0, 0, "the name is free again");
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

fn many_at_once(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running =
            std::sync::Arc::new(host.container(&["sleep", "1000"]).start().await.unwrap());
        let mut execs = tokio::task::JoinSet::new();
        for number in 0..20 {
            let running = running.clone();
            execs.spawn(async move {
                let script = format!("seq 1 {number}; exit {number}");
                let (code, stdout, _) = running
                    .exec(&format!("exec-{number}"), |request| {
                        request.process = process(&["sh", "-c", &script])
                    })
                    .await
                    .unwrap();
                assert_eq!(code, number);
                assert_eq!(stdout.lines().count(), number as usize);
            });
        }
        execs.join_all().await;
        for number in 0..100 {
            let (code, stdout, _) = running
                .exec(&format!("short-{number}"), |request| {
                    request.process = process(&["echo", "short"])
                })
                .await
                .unwrap();
            assert_eq!((code, stdout.as_str()), (0, "short\n"));
        }
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

fn a_terminal_and_signals(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut request = exec_request("t", &["sh", "-c", "tty; stty size; exec sleep 1000"]);
        request.process.set_terminal(Some(true));
        request.open_stdin = true;
        request.attach = Some(ALL);
        request.tty_size = Some((24, 80));
        running
            .shim
            .exec(request, Some(theirs.into()))
            .await
            .unwrap();
        let mut seen = [0; 19];
        ours.read_exact(&mut seen).unwrap();
        assert_eq!(
            std::str::from_utf8(&seen).unwrap(),
            "/dev/pts/0\r\n24 80\r\n"
        );
        running
            .shim
            .resize(Target::Exec("t".into()), 50, 120)
            .await
            .unwrap();
        running
            .shim
            .signal(Target::Exec("t".into()), 15)
            .await
            .unwrap();
        assert_eq!(ended(running.shim.exec_exit("t")).await.code, 143);
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

fn none_in_a_container_that_ended(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["true"]).start().await.unwrap();
        running.exit().await;
        let error = running.exec("late", |_| {}).await.unwrap_err();
        assert!(matches!(error, StartError::Other(m) if m == "the container is not running"));
        running.shim.release().await.unwrap();
    });
}
