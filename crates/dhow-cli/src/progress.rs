//! The progress of pulls and pushes: a line for each layer that is drawn anew, or plain lines where
//! there is no terminal.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};

use dhow_api::{JsonMessage, ProgressDetail};
use dhow_client::JsonStream;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::Result;
use crate::format::units;

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
    Nowhere,
}

impl Output {
    fn is_terminal(self) -> bool {
        match self {
            Output::Stdout => io::stdout().is_terminal(),
            Output::Stderr => io::stderr().is_terminal(),
            Output::Nowhere => false,
        }
    }

    fn line(self, text: &str) -> io::Result<()> {
        match self {
            Output::Stdout => writeln!(io::stdout().lock(), "{text}"),
            Output::Stderr => writeln!(io::stderr().lock(), "{text}"),
            Output::Nowhere => Ok(()),
        }
    }

    fn raw(self, text: &str) -> io::Result<()> {
        match self {
            Output::Stdout => io::stdout().lock().write_all(text.as_bytes()),
            Output::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Output::Nowhere => Ok(()),
        }
    }
}

/// A bar is drawn where a line is wider than this.
const NARROW: usize = 110;

/// Shows a stream of progress until its end; its failure is this function's. What comes as `aux` is
/// handed on.
pub async fn show(
    mut stream: JsonStream<JsonMessage>,
    output: Output,
    mut aux: impl FnMut(&serde_json::Value),
) -> Result<()> {
    let mut lines = Lines::new(output);
    while let Some(message) = stream.next().await? {
        if let Some(value) = &message.aux {
            aux(value);
            continue;
        }
        if let Some(failure) = failure(&message) {
            lines.settle();
            return Err(dhow_client::Error::Stream(failure).into());
        }
        lines.message(&message)?;
    }
    lines.settle();
    Ok(())
}

fn failure(message: &JsonMessage) -> Option<String> {
    match &message.error_detail {
        Some(detail) if !detail.message.is_empty() => Some(detail.message.clone()),
        _ if !message.error.is_empty() => Some(message.error.clone()),
        _ => None,
    }
}

struct Lines {
    output: Output,
    terminal: bool,
    /// The lines that may still be drawn anew, by id.
    live: HashMap<String, ProgressBar>,
    multi: MultiProgress,
    wide: bool,
}

impl Lines {
    fn new(output: Output) -> Lines {
        Lines {
            output,
            terminal: output.is_terminal(),
            live: HashMap::new(),
            multi: multi(output),
            wide: crate::terminal::columns() > NARROW,
        }
    }

    fn message(&mut self, message: &JsonMessage) -> io::Result<()> {
        let moves = !message.id.is_empty() && message.progress_detail.is_some();
        if self.terminal && moves {
            self.draw(message);
            return Ok(());
        }
        if !self.terminal
            && let Some(detail) = &message.progress_detail
            && (detail.current > 0 || detail.total > 0)
        {
            // Without a terminal only the steps are told, not how far each has come.
            return Ok(());
        }
        // What comes now stands beneath the lines so far, which are done.
        self.settle();
        if !message.stream.is_empty() {
            return self.output.raw(&message.stream);
        }
        match message.id.as_str() {
            "" => self.output.line(&message.status),
            id => self.output.line(&format!("{id}: {}", message.status)),
        }
    }

    fn draw(&mut self, message: &JsonMessage) {
        let bar = self.live.entry(message.id.clone()).or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::new(0));
            bar.set_prefix(message.id.clone());
            bar
        });
        let detail = message.progress_detail.clone().unwrap_or_default();
        let counts = counts(&detail);
        let measured = detail.total > 0 && self.wide;
        let template = match measured {
            true => "{prefix}: {msg} [{bar:51}] ",
            false => "{prefix}: {msg} ",
        };
        // Braces of the figures would be taken for placeholders; there are none.
        if let Ok(style) = ProgressStyle::with_template(&format!("{template}{counts}")) {
            bar.set_style(style.progress_chars("=> "));
        }
        if measured {
            bar.set_length(detail.total.unsigned_abs());
            bar.set_position(detail.current.max(0).unsigned_abs());
        }
        bar.set_message(message.status.clone());
        bar.tick();
    }

    /// Leaves the lines as they are, for good.
    fn settle(&mut self) {
        if self.live.is_empty() {
            return;
        }
        for (_, bar) in self.live.drain() {
            bar.abandon();
        }
        self.multi = multi(self.output);
    }
}

fn multi(output: Output) -> MultiProgress {
    MultiProgress::with_draw_target(match output {
        Output::Stdout => ProgressDrawTarget::stdout(),
        Output::Stderr => ProgressDrawTarget::stderr(),
        Output::Nowhere => ProgressDrawTarget::hidden(),
    })
}

/// `1.2MB/3.4MB`, or what is known of it.
fn counts(detail: &ProgressDetail) -> String {
    if (detail.current <= 0 && detail.total <= 0) || detail.hidecounts {
        return String::new();
    }
    let amount = |n: i64| match detail.units.as_str() {
        "" => units::long_size(n),
        _ => n.to_string(),
    };
    let unit = match detail.units.as_str() {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    if detail.total <= 0 || detail.current > detail.total {
        return format!("{:>8}{unit}", amount(detail.current));
    }
    format!(
        "{:>8}/{}{unit}",
        amount(detail.current),
        amount(detail.total)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_dockers() {
        let show = |current, total| {
            counts(&ProgressDetail {
                current,
                total,
                ..ProgressDetail::default()
            })
        };
        assert_eq!(show(0, 0), "");
        assert_eq!(show(1_500_000, 3_000_000), "   1.5MB/3MB");
        assert_eq!(show(1_500_000, 0), "   1.5MB");
        assert_eq!(show(4_000_000, 3_000_000), "     4MB");
    }
}
