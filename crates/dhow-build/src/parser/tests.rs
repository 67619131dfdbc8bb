use proptest::prelude::*;

use super::*;

fn texts(content: &str) -> Vec<String> {
    let document = parse(content.as_bytes()).unwrap();
    document.statements.into_iter().map(|s| s.text).collect()
}

fn error(content: &str) -> (String, Option<Lines>) {
    let error = parse(content.as_bytes()).unwrap_err();
    (error.to_string(), error.lines)
}

#[test]
fn lines_are_joined() {
    assert_eq!(
        texts("FROM a\r\nRUN b \\\r\n  c\r\n"),
        ["FROM a", "RUN b   c"]
    );
    assert_eq!(texts("  RUN a \\ \t\n# no\n b\\\\\n"), ["RUN a  b\\\\"]);
    assert_eq!(texts("RUN a \\\n\n\n b"), ["RUN a  b"]);
    assert_eq!(texts("RUN a \\"), ["RUN a "]);
    assert_eq!(
        texts("# escape=`\nRUN a\\\nRUN b `\nc"),
        ["RUN a\\", "RUN b c"]
    );
    assert_eq!(texts("\u{feff}FROM a"), ["FROM a"]);
}

#[test]
fn places_are_known() {
    let content = "# escape = \\\n\nFROM a\n# x\nRUN b \\\n\n  c\n\nCOPY <<E <<F /\n1\nE\nF\nCMD x";
    let document = parse(content.as_bytes()).unwrap();
    let lines: Vec<_> = document.statements.iter().map(|s| s.lines).collect();
    let expected = [(3, 3), (5, 7), (9, 12), (13, 13)].map(|(a, b)| Lines::new(a, b));
    assert_eq!(lines, expected);
    assert_eq!(document.empty_continuations, [Lines::one(7)]);
    assert_eq!(document.statements[2].heredocs[0].content, b"1\n");
    assert_eq!(document.statements[2].heredocs[1].content, b"");
}

#[test]
fn comments_right_above_belong_to_a_statement() {
    let content = "# syntax=x\n# a\n#\n# b\n  # c\nFROM a\n\n# d\n\n# e\nRUN x";
    let document = parse(content.as_bytes()).unwrap();
    assert_eq!(document.statements[0].comments, ["b", "# c"]);
    assert_eq!(document.statements[1].comments, ["d", "e"]);
    assert_eq!(document.directives.syntax.unwrap().value, "x");
}

#[test]
fn heredocs_are_of_some_instructions_only() {
    let heredocs = |content: &str| -> Vec<(String, Vec<u8>)> {
        let document = parse(content.as_bytes()).unwrap();
        let all = document.statements.into_iter().flat_map(|s| s.heredocs);
        all.map(|h| (h.name, h.content)).collect()
    };
    let one = |name: &str, content: &str| vec![(name.to_owned(), content.as_bytes().to_vec())];
    assert_eq!(heredocs("RUN <<E sh\na\r\nE\r\n"), one("E", "a\r\n"));
    assert_eq!(heredocs("RUN <<-E\n\ta\n\tE\n"), one("E", "\ta\n"));
    assert_eq!(heredocs("ONBUILD COPY <<E /a\nb\nE"), one("E", "b\n"));
    assert_eq!(
        heredocs("RUN --mount=type=x <<E\n# a\nE"),
        one("E", "# a\n")
    );
    assert_eq!(heredocs("USER <<E\nUSER E"), vec![]);
    assert_eq!(heredocs("RUN [\"<<E\"]"), vec![]);
}

#[test]
fn what_is_wrong_is_said_with_its_lines() {
    let at = |message: &str, lines| (message.to_owned(), lines);
    let some = |first, last| Some(Lines::new(first, last));
    for empty in ["", "\n \n", "# only\n"] {
        assert_eq!(error(empty), at("file with no instructions", None));
    }
    assert_eq!(
        error("# escape=x\nFROM a"),
        at(
            "invalid escape token 'x' does not match ` or \\",
            some(1, 1)
        )
    );
    assert_eq!(
        error("# escape=`\n# escape=`\nFROM a"),
        at("only one escape parser directive can be used", some(2, 2))
    );
    assert_eq!(
        error("FROM a\nRUN <<E\nb\n"),
        at("unterminated heredoc", some(2, 2))
    );
    assert_eq!(
        error("FROM a\nENV \\\nx"),
        at("ENV must have two arguments", some(2, 3))
    );
    assert_eq!(
        error("ENV a=b c"),
        at(
            "Syntax error - can't find = in \"c\". Must be of the form: name=value",
            some(1, 1)
        )
    );
    assert_eq!(
        error("CMD [ \"a\", [ \"b\" ] ]").0,
        "when using JSON array syntax, arrays must be comprised of strings only"
    );
}

#[test]
fn a_trigger_is_one_statement() {
    assert_eq!(parse_trigger("RUN <<E\na\nE").unwrap().heredocs.len(), 1);
    assert!(parse_trigger("RUN a\nRUN b").is_err());
    assert!(parse_trigger("").is_err());
}

fn without_places(document: &Document) -> (Vec<Statement>, char) {
    let bare = |statement: &Statement| Statement {
        lines: Lines::default(),
        ..statement.clone()
    };
    (
        document.statements.iter().map(bare).collect(),
        document.escape,
    )
}

proptest! {
    #[test]
    fn any_input_is_refused_or_printed_the_same(
        pieces in proptest::collection::vec(prop_oneof![
            Just("FROM a"), Just("RUN "), Just("COPY "), Just("ENV "), Just("ONBUILD "), Just("CMD "), Just("<<E"), Just("<<-'E' "),
            Just("E"), Just("\n"), Just("\r\n"), Just("\n"), Just("\\"), Just("\\\n"), Just(" "), Just("\t"), Just("#"), Just("# escape=`\n"),
            Just("`"), Just("["), Just("\"a\""), Just("]"), Just("'"), Just("--x=y "), Just("--"), Just("a=b "), Just("é"), Just("# a b\n"),
            Just("$x"), Just("\u{feff}"), Just("\0"), Just("ARG x\n"),
        ], 0..24)
    ) {
        if let Ok(document) = parse(pieces.concat().as_bytes()) {
            let again = parse(&document.print());
            prop_assert_eq!(again.map(|again| without_places(&again)), Ok(without_places(&document)));
        }
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
