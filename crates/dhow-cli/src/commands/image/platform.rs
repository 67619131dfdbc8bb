//! The platform of an image that is asked for.

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
