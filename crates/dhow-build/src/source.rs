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

/// No more lines are shown than these.
const MOST: usize = 1000;

/// The lines that are meant, marked, with their neighbours, under the file's name: as BuildKit shows them, two before and
/// after one line, one before and after several.
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
    let count = content.split('\n').count();
    if meant.first == 0 || meant.first > count {
        return String::new();
    }
    let neighbours = if meant.last > meant.first { 1 } else { 2 };
    let from = meant.first.saturating_sub(neighbours).max(1);
    let to = (meant.last.max(meant.first) + neighbours).min(count);
    let rule = "-".repeat(20);
    let mut out = format!("{file}:{}\n{rule}\n", meant.first);
    let numbered = content.split('\n').enumerate().skip(from - 1);
    for (n, line) in numbered.take((to - from + 1).min(MOST)) {
        let (number, line) = (n + 1, line.trim_end_matches('\r'));
        let mark = if meant.contains(number) { ">>>" } else { "   " };
        let _ = writeln!(out, " {number:3} | {mark} {line}");
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
            3 |     \n   \
            4 | >>> RUN 2 \\\n   \
            5 | >>>   3\n   \
            6 |     RUN 4\n\
            --------------------\n";
        assert_eq!(shown, expected);
        let shown = excerpt("f", file, Lines::one(7));
        let numbers: Vec<_> = shown.lines().filter_map(|l| l.split_once(" | ")).collect();
        assert_eq!(numbers[0].0.trim(), "5");
        assert_eq!(numbers[2], ("   7", ">>> RUN 5"));
        assert_eq!(numbers.len(), 5);
    }

    #[test]
    fn lines_that_are_not_there_are_not_shown() {
        assert_eq!(excerpt("f", b"a\n", Lines::one(3)), "");
        assert_eq!(excerpt("f", b"", Lines::one(0)), "");
        assert!(excerpt("f", b"a", Lines::new(1, 9)).contains("1 | >>> a"));
        let long = b"a\n".repeat(MOST * 2);
        let shown = excerpt("f", &long, Lines::new(1, MOST * 2));
        assert_eq!(shown.lines().count(), MOST + 3);
    }
}
