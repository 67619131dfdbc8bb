use super::*;

fn env() -> Env {
    ["PWD=/home", "NULL=", "FOO=xxyy", "X=x", "URL=http://a/b"]
        .into_iter()
        .collect()
}

fn text(word: &str) -> String {
    match Lex::new('\\').text(word, &env()) {
        Ok(text) => text,
        Err(e) => format!("error: {}", e.cause),
    }
}

#[test]
fn variables_and_quotes() {
    for (word, expected) in [
        ("a$PWD/b", "a/home/b"),
        ("a\\$PWD", "a$PWD"),
        ("'$PWD'\"$PWD\"", "$PWD/home"),
        ("\"\\t\\\"\\\\\"", "\\t\"\\"),
        ("a\\", "a"),
        ("$", "$"),
        ("$.", "$."),
        ("he$1x", "hex"),
        ("$PWDé", ""),
        ("${PWD}é", "/homeé"),
        ("${NOTSET}x", "x"),
        (
            "'a",
            "error: unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"a",
            "error: unexpected end of statement while looking for matching double-quote",
        ),
        ("${", "error: syntax error: missing '}'"),
        ("${PWD", "error: syntax error: missing '}'"),
        ("${}", "error: syntax error: bad substitution"),
        ("${.}", "error: unsupported modifier (.) in substitution"),
    ] {
        assert_eq!(text(word), expected, "{word}");
    }
}

#[test]
fn words_instead() {
    for (word, expected) in [
        ("${U:-w} ${NULL:-w} ${X:-w}", "w w x"),
        ("${U-w} ${NULL-w} ${X-w}", "w  x"),
        ("${U:+w}.${NULL:+w}.${X:+w}", "..w"),
        ("${U+w}.${NULL+w}.${X+w}", ".w.w"),
        ("${X:?}${X?}${NULL?}", "xx"),
        ("${U:-${V:-$PWD}}", "/home"),
        ("${U?}", "error: U: is not allowed to be unset"),
        ("${U:?give $X}", "error: U: give x"),
        ("${NULL:?}", "error: NULL: is not allowed to be empty"),
        (
            "${X:=w}",
            "error: unsupported modifier (:=) in substitution",
        ),
        ("${X=w}", "error: unsupported modifier (=) in substitution"),
        (
            "${X:#w}",
            "error: unsupported modifier (:#) in substitution",
        ),
    ] {
        assert_eq!(text(word), expected, "{word}");
    }
}

#[test]
fn patterns() {
    for (word, expected) in [
        ("${FOO#x}${FOO##*x}", "xyyyy"),
        ("${FOO%y}${FOO%%y*}", "xxyxx"),
        ("${FOO#$X}", "xyy"),
        ("${URL/http:\\/\\//-}", "-a/b"),
        ("${FOO//x/z}", "zzyy"),
        ("${FOO/x/}", "xyy"),
        ("${U//x/z}", ""),
        ("${FOO//ww}", "error: syntax error: missing '/' in ${}"),
        ("${FOO/a/b", "error: syntax error: missing '}'"),
        (
            "${FOO#\\x}",
            "error: invalid pattern (\\x) in substitution: invalid escape '\\x'",
        ),
    ] {
        assert_eq!(text(word), expected, "{word}");
    }
}

#[test]
fn words_are_split_where_nothing_is_quoted() {
    let env: Env = ["S=a  b", "T= c "].into_iter().collect();
    let words = |text: &str| Lex::new('\\').words(text, &env).unwrap();
    assert_eq!(words("x${S}y"), ["xa", "by"]);
    assert_eq!(words("\"$S\" d"), ["a  b", "d"]);
    assert_eq!(words("x${T}y"), ["x", "c", "y"]);
    assert_eq!(words("a\\ b"), ["a b"]);
    assert_eq!(words("80${U:-81} ${U:-2}${U:-3}"), ["8081", "23"]);
    assert_eq!(words("cat <<  EOF x"), ["cat", "<<  EOF", "x"]);
}

#[test]
fn what_is_not_set_may_stay() {
    let lex = Lex {
        keeps_unset: true,
        keeps_quotes: true,
        ..Lex::new('\\')
    };
    let word = "\"$U\" ${U} ${U:-a} ${U#b} ${U/c/d} $X";
    let shown = "\"$U\" ${U} ${U:-a} ${U#b} ${U/c/d} x";
    assert_eq!(lex.text(word, &env()).unwrap(), shown);
}

#[test]
fn what_was_asked_for_is_known() {
    let expansion = Lex::new('\\').expand("$X ${U:-$PWD} $X", &env()).unwrap();
    assert_eq!(Vec::from_iter(expansion.used), ["PWD", "X"]);
    assert_eq!(Vec::from_iter(expansion.unset), ["U"]);
}

#[test]
fn another_escape() {
    let lex = Lex::new('`');
    assert_eq!(lex.text("a\\b`$PWD", &env()).unwrap(), "a\\b$PWD");
    let content = Lex::for_content();
    assert_eq!(
        content.text("'$X' \"a\"\n\\$X", &env()).unwrap(),
        "'x' \"a\"\n$X"
    );
}

#[test]
fn there_are_bounds() {
    let deep = "${U:-".repeat(DEEPEST + 1) + &"}".repeat(DEEPEST + 1);
    assert_eq!(
        text(&deep),
        "error: substitutions are nested deeper than 100"
    );
    let mut env = Env::default();
    env.set("A", &"a".repeat(1 << 20));
    let many = "$A".repeat(17);
    let error = Lex::new('\\').text(&many, &env).unwrap_err();
    assert_eq!(error.cause, Cause::TooLong);
    let error = Lex::new('\\').text("${A//a/$A}", &env).unwrap_err();
    assert_eq!(error.cause, Cause::TooLong);
}
