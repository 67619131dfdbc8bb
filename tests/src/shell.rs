//! Command lines as a user types them, run inside a test host.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::eventually;

/// A command line that has ended.
#[derive(Debug)]
pub struct Finished {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Its standard output without the last newline; the test fails if the command did.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// Its error output; the test fails unless the command ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        self.stderr.trim_end().to_owned()
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let out = self.ok();
        serde_json::from_str(&out)
            .unwrap_or_else(|e| panic!("`{line}` didn't print JSON: {e}\n{out}"))
    }
}

/// No command of a test takes minutes: one that does hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs to the end. A command that takes longer than it may is ended, and fails the test.
#[track_caller]
pub(crate) fn run(mut shell: Command, line: &str, patience: Duration) -> Finished {
    let patience = patience * crate::patience();
    let output = shell
        .arg("--kill-after=5")
        .arg(patience.as_secs_f64().to_string())
        .args(["sh", "-c", line])
        .stdin(Stdio::null())
        .output()
        .expect("coreutils are installed");
    let finished = Finished {
        line: line.to_owned(),
        code: code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert_ne!(
        finished.code, 124,
        "`{line}` was not answered within {patience:?}: {finished:#?}"
    );
    finished
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// A command line that runs beside the test, with its output in files.
#[derive(Debug)]
pub struct Background {
    child: Child,
    line: String,
    out: PathBuf,
    err: PathBuf,
}

impl Background {
    pub(crate) fn start(mut shell: Command, line: &str, dir: PathBuf, stdin: Stdio) -> Background {
        std::fs::create_dir_all(&dir).expect("the host's directory is writable");
        let (out, err) = (dir.join("out"), dir.join("err"));
        let file = |path: &PathBuf| File::create(path).expect("the host's directory is writable");
        let child = shell
            .args(["-c", line])
            .stdin(stdin)
            .stdout(file(&out))
            .stderr(file(&err))
            // A group of its own, so that what it started can be ended with it.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Background {
            child,
            line: line.to_owned(),
            out,
            err,
        }
    }

    pub fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.child
            .stdin
            .as_mut()
            .expect("it was started with a pipe")
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// Waits until its output has this in it, and gives the output.
    #[track_caller]
    pub fn prints(&self, text: &str) -> String {
        eventually(
            &format!(
                "`{}` prints {text:?}; so far {:?}, {:?}",
                self.line,
                self.stdout(),
                self.stderr()
            ),
            || {
                let out = self.stdout();
                out.contains(text).then_some(out)
            },
        )
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        // A child that wasn't waited for keeps its id, so it can't be another's.
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        self.child.stdin = None;
        let status = eventually(&format!("`{}` ends", self.line), || {
            self.child.try_wait().expect("it is our child")
        });
        Finished {
            line: self.line.clone(),
            code: code(status),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(rustix::process::Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn read(path: &PathBuf) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
