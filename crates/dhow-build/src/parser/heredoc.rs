//! `<<NAME`: lines of the Dockerfile that are a file or a script.

use crate::expand::{Env, Lex};
use crate::problem::Problem;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    pub name: String,
    /// The digits in front of `<<`.
    pub descriptor: u32,
    /// Whether variables in it are replaced: not where a part of the name is quoted.
    pub expands: bool,
    /// `<<-`: tabs at the front of its lines go.
    pub chomps: bool,
    pub content: Vec<u8>,
}

impl Heredoc {
    /// The content without what `<<-` takes away.
    pub fn chomped(&self) -> Vec<u8> {
        if !self.chomps {
            return self.content.clone();
        }
        let mut out = Vec::with_capacity(self.content.len());
        for line in self.content.split_inclusive(|b| *b == b'\n') {
            let tabs = line.iter().take_while(|b| **b == b'\t').count();
            out.extend_from_slice(&line[tabs..]);
        }
        out
    }
}

/// Those that a statement's line opens, in their order.
pub(crate) fn of_line(line: &str) -> Result<Vec<Heredoc>, Problem> {
    let lex = Lex {
        keeps_quotes: true,
        keeps_escapes: true,
        keeps_unset: true,
        ..Lex::new('\\')
    };
    // A line that is no words opens none: the shell will say what is wrong with it.
    let Ok(words) = lex.words(line, &Env::default()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for word in words {
        found.extend(of_word(&word)?);
    }
    Ok(found)
}

/// The one that a word opens, if it does.
pub(crate) fn of_word(word: &str) -> Result<Option<Heredoc>, Problem> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &word[..word.len() - rest.len()];
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomps, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let space = |c| matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    let rest = rest.trim_start_matches(space);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let lex = Lex {
        keeps_unset: true,
        ..Lex::new('\\')
    };
    let words = lex.words(rest, &Env::default())?;
    let [name] = &words[..] else {
        return Ok(None);
    };
    // A quote that is there only while quotes are kept has quoted something.
    let raw = Lex {
        keeps_quotes: true,
        ..lex
    };
    let with_quotes = raw.words(rest, &Env::default())?.concat();
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc {
        name: name.clone(),
        descriptor: match digits {
            "" => 0,
            digits => digits.parse().unwrap_or(u32::MAX),
        },
        expands: quotes(name) == quotes(&with_quotes),
        chomps,
        content: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(word: &str) -> Option<(String, u32, bool, bool)> {
        let found = of_word(word).unwrap()?;
        Some((found.name, found.descriptor, found.expands, found.chomps))
    }

    #[test]
    fn words_that_open_one() {
        let one = |name: &str, fd, expands, chomps| Some((name.to_owned(), fd, expands, chomps));
        assert_eq!(seen("<<EOF"), one("EOF", 0, true, false));
        assert_eq!(seen("3<<-  EOF"), one("EOF", 3, true, true));
        assert_eq!(seen("<<'EOF'"), one("EOF", 0, false, false));
        assert_eq!(seen("<<eo'f'"), one("eof", 0, false, false));
        assert_eq!(seen("<<eo\\'f"), one("eo'f", 0, true, false));
        assert_eq!(seen("<<'one two'"), one("one two", 0, false, false));
        assert_eq!(seen("<<$X"), one("$X", 0, true, false));
        assert_eq!(seen("99999999999<<X"), one("X", u32::MAX, true, false));
        for none in ["<<", "<X", "<<<X", "a<<X", "\"<<X\"", "<<a b", "<<''"] {
            assert_eq!(seen(none), None, "{none}");
        }
    }

    #[test]
    fn lines_that_open_several() {
        let names = |line| -> Vec<String> {
            let found = of_line(line).unwrap();
            found.into_iter().map(|heredoc| heredoc.name).collect()
        };
        assert_eq!(names("COPY <<A <<-'B C' << D /x"), ["A", "B C", "D"]);
        assert!(names("RUN echo '<<A' \"<<B\"").is_empty());
        assert!(names("RUN echo 'unfinished <<A").is_empty());
    }

    #[test]
    fn tabs_go_where_they_are_to() {
        let mut heredoc = of_word("<<-E").unwrap().unwrap();
        heredoc.content = b"\t\ta\n \tb\n\n\tc".to_vec();
        assert_eq!(heredoc.chomped(), b"a\n \tb\n\nc");
        heredoc.chomps = false;
        assert_eq!(heredoc.chomped(), heredoc.content);
    }
}
