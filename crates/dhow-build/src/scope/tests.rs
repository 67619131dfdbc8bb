use super::*;
use crate::parser;

fn platforms() -> Platforms {
    Platforms {
        build: Platform::new("linux", "amd64", ""),
        target: Platform::new("linux", "arm", "v7"),
    }
}

fn given(pairs: &[(&str, &str)]) -> BuildArgs {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn read(content: &str) -> Dockerfile {
    Dockerfile::parse(&parser::parse(content.as_bytes()).unwrap()).unwrap()
}

/// The variables after the last instruction of the last stage, and what was not set in it.
fn after(content: &str, args: &BuildArgs) -> (Scope, Vec<String>) {
    let dockerfile = read(content);
    let target = dockerfile.target("").unwrap();
    let globals = Globals::new(&dockerfile, &platforms(), target, args).unwrap();
    let mut scope = Scope::new(dockerfile.escape, ["PATH=/bin"].into_iter().collect());
    let mut missing = Vec::new();
    for instruction in &dockerfile.stages[target].instructions {
        let (_, unset) = scope.apply(instruction, &globals, args).unwrap();
        missing.extend(unset);
    }
    (scope, missing)
}

#[test]
fn from_sees_what_is_in_front_of_it() {
    let dockerfile = read("ARG A=1\nARG B=$A-$TARGETARCH C D=x\nFROM x AS last");
    let args = given(&[("D", "given"), ("TARGETARCH", "other"), ("E", "unused")]);
    let globals = Globals::new(&dockerfile, &platforms(), 0, &args).unwrap();
    for (name, value) in [
        ("A", Some("1")),
        ("B", Some("1-other")),
        ("C", None),
        ("D", Some("given")),
        ("E", None),
        ("BUILDPLATFORM", Some("linux/amd64")),
        ("TARGETPLATFORM", Some("linux/arm/v7")),
        ("TARGETVARIANT", Some("v7")),
        ("TARGETSTAGE", Some("last")),
    ] {
        assert_eq!(globals.env.get(name), value, "{name}");
    }
    assert!(globals.declared.contains("C"));
}

#[test]
fn a_stage_sees_what_it_declares() {
    let content =
        "ARG A=1\nARG B=2\nFROM x\nENV S=$A\nARG A\nARG B=3 C=$A$B D\nENV E=$A C=$C$C F=$C";
    let (scope, missing) = after(content, &given(&[("B", "b")]));
    let value = |name| scope.env.get(name);
    assert_eq!(value("S"), Some(""));
    assert_eq!(value("A"), Some("1"));
    assert_eq!(value("B"), Some("b"));
    assert_eq!(value("C"), Some("1b1b"));
    // What ENV sets counts from the next instruction on.
    assert_eq!(value("F"), Some("1b"));
    assert_eq!(value("D"), None);
    assert_eq!(missing, ["A"]);
    let history = ["|4", "A=1", "B=b", "C=1b1b", "D="];
    assert_eq!(scope.history(), history);
}

#[test]
fn platforms_are_there_where_they_are_declared() {
    let (scope, missing) = after(
        "FROM x\nENV A=$TARGETARCH\nARG TARGETARCH\nENV B=$TARGETARCH",
        &given(&[]),
    );
    assert_eq!(scope.env.get("A"), Some(""));
    assert_eq!(scope.env.get("B"), Some("arm"));
    assert_eq!(missing, ["TARGETARCH"]);
    let (scope, _) = after("FROM x\nARG BUILDKIT_SBOM_SCAN_STAGE=1", &given(&[]));
    assert_eq!(scope.env.get("BUILDKIT_SBOM_SCAN_STAGE"), None);
    assert_eq!(after("FROM x", &given(&[])).0.history(), [""; 0]);
}

#[test]
fn proxies_need_no_declaration() {
    let env = proxies(&given(&[
        ("http_proxy", "a"),
        ("NO_PROXY", "b"),
        ("X", "c"),
    ]));
    let pairs: Vec<_> = env.iter().collect();
    let expected = [
        ("HTTP_PROXY", "a"),
        ("http_proxy", "a"),
        ("NO_PROXY", "b"),
        ("no_proxy", "b"),
    ];
    assert_eq!(pairs, expected);
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    let dockerfile = read("ARG A\nARG B=${A?}\nFROM x");
    let globals = Globals::new(&dockerfile, &platforms(), 0, &given(&[]));
    let error = globals.unwrap_err();
    assert_eq!(error.lines.unwrap().first, 2);
    assert_eq!(
        error.to_string(),
        "failed to process \"${A?}\": A: is not allowed to be unset"
    );
}

#[test]
fn variables_have_a_bound() {
    let many: String = (0..=MOST).map(|n| format!("ENV A{n}=1\n")).collect();
    let dockerfile = read(&format!("FROM x\n{many}"));
    let globals = Globals::new(&dockerfile, &platforms(), 0, &given(&[])).unwrap();
    let mut scope = Scope::new('\\', Env::default());
    let mut instructions = dockerfile.stages[0].instructions.iter();
    let error = instructions.find_map(|i| scope.apply(i, &globals, &given(&[])).err());
    assert_eq!(
        error.unwrap().to_string(),
        "a Dockerfile may not have more than 10000 variables in a stage"
    );
}
