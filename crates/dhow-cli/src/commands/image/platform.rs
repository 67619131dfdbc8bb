//! The platform of an image that is asked for.

use std::env::consts::ARCH;

use crate::error::{Result, message};
use crate::flags::Args;

/// What `--platform` says, or else the environment.
pub fn asked(args: &Args) -> Option<String> {
    args.nonempty("platform")
        .map(str::to_owned)
        .or_else(|| std::env::var("DOCKER_DEFAULT_PLATFORM").ok())
        .filter(|platform| !platform.is_empty())
}

/// The API's form of `os[/arch[/variant]]`.
pub fn json(text: &str) -> String {
    let mut parts = text.split('/');
    let os = parts.next().unwrap_or_default();
    let architecture = parts.next().unwrap_or_default();
    let mut platform = serde_json::json!({"os": os, "architecture": architecture});
    if let Some(variant) = parts.next() {
        platform["variant"] = variant.into();
    }
    platform.to_string()
}

/// The API's form of what `--platform` says here, if it does.
pub fn one(args: &Args) -> Result<Option<String>> {
    args.nonempty("platform").map(parse).transpose()
}

/// The API's form of all that `--platform` says here, several times or with commas.
pub fn several(args: &Args) -> Result<Vec<String>> {
    let texts = args.list("platform");
    let platforms = texts.iter().flat_map(|text| text.split(','));
    platforms.map(|text| parse(text.trim())).collect()
}

/// `os[/arch[/variant]]`, or an architecture alone.
fn parse(text: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|p| p.is_empty() || !p.chars().all(fits)) {
        return Err(message(format!(
            "invalid platform: {text:?} is not of the form os[/arch[/variant]]"
        )));
    }
    Ok(match parts[..] {
        [os] if SYSTEMS.contains(&os) => json(&format!("{os}/{}", architecture(ARCH))),
        [alone] => json(&format!("linux/{}", architecture(alone))),
        _ => {
            let mut named = parts.clone();
            named[1] = architecture(parts[1]);
            json(&named.join("/"))
        }
    })
}

const SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];

/// As images call an architecture.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_in_every_form() {
        for (text, expected) in [
            ("linux/arm64", r#"{"os":"linux","architecture":"arm64"}"#),
            (
                "linux/arm/v7",
                r#"{"os":"linux","architecture":"arm","variant":"v7"}"#,
            ),
            ("aarch64", r#"{"os":"linux","architecture":"arm64"}"#),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
