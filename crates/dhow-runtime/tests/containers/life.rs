//! From start to exit.

use dhow_runtime::{StartError, Target};
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    ("life::exit_codes", exit_codes),
    (
        "life::output_is_logged_and_streamed",
        output_is_logged_and_streamed,
    ),
    ("life::commands_that_can_not_run", commands_that_can_not_run),
    ("life::signals", signals),
];

fn exit_codes(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        assert_eq!(host.container(&["true"]).run().await.0, 0);
        assert_eq!(host.container(&["false"]).run().await.0, 1);
        assert_eq!(host.container(&["sh", "-c", "exit 42"]).run().await.0, 42);
        assert_eq!(
            host.container(&["sh", "-c", "kill -9 $$"]).run().await.0,
            0,
            "process 1 is not killed from inside"
        );
    });
}

fn output_is_logged_and_streamed(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["sh", "-c", "echo out; echo err >&2; printf rest"]);
        let client = container.attach(OUTPUT);
        let running = container.start().await.unwrap();
        let record = running.exit().await;
        assert_eq!(record.code, 0);
        assert_eq!(frames(client), ("out\nrest".into(), "err\n".into()));
        let mut log = running.log();
        log.sort();
        assert_eq!(
            log,
            [
                ("stderr".into(), "err\n".into()),
                ("stdout".into(), "out\n".into()),
                ("stdout".into(), "rest".into())
            ]
        );
        assert_eq!(
            dhow_runtime::read_exit_record(&running.bundle).unwrap(),
            Some(record)
        );
        running.shim.release().await.unwrap();
    });
}

fn commands_that_can_not_run(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let error = |arguments: &'static [&str]| async {
            host.container(arguments)
                .start()
                .await
                .err()
                .expect("an error")
        };
        match error(&["nosuch"]).await {
            StartError::NotFound(message) => assert_eq!(
                message,
                "exec: \"nosuch\": executable file not found in $PATH"
            ),
            other => panic!("{other:?}"),
        }
        match error(&["/nosuch"]).await {
            StartError::NotFound(message) => assert_eq!(
                message,
                "exec: \"/nosuch\": stat /nosuch: no such file or directory"
            ),
            other => panic!("{other:?}"),
        }
        match error(&["/etc/text"]).await {
            StartError::NotExecutable(message) => {
                assert_eq!(message, "exec: \"/etc/text\": permission denied")
            }
            other => panic!("{other:?}"),
        }
        match error(&["/etc"]).await {
            StartError::NotExecutable(message) => {
                assert_eq!(message, "exec: \"/etc\": is a directory")
            }
            other => panic!("{other:?}"),
        }
    });
}

fn signals(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host
            .container(&[
                "sh",
                "-c",
                "trap 'exit 7' TERM; while :; do sleep 0.05; done",
            ])
            .start()
            .await
            .unwrap();
        // The trap is set once the shell runs; until then a signal to process 1 is lost.
        let exit = loop {
            let _ = running.shim.signal(Target::Init, 15).await;
            let mut exit = running.shim.exit();
            tokio::select! {
                _ = exit.wait_for(Option::is_some) => break running.exit().await,
                _ = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        };
        assert_eq!(exit.code, 7);
        running.shim.release().await.unwrap();

        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        running.shim.signal(Target::Init, 9).await.unwrap();
        assert_eq!(running.exit().await.code, 137);
        assert_eq!(
            running
                .shim
                .signal(Target::Init, 9)
                .await
                .unwrap_err()
                .raw_os_error(),
            Some(libc::ESRCH)
        );
        running.shim.release().await.unwrap();
    });
}
