//! A real terminal, tmux's, that a test types into and whose screen it reads.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::eventually;

pub struct Terminal {
    /// tmux's socket: a server of its own for each terminal.
    socket: PathBuf,
}

impl Terminal {
    /// `tmux` has the environment of the host already.
    pub(crate) fn start(mut tmux: Command, socket: &Path, line: &str) -> Terminal {
        let status = tmux
            .arg("-S")
            .arg(socket)
            .args([
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                "100",
                "-y",
                "30",
                "sh",
            ])
            .status()
            .expect("tmux is installed");
        assert!(status.success());
        let terminal = Terminal {
            socket: socket.to_path_buf(),
        };
        terminal.tmux(&["set-option", "-g", "status", "off"]);
        terminal.tmux(&["set-option", "-g", "window-size", "manual"]);
        // So that what is waited for isn't found in the prompt or in what was typed.
        terminal.enter("PS1='> '; clear");
        eventually("the prompt is there", || {
            (terminal.screen().trim() == ">").then_some(())
        });
        terminal.enter(line);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(args)
            .output()
            .expect("tmux is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types text and the enter key.
    pub fn enter(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.key("Enter");
    }

    /// A key by tmux's name, such as `C-p`.
    pub fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Types two keys as a person does, until the shell's own prompt is there again: Docker's client knows its
    /// detach keys only if it reads them one at a time, and on a busy machine it may read two at once.
    #[track_caller]
    pub fn detach_with(&self, [first, second]: [&str; 2]) {
        for pause in [200, 500, 1000, 2000, 4000] {
            let pause = std::time::Duration::from_millis(pause);
            std::thread::sleep(pause);
            self.key(first);
            std::thread::sleep(pause);
            self.key(second);
            let detached = crate::within(pause * 4, || {
                self.screen().trim_end().ends_with('>').then_some(())
            });
            if detached.is_some() {
                return;
            }
            // What they did to the line of the shell inside.
            self.key("C-u");
        }
        self.is_back_at_prompt();
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
        ]);
    }

    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-200"])
    }

    /// Waits until a line of the screen is this, and gives the screen.
    #[track_caller]
    pub fn shows_line(&self, line: &str) -> String {
        self.shows(&format!("the line {line:?}"), |screen| {
            screen.lines().any(|shown| shown.trim_end() == line)
        })
    }

    #[track_caller]
    pub fn shows_text(&self, text: &str) -> String {
        self.shows(&format!("{text:?}"), |screen| screen.contains(text))
    }

    #[track_caller]
    pub fn shows(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = crate::within(std::time::Duration::from_secs(30), || {
            last = self.screen();
            condition(&last).then_some(())
        });
        assert!(found.is_some(), "the terminal never shows {what}:\n{last}");
        last
    }

    /// Waits until the shell's own prompt is the last that there is again, if after an echoed `^C`.
    #[track_caller]
    pub fn is_back_at_prompt(&self) -> String {
        self.shows("its own prompt again", |screen| {
            screen.trim_end().ends_with('>')
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
