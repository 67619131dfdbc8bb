use dhow_oci::Platform;

use super::*;

/// The rules that are violated and where, for the stages that `target` needs.
fn report(content: &str, target: Option<&str>) -> Report {
    let platforms = Platforms {
        build: Platform::new("linux", "amd64", ""),
        target: Platform::new("linux", "amd64", ""),
    };
    let ignore = Ignore::new(["secret", "*.o"]).unwrap();
    let input = Input {
        platforms: &platforms,
        args: &BuildArgs::new(),
        target,
        ignore: Some(&ignore),
        image: &|name| match name {
            "unknown" => None,
            "shelled" => Some(RunConfig {
                shell: Some(vec!["sh".to_owned()]),
                env: Some(vec!["GIVEN=1".to_owned()]),
                ..RunConfig::default()
            }),
            _ => Some(RunConfig::default()),
        },
    };
    check(content.as_bytes(), &input)
}

fn found(content: &str) -> Vec<(usize, String)> {
    let Report { warnings, error } = report(content, None);
    assert_eq!(error, None, "{content}");
    let shown = |w: Warning| (w.lines.first, format!("{}: {}", w.rule.name(), w.message));
    warnings.into_iter().map(shown).collect()
}

fn one(content: &str, line: usize, message: &str) {
    assert_eq!(found(content), [(line, message.to_owned())], "{content}");
}

fn none(content: &str) {
    assert_eq!(found(content), [], "{content}");
}

#[test]
fn casing() {
    one(
        "FROM scratch AS Bad",
        1,
        "StageNameCasing: Stage name 'Bad' should be lowercase",
    );
    one(
        "FROM scratch as a",
        1,
        "FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
    );
    one(
        "From scratch as a\nFROM scratch AS b",
        1,
        "ConsistentInstructionCasing: Command 'From' should match the case of the command majority (uppercase)",
    );
    one(
        "from scratch\ncopy a b\nUSER x",
        3,
        "ConsistentInstructionCasing: Command 'USER' should match the case of the command majority (lowercase)",
    );
    none("from scratch as a");
}

#[test]
fn stage_names() {
    one(
        "FROM scratch AS b\nFROM scratch AS b",
        2,
        "DuplicateStageName: Duplicate stage name \"b\", stage names should be unique",
    );
    one(
        "FROM scratch AS context",
        1,
        "ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
    );
}

#[test]
fn how_statements_are_written() {
    one(
        "FROM scratch\nCOPY a \\\n\n.",
        4,
        "NoEmptyContinuation: Empty continuation line",
    );
    one(
        "FROM scratch\nMAINTAINER me",
        2,
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
    );
    one(
        "FROM scratch\nLABEL a b",
        2,
        "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
    );
    one(
        "FROM scratch\nCMD a",
        2,
        "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
    );
    none("FROM shelled\nENTRYPOINT a");
    none("FROM scratch AS a\nSHELL [\"x\"]\nFROM a\nCMD b");
    none("FROM scratch\nLABEL a=b\nCMD [\"a\"]");
}

#[test]
fn descriptions_where_they_are_asked_for() {
    let content =
        "# bar this is bar\nARG foo=bar\n# base it is\nFROM scratch AS base\n# bad\nARG a b";
    none(&format!("# check=skip=none\n{content}"));
    let asked = format!("# check=experimental=all\n{content}");
    let expected = [
        (
            3,
            "InvalidDefinitionDescription: Comment for ARG should follow the format: `# foo <description>`",
        ),
        (
            7,
            "InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
        ),
    ];
    assert_eq!(found(&asked), expected.map(|(n, s)| (n, s.to_owned())));
}

#[test]
fn what_is_there_twice() {
    let content = "FROM scratch\nENTRYPOINT [\"a\"]\nCMD [\"a\"]\nCMD [\"b\"]\nHEALTHCHECK NONE\nHEALTHCHECK NONE";
    let message = |keyword| {
        format!(
            "MultipleInstructionsDisallowed: Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
        )
    };
    assert_eq!(
        found(content),
        [(3, message("CMD")), (5, message("HEALTHCHECK"))]
    );
    none("FROM scratch AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]");
}

#[test]
fn arguments_of_from() {
    one(
        "ARG tag=latest\nFROM busybox:${tag}${version} AS b",
        2,
        "UndefinedArgInFrom: FROM argument 'version' is not declared",
    );
    one(
        "ARG VERSION\nFROM scratch AS a\nFROM busybox$VERSION:$VERSION",
        3,
        "InvalidDefaultArgInFrom: Default value for ARG busybox$VERSION:$VERSION results in empty or invalid base image name",
    );
    one(
        "FROM --platform=${TARGETPLATFORM} scratch",
        1,
        "RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
    );
    one(
        "FROM --platform=linux/amd64 scratch",
        1,
        "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\"",
    );
    none("FROM --platform=linux/amd64 scratch AS my_amd64");
    none("FROM --platform=$BUILDPLATFORM scratch");
    none("ARG DEBUG\nFROM scratch${DEBUG}");
    let Report { warnings, error } = report("FROM --platform=$BULIDPLATFORM scratch", None);
    assert_eq!(warnings, []);
    assert_eq!(
        error.unwrap().to_string(),
        "empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)"
    );
    let content = "ARG MY_ARCH=amd64\nFROM --platform=linux/${MYARCH} busybox";
    let error = report(content, None).error.unwrap();
    assert_eq!(error.lines.unwrap().first, 2);
    assert_eq!(
        error.to_string(),
        "failed to parse platform linux/${MYARCH}: \"\" is an invalid component of \"linux/\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument (did you mean MY_ARCH?)"
    );
}

#[test]
fn variables() {
    one(
        "FROM scratch\nARG DIR_ASSETS=a\nCOPY $DIR_ASSET .",
        3,
        "UndefinedVar: Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)",
    );
    one(
        "FROM busybox\nENV PATH=$PAHT:/x",
        2,
        "UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)",
    );
    one(
        "FROM scratch\nRUN --mount=type=cache,target=$X a $Y",
        2,
        "UndefinedVar: Usage of undefined variable '$X'",
    );
    none("FROM scratch AS base\nARG foo=a\nFROM base\nCOPY $foo .");
    none("FROM scratch\nARG foo\nCOPY a${foo} .");
    none("FROM shelled\nUSER $GIVEN");
    none("FROM unknown\nUSER $COULD_BE_THERE");
}

#[test]
fn secrets() {
    let rule = |keyword, name| {
        format!(
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data ({keyword} \"{name}\")"
        )
    };
    let content = "FROM scratch\nARG SECRET_PASSPHRASE\nENV password=bar sunflower=a git_key=\nARG public_token AUTH_VERSION\n# check=skip=all // here\nENV password=x";
    let expected = [
        (2, rule("ARG", "SECRET_PASSPHRASE")),
        (3, rule("ENV", "password")),
        (3, rule("ENV", "git_key")),
    ];
    assert_eq!(found(content), expected);
}

#[test]
fn paths_and_ports() {
    one(
        "FROM scratch\nWORKDIR app/\nWORKDIR b",
        2,
        "WorkdirRelativePath: Relative workdir \"app/\" can have unexpected results if the base image changes",
    );
    none("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub");
    one(
        "FROM scratch\nEXPOSE 80/TcP",
        2,
        "ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
    );
    one(
        "FROM scratch\nEXPOSE [::1]:8080:8080 80",
        2,
        "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '[::1]:8080:8080'",
    );
    let copied = "FROM scratch AS a\nCOPY secret x.o a /\nADD ./secret https://a/b.o /\nCOPY . /\nFROM scratch\nCOPY --from=a secret /";
    let rule = |verb, file| {
        format!(
            "CopyIgnoredFile: Attempting to {verb} file \"{file}\" that is excluded by .dockerignore"
        )
    };
    let expected = [
        (2, rule("Copy", "secret")),
        (2, rule("Copy", "x.o")),
        (3, rule("Add", "secret")),
    ];
    assert_eq!(found(copied), expected);
}

#[test]
fn stages_that_nothing_needs_are_passed_over() {
    let content = "FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV a b\nFROM scratch AS c\nCOPY --from=a x /";
    assert_eq!(found(content).len(), 2);
    let lines = |target| -> Vec<usize> {
        let report = report(content, Some(target));
        report.warnings.iter().map(|w| w.lines.first).collect()
    };
    assert_eq!(lines("c"), [2]);
    assert_eq!(lines("b"), [4]);
}

#[test]
fn warnings_may_be_errors() {
    let content =
        "#check=skip=ConsistentInstructionCasing;error=true\nFROM scratch as base\ncopy a .";
    let Report { warnings, error } = report(content, None);
    assert_eq!(warnings.len(), 1);
    let error = error.unwrap();
    assert_eq!(
        error.to_string(),
        "lint violation found for rules: FromAsCasing"
    );
    assert_eq!(error.lines, Some(Lines::one(2)));
    none("#check=skip=all;error=true\nFROM scratch as base");
    let error = report("# check=bad\nFROM a", None).error.unwrap();
    let message = "failed to parse check options: invalid check option \"bad\"";
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_is_in_front_of_a_mistake_is_found() {
    let content = "FROM scratch AS Bad\nMAINTAINER me\nBADCMD";
    let Report { warnings, error } = report(content, None);
    let rules: Vec<_> = warnings.iter().map(|w| w.rule).collect();
    assert_eq!(rules, [Rule::StageNameCasing, Rule::MaintainerDeprecated]);
    let error = error.unwrap();
    assert_eq!(
        error.to_string(),
        "dockerfile parse error on line 3: unknown instruction: BADCMD"
    );
    assert!(
        error
            .excerpt("Dockerfile", content.as_bytes())
            .contains("3 | >>> BADCMD")
    );
}

#[test]
fn warnings_are_shown_with_their_lines() {
    let content = "FROM scratch\nMAINTAINER me\n";
    let shown = report(content, None).warnings[0].show("Dockerfile", content.as_bytes());
    let expected = "WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n\
        Maintainer instruction is deprecated in favor of using label\n\
        Dockerfile:2\n\
        --------------------\n   \
        1 |     FROM scratch\n   \
        2 | >>> MAINTAINER me\n   \
        3 |     \n\
        --------------------\n";
    assert_eq!(shown, expected);
}

#[test]
fn each_rule_has_a_name_and_a_page() {
    let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    for rule in Rule::ALL {
        let documented = rule != Rule::InvalidBaseImagePlatform;
        assert_eq!(rule.url().starts_with("https://"), documented);
        assert!(!rule.description().is_empty());
    }
}
