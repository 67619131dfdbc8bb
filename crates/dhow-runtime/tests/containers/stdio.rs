//! Streams: terminals, standard input, several clients, large outputs.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use dhow_runtime::{AttachStreams, LogSink, Target};
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    (
        "stdio::input_reaches_the_process_and_ends",
        input_reaches_the_process_and_ends,
    ),
    (
        "stdio::without_open_stdin_there_is_nothing_to_read",
        without_open_stdin_there_is_nothing_to_read,
    ),
    ("stdio::a_terminal", a_terminal),
    (
        "stdio::large_output_arrives_whole",
        large_output_arrives_whole,
    ),
    (
        "stdio::several_clients_and_one_that_leaves",
        several_clients_and_one_that_leaves,
    ),
    ("stdio::large_input_comes_back", large_input_comes_back),
    (
        "stdio::late_clients_see_what_comes_later",
        late_clients_see_what_comes_later,
    ),
];

fn input_reaches_the_process_and_ends(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["cat"]);
        container.request.open_stdin = true;
        container.request.stdin_once = true;
        let mut client = container.attach(ALL);
        let running = container.start().await.unwrap();
        client.write_all(b"hello\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(running.exit().await.code, 0);
        assert_eq!(frames(client).0, "hello\n");
        running.shim.release().await.unwrap();

        // Without stdin_once only `close_stdin` ends it.
        let mut container = host.container(&["cat"]);
        container.request.open_stdin = true;
        let mut client = container.attach(ALL);
        let mut other = container.attach(ALL);
        let running = container.start().await.unwrap();
        client.write_all(b"one\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(
            tokio::task::spawn_blocking(move || frames(client))
                .await
                .unwrap()
                .1,
            "",
            "it is let go"
        );
        other.write_all(b"two\n").unwrap();
        while running.log().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        running.shim.close_stdin(Target::Init).await.unwrap();
        assert_eq!(running.exit().await.code, 0);
        assert_eq!(
            running
                .log()
                .into_iter()
                .map(|(_, text)| text)
                .collect::<String>(),
            "one\ntwo\n"
        );
        running.shim.release().await.unwrap();
    });
}

fn without_open_stdin_there_is_nothing_to_read(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let (code, stdout, _) = host
            .container(&["sh", "-c", "cat; readlink /proc/self/fd/0"])
            .run()
            .await;
        assert_eq!((code, stdout.as_str()), (0, "/dev/null\n"));
    });
}

fn a_terminal(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let script = "tty; stty size; test -c /dev/console && echo console; read line; echo \"got $line\"; trap 'stty size; exit 3' WINCH; while :; do sleep 0.05; done";
        let mut container = host.container(&["sh", "-c", script]);
        container.process().set_terminal(Some(true));
        container.request.open_stdin = true;
        container.request.tty_size = Some((33, 77));
        let mut client = container.attach(ALL);
        let running = container.start().await.unwrap();
        client.write_all(b"word\n").unwrap();
        let mut seen = String::new();
        while !seen.contains("got word") {
            let mut piece = [0; 256];
            let count = client.read(&mut piece).unwrap();
            assert!(count > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        // The terminal may echo the word before or after.
        let printed = seen.replacen("word\r\n", "", 1);
        assert!(printed.starts_with("/dev/pts/0\r\n33 77\r\nconsole\r\n"), "{seen:?}");
        let mut rows = 40;
        let record = loop {
            // A size that does not change is no signal; the trap may not be set yet.
            rows += 1;
            let _ = running.shim.resize(Target::Init, rows, 100).await;
            let mut exit = running.shim.exit();
            tokio::select! {
                _ = exit.wait_for(Option::is_some) => break running.exit().await,
                _ = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        };
        assert_eq!(record.code, 3);
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert!(rest.contains(" 100\r\n"), "{rest:?}");
        running.shim.release().await.unwrap();
    });
}

fn large_output_arrives_whole(host: &Host, runtime: &Runtime) {
    const SIZE: u64 = 100 * 1024 * 1024;
    runtime.block_on(async {
        let mut container =
            host.container(&["sh", "-c", "yes 0123456789abcdef | head -c 104857600"]);
        container.request.log = LogSink::default();
        let mut client = container.attach(OUTPUT);
        let running = container.start().await.unwrap();
        let (count, wrong) = tokio::task::spawn_blocking(move || {
            let (mut count, mut wrong) = (0u64, 0u64);
            let mut header = [0; 8];
            let mut body = vec![0; 1 << 17];
            while client.read_exact(&mut header).is_ok() {
                let length =
                    u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
                client.read_exact(&mut body[..length]).unwrap();
                for byte in &body[..length] {
                    wrong += u64::from(*byte != b"0123456789abcdef\n"[(count % 17) as usize]);
                    count += 1;
                }
            }
            (count, wrong)
        })
        .await
        .unwrap();
        assert_eq!((count, wrong), (SIZE, 0));
        assert_eq!(running.exit().await.code, 0);
        running.shim.release().await.unwrap();
    });
}

fn several_clients_and_one_that_leaves(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["sh", "-c", "seq 1 20000; echo err >&2"]);
        container.request.open_stdin = true;
        let leaves = container.attach(ALL);
        let all = container.attach(OUTPUT);
        let errors = container.attach(AttachStreams {
            stdin: false,
            stdout: false,
            stderr: true,
        });
        drop(leaves);
        let running = container.start().await.unwrap();
        let all = tokio::task::spawn_blocking(move || frames(all))
            .await
            .unwrap();
        let expected: String = (1..=20000).map(|number| format!("{number}\n")).collect();
        assert_eq!(all, (expected.clone(), "err\n".into()));
        assert_eq!(frames(errors), (String::new(), "err\n".into()));
        assert_eq!(running.exit().await.code, 0);
        let logged: String = running
            .log()
            .into_iter()
            .filter(|(stream, _)| stream == "stdout")
            .map(|(_, text)| text)
            .collect();
        assert_eq!(logged, expected);
        running.shim.release().await.unwrap();
    });
}

fn large_input_comes_back(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["cat"]);
        container.request.open_stdin = true;
        container.request.stdin_once = true;
        container.request.log = LogSink::default();
        let client = container.attach(ALL);
        let mut writer = client.try_clone().unwrap();
        let running = container.start().await.unwrap();
        let data: Vec<u8> = (0..8_000_000u32)
            .map(|number| b'a' + (number % 26) as u8)
            .collect();
        let expected = String::from_utf8(data.clone()).unwrap();
        let write = std::thread::spawn(move || {
            writer.write_all(&data).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let (stdout, _) = tokio::task::spawn_blocking(move || frames(client))
            .await
            .unwrap();
        write.join().unwrap();
        assert!(stdout == expected);
        assert_eq!(running.exit().await.code, 0);
        running.shim.release().await.unwrap();
    });
}

fn late_clients_see_what_comes_later(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["sh", "-c", "echo early; read line; echo late"]);
        container.request.open_stdin = true;
        let running = container.start().await.unwrap();
        while running.log().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        running
            .shim
            .attach(Target::Init, ALL, theirs.into())
            .await
            .unwrap();
        ours.write_all(b"\n").unwrap();
        assert_eq!(frames(ours).0, "late\n");
        assert_eq!(running.exit().await.code, 0);
        let (ours, theirs) = UnixStream::pair().unwrap();
        running
            .shim
            .attach(Target::Init, ALL, theirs.into())
            .await
            .unwrap();
        assert_eq!(frames(ours).0, "", "after the end there is only the end");
        running.shim.release().await.unwrap();
    });
}
