//! Where something stands in a Dockerfile, and how that is shown.

use std::fmt::Write;

/// Lines from the first to the last of them, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lines {
    pub first: usize,
    pub last: usize,
}

impl Lines {
    pub const fn one(line: usize) -> Lines {
        Lines {
            first: line,
            last: line,
        }
    }

    pub const fn new(first: usize, last: usize) -> Lines {
        Lines { first, last }
    }

    pub const fn contains(&self, line: usize) -> bool {
        self.first <= line && line <= self.last
    }
}

/// So many lines are shown before and after those that are meant.
const NEIGHBOURS: usize = 2;

/// No more lines are shown than these.
const MOST: usize = 40;

/// The lines that are meant, marked, with their neighbours, under the file's name:
///
/// ```text
/// Dockerfile:2
/// --------------------
///    1 |     FROM a
///    2 | >>> RAN b
///    3 |     RUN c
/// --------------------
/// ```
///
/// Nothing where no such line is there.
pub fn excerpt(file: &str, content: &[u8], meant: Lines) -> String {
    let content = String::from_utf8_lossy(content);
    let lines: Vec<&str> = content.lines().collect();
    if meant.first == 0 || meant.first > lines.len() {
        return String::new();
    }
    let from = meant.first.saturating_sub(NEIGHBOURS).max(1);
    let to = (meant.last.max(meant.first) + NEIGHBOURS)
        .min(lines.len())
        .min(from + MOST - 1);
    let rule = "-".repeat(20);
    let mut out = format!("{file}:{}\n{rule}\n", meant.first);
    for number in from..=to {
        let mark = if meant.contains(number) { ">>>" } else { "   " };
        let line = format!("{number:4} | {mark} {}", lines[number - 1]);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out + &rule + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_with_their_neighbours() {
        let file = b"FROM a\r\nRUN 1\n\nRUN 2 \\\n  3\nRUN 4\nRUN 5\nRUN 6\n";
        let shown = excerpt("some/Dockerfile", file, Lines::new(4, 5));
        let expected = "some/Dockerfile:4\n\
            --------------------\n   \
            2 |     RUN 1\n   \
            3 |\n   \
            4 | >>> RUN 2 \\\n   \
            5 | >>>   3\n   \
            6 |     RUN 4\n   \
            7 |     RUN 5\n\
            --------------------\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_that_are_not_there_are_not_shown() {
        assert_eq!(excerpt("f", b"a\n", Lines::one(2)), "");
        assert_eq!(excerpt("f", b"", Lines::one(0)), "");
        assert!(excerpt("f", b"a", Lines::new(1, 9)).contains("1 | >>> a"));
        assert!(
            excerpt("f", &b"a\n".repeat(99), Lines::new(1, 99))
                .lines()
                .count()
                < 45
        );
    }
}
