//! The rules, by the names that Docker's documentation gives them.

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    /// What is pulled has another platform than was asked for: only whoever pulls knows.
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    JsonArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

const DOCUMENTATION: &str = "https://docs.docker.com/go/dockerfile/rule/";

/// The name, the last part of the documentation's address if there is one, and the description.
type About = (&'static str, Option<&'static str>, &'static str);

impl Rule {
    pub const ALL: [Rule; 22] = [
        Rule::ConsistentInstructionCasing,
        Rule::CopyIgnoredFile,
        Rule::DuplicateStageName,
        Rule::ExposeInvalidFormat,
        Rule::ExposeProtoCasing,
        Rule::FromAsCasing,
        Rule::FromPlatformFlagConstDisallowed,
        Rule::InvalidBaseImagePlatform,
        Rule::InvalidDefaultArgInFrom,
        Rule::InvalidDefinitionDescription,
        Rule::JsonArgsRecommended,
        Rule::LegacyKeyValueFormat,
        Rule::MaintainerDeprecated,
        Rule::MultipleInstructionsDisallowed,
        Rule::NoEmptyContinuation,
        Rule::RedundantTargetPlatform,
        Rule::ReservedStageName,
        Rule::SecretsUsedInArgOrEnv,
        Rule::StageNameCasing,
        Rule::UndefinedArgInFrom,
        Rule::UndefinedVar,
        Rule::WorkdirRelativePath,
    ];

    pub fn name(self) -> &'static str {
        self.about().0
    }

    pub fn description(self) -> &'static str {
        self.about().2
    }

    /// Where it is documented; empty where it is not.
    pub fn url(self) -> String {
        let page = self.about().1;
        page.map_or_else(String::new, |page| format!("{DOCUMENTATION}{page}/"))
    }

    /// Whether it counts only where it is asked for.
    pub fn is_experimental(self) -> bool {
        self == Rule::InvalidDefinitionDescription
    }

    fn about(self) -> About {
        match self {
            Rule::ConsistentInstructionCasing => (
                "ConsistentInstructionCasing",
                Some("consistent-instruction-casing"),
                "All commands within the Dockerfile should use the same casing (either upper or lower)",
            ),
            Rule::CopyIgnoredFile => (
                "CopyIgnoredFile",
                Some("copy-ignored-file"),
                "Attempting to Copy file that is excluded by .dockerignore",
            ),
            Rule::DuplicateStageName => (
                "DuplicateStageName",
                Some("duplicate-stage-name"),
                "Stage names should be unique",
            ),
            Rule::ExposeInvalidFormat => (
                "ExposeInvalidFormat",
                Some("expose-invalid-format"),
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
            ),
            Rule::ExposeProtoCasing => (
                "ExposeProtoCasing",
                Some("expose-proto-casing"),
                "Protocol in EXPOSE instruction should be lowercase",
            ),
            Rule::FromAsCasing => (
                "FromAsCasing",
                Some("from-as-casing"),
                "The 'as' keyword should match the case of the 'from' keyword",
            ),
            Rule::FromPlatformFlagConstDisallowed => (
                "FromPlatformFlagConstDisallowed",
                Some("from-platform-flag-const-disallowed"),
                "FROM --platform flag should not use a constant value",
            ),
            Rule::InvalidBaseImagePlatform => (
                "InvalidBaseImagePlatform",
                None,
                "Base image platform does not match expected target platform",
            ),
            Rule::InvalidDefaultArgInFrom => (
                "InvalidDefaultArgInFrom",
                Some("invalid-default-arg-in-from"),
                "Default value for global ARG results in an empty or invalid base image name",
            ),
            Rule::InvalidDefinitionDescription => (
                "InvalidDefinitionDescription",
                Some("invalid-definition-description"),
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
            ),
            Rule::JsonArgsRecommended => (
                "JSONArgsRecommended",
                Some("json-args-recommended"),
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
            ),
            Rule::LegacyKeyValueFormat => (
                "LegacyKeyValueFormat",
                Some("legacy-key-value-format"),
                "Legacy key/value format with whitespace separator should not be used",
            ),
            Rule::MaintainerDeprecated => (
                "MaintainerDeprecated",
                Some("maintainer-deprecated"),
                "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            ),
            Rule::MultipleInstructionsDisallowed => (
                "MultipleInstructionsDisallowed",
                Some("multiple-instructions-disallowed"),
                "Multiple instructions of the same type should not be used in the same stage",
            ),
            Rule::NoEmptyContinuation => (
                "NoEmptyContinuation",
                Some("no-empty-continuation"),
                "Empty continuation lines will become errors in a future release",
            ),
            Rule::RedundantTargetPlatform => (
                "RedundantTargetPlatform",
                Some("redundant-target-platform"),
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            ),
            Rule::ReservedStageName => (
                "ReservedStageName",
                Some("reserved-stage-name"),
                "Reserved words should not be used as stage names",
            ),
            Rule::SecretsUsedInArgOrEnv => (
                "SecretsUsedInArgOrEnv",
                Some("secrets-used-in-arg-or-env"),
                "Sensitive data should not be used in the ARG or ENV commands",
            ),
            Rule::StageNameCasing => (
                "StageNameCasing",
                Some("stage-name-casing"),
                "Stage names should be lowercase",
            ),
            Rule::UndefinedArgInFrom => (
                "UndefinedArgInFrom",
                Some("undefined-arg-in-from"),
                "FROM command must use declared ARGs",
            ),
            Rule::UndefinedVar => (
                "UndefinedVar",
                Some("undefined-var"),
                "Variables should be defined before their use",
            ),
            Rule::WorkdirRelativePath => (
                "WorkdirRelativePath",
                Some("workdir-relative-path"),
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
            ),
        }
    }
}
