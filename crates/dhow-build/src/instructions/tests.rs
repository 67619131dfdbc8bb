use super::*;
use crate::expand::{Env, Lex};
use crate::parser;

fn dockerfile(content: &str) -> Result<Dockerfile, String> {
    let document = parser::parse(content.as_bytes()).map_err(|e| e.to_string())?;
    Dockerfile::parse(&document).map_err(|e| e.to_string())
}

/// One instruction of a stage.
fn action(text: &str) -> Action {
    let mut read = dockerfile(&format!("FROM a\n{text}")).unwrap();
    read.stages[0].instructions.remove(0).action
}

fn error(text: &str) -> String {
    let message = dockerfile(&format!("FROM a\n{text}")).unwrap_err();
    match message.strip_prefix("dockerfile parse error on line 2: ") {
        Some(message) => message.to_owned(),
        None => panic!("{message}"),
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn commands() {
    let shell = |text: &str| Command::Shell(text.to_owned());
    assert_eq!(action("CMD echo  \"a\""), Action::Cmd(shell("echo  \"a\"")));
    assert_eq!(
        action("entrypoint [\"a\", \"b c\"]"),
        Action::Entrypoint(Command::Exec(words(&["a", "b c"])))
    );
    assert_eq!(action("CMD []"), Action::Cmd(Command::Exec(vec![])));
    assert_eq!(action("CMD"), Action::Cmd(shell("")));
    assert_eq!(action("SHELL [\"a\"]"), Action::Shell(words(&["a"])));
}

#[test]
fn run_has_its_flags() {
    let run = "RUN --network=none --security=insecure --device=vendor.com/x=y,required \
        --mount=type=cache,target=/c --mount=from=b,target=/d make it";
    let Action::Run(run) = action(run) else {
        panic!()
    };
    assert_eq!(run.network, Network::None);
    assert_eq!(run.security, Security::Insecure);
    assert_eq!(run.devices[0].name, "vendor.com/x=y");
    assert!(run.devices[0].required);
    assert_eq!(run.mounts[0].from(), None);
    assert_eq!(run.mounts[1].from(), Some("b"));
    assert_eq!(run.script(), Script::Shell("make it".to_owned()));
}

#[test]
fn heredocs_are_scripts() {
    let script = |text: &str| match action(text) {
        Action::Run(run) => run.script(),
        other => panic!("{other:?}"),
    };
    let shell = |text: &str| Script::Shell(text.to_owned());
    assert_eq!(script("RUN <<-E\n\ta\n\tb\nE"), shell("a\nb\n"));
    assert_eq!(script("RUN <<E cat\na\nE"), shell("<<E cat\na\nE"));
    assert_eq!(
        script("RUN <<E\n#!/bin/x\nE"),
        Script::File {
            name: "E".to_owned(),
            content: b"#!/bin/x\n".to_vec()
        }
    );
    let exec = Script::Exec(words(&["<<E"]));
    assert_eq!(script("RUN [\"<<E\"]"), exec);
}

#[test]
fn copy_and_add_have_their_flags() {
    let copy = "COPY --from=b --chown=1:2 --chmod=u+x --link --parents=false --exclude=a --exclude=b x $Y /z/";
    let expected = Copy {
        sources: Sources {
            paths: words(&["x", "$Y"]),
            inline: vec![],
            destination: "/z/".to_owned(),
        },
        from: Some("b".to_owned()),
        chown: "1:2".to_owned(),
        chmod: "u+x".to_owned(),
        link: true,
        parents: false,
        exclude: words(&["a", "b"]),
    };
    assert_eq!(action(copy), Action::Copy(expected));
    let add =
        "ADD --checksum=sha256:$S --keep-git-dir=true --unpack=false --link=false [\"a b\", \"c\"]";
    let expected = Add {
        sources: Sources {
            paths: words(&["a b"]),
            inline: vec![],
            destination: "c".to_owned(),
        },
        checksum: "sha256:$S".to_owned(),
        keep_git_dir: Some(true),
        unpack: Some(false),
        ..Add::default()
    };
    assert_eq!(action(add), Action::Add(expected));
}

#[test]
fn variables_are_replaced_where_they_are_to_be() {
    let env: Env = ["V=1", "W=a b"].into_iter().collect();
    let expanded = |text: &str| {
        let mut expander = Expander::new(Lex::new('\\'), &env);
        let action = action(text).expanded(&mut expander).unwrap();
        (action, Vec::from_iter(expander.unset))
    };
    assert_eq!(
        expanded("WORKDIR /$V/$X").0,
        Action::Workdir("/1/".to_owned())
    );
    assert_eq!(expanded("USER $X").1, ["X"]);
    assert_eq!(expanded("CMD $V").0, action("CMD $V"));
    let (Action::Env(pairs), _) = expanded("ENV A$V='$V'\"$W\" B=\\$V") else {
        panic!()
    };
    let pairs: Vec<_> = pairs.iter().map(|p| (&p.name[..], &p.value[..])).collect();
    assert_eq!(pairs, [("A1", "$Va b"), ("B", "$V")]);
    let text = "COPY --chown=$V <<A <<'B' $W /$V\n'$V' \\$V $X\nA\n$V\nB";
    let (Action::Copy(copy), unset) = expanded(text) else {
        panic!()
    };
    assert_eq!(copy.chown, "1");
    assert_eq!(copy.sources.paths, ["a b"]);
    assert_eq!(copy.sources.inline[0].content, b"'1' $V \n");
    assert_eq!(copy.sources.inline[1].content, b"$V\n");
    assert_eq!(unset, ["X"]);
    let expander = Expander::new(Lex::new('\\'), &env);
    let ports = expander.ports(&words(&["8$V", "$W"])).unwrap_err();
    assert_eq!(ports.to_string(), "invalid containerPort: a");
}

#[test]
fn args_may_have_a_default_and_a_description() {
    let read = dockerfile("# A the first\nARG A=1 B\nFROM a").unwrap();
    let Action::Arg(args) = &read.globals[0].action else {
        panic!()
    };
    assert_eq!(args[0].default.as_deref(), Some("1"));
    assert_eq!(args[0].description, "the first");
    assert_eq!((&args[1].name[..], &args[1].default), ("B", &None));
}

#[test]
fn health_has_its_times() {
    let Action::Healthcheck(check) = action(
        "HEALTHCHECK --interval=5s --timeout=1m --start-period=1ms --start-interval=0 --retries=3 CMD [\"a\"]",
    ) else {
        panic!()
    };
    assert_eq!(check.test, Some(words(&["CMD", "a"])));
    assert_eq!(
        (check.interval, check.timeout),
        (5_000_000_000, 60_000_000_000)
    );
    assert_eq!((check.start_period, check.start_interval), (1_000_000, 0));
    assert_eq!(check.retries, 3);
    let Action::Healthcheck(check) = action("HEALTHCHECK cmd a b") else {
        panic!()
    };
    assert_eq!(check.test, Some(words(&["CMD-SHELL", "a b"])));
    let Action::Healthcheck(check) = action("HEALTHCHECK none") else {
        panic!()
    };
    assert_eq!(check.test, Some(words(&["NONE"])));
}

#[test]
fn onbuild_keeps_its_text() {
    let text = |text: &str| text.to_owned();
    assert_eq!(
        action("onbuild  RUN --mount=x a  b"),
        Action::Onbuild(text("RUN --mount=x a  b"))
    );
    assert_eq!(
        action("ONBUILD COPY <<E /\na\nE"),
        Action::Onbuild(text("COPY <<E /\na\nE"))
    );
    let trigger = parser::parse_trigger("RUN a").unwrap();
    assert!(Instruction::parse(&trigger).is_ok());
    assert!(Instruction::parse(&parser::parse_trigger("FROM a").unwrap()).is_err());
}

#[test]
fn what_is_wrong_is_said_in_buildkits_words() {
    for (text, message) in [
        ("RAN x", "unknown instruction: RAN (did you mean RUN?)"),
        ("coppy x", "unknown instruction: coppy (did you mean copy?)"),
        ("SOMETHING", "unknown instruction: SOMETHING"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("ENV", "ENV requires at least one argument"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("SHELL a", "SHELL requires the arguments to be in JSON form"),
        (
            "VOLUME [\" \"]",
            "VOLUME specified can not be an empty string",
        ),
        ("ENV =a", "ENV names can not be blank"),
        ("ARG =a", "ARG names can not be blank"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        (
            "ADD a <<E\nE",
            "ADD cannot accept a heredoc as a destination",
        ),
        ("COPY --lnk a b", "unknown flag: --lnk (did you mean link?)"),
        ("COPY --checksum=x a b", "unknown flag: --checksum"),
        ("RUN --network=x a", "invalid network mode \"x\""),
        ("RUN --security=x a", "security \"x\" is not valid"),
        (
            "RUN --mount=from=$X a",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
        (
            "RUN --device=a,b c",
            "invalid field 'b' must be a key=value pair",
        ),
        ("RUN --device=a,name=b c", "device name already set to a"),
        ("USER --x a", "unknown flag: --x"),
        (
            "ONBUILD ONBUILD RUN a",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        ("ONBUILD from a", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK NONE a", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        (
            "HEALTHCHECK x a",
            "Unknown type \"X\" in HEALTHCHECK (try CMD)",
        ),
        (
            "HEALTHCHECK --interval=1us CMD a",
            "Interval \"interval\" cannot be less than 1ms",
        ),
        (
            "HEALTHCHECK --timeout=x CMD a",
            "time: invalid duration \"x\"",
        ),
        (
            "HEALTHCHECK --retries=-1 CMD a",
            "--retries cannot be negative (-1)",
        ),
        (
            "HEALTHCHECK --retries=x CMD a",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b c", "FROM requires either one or three arguments"),
        (
            "FROM a AS 1b",
            "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
    let outside = dockerfile("RUN a").unwrap_err();
    assert_eq!(outside, "no build stage in current context");
    let none = dockerfile("ARG a").unwrap_err();
    assert_eq!(none, "dockerfile contains no stages to build");
}

#[test]
fn stages_are_found() {
    let read = dockerfile(
        "FROM x AS One\nFROM one\nFROM --platform=$P one AS two\nFROM y AS one\nFROM Two",
    )
    .unwrap();
    assert_eq!(read.stages[2].from.platform.as_deref(), Some("$P"));
    assert_eq!(read.stage("ONE"), Some(3));
    assert_eq!(read.base("one", 2), Some(0));
    assert_eq!(read.base("one", 0), None);
    assert_eq!(read.base("Two", 4), None);
    assert_eq!(read.copied_from("1"), Ok(Some(1)));
    assert_eq!(read.copied_from("two"), Ok(Some(2)));
    assert_eq!(read.copied_from("busybox"), Ok(None));
    let wrong = read.copied_from("9").unwrap_err();
    assert_eq!(wrong.to_string(), "invalid stage index 9");
    assert_eq!(read.target(""), Ok(4));
    assert_eq!(read.target("Two"), Ok(2));
    assert_eq!(read.target("1"), Ok(1));
    let wrong = read.target("tow").unwrap_err().to_string();
    assert_eq!(
        wrong,
        "target stage \"tow\" could not be found (did you mean two?)"
    );
}
