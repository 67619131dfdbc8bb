//! `--security-opt`.

use std::fs;

use crate::error::Refusal;

/// The options for the API, and whether `systempaths=unconfined` was among them, which the API knows
/// under another name.
pub fn read(options: &[&str]) -> Result<(Option<Vec<String>>, bool), Refusal> {
    let mut all = Vec::new();
    let mut unconfined_paths = false;
    for option in options {
        if *option == "systempaths=unconfined" {
            unconfined_paths = true;
            continue;
        }
        all.push(one(option)?);
    }
    Ok((Some(all).filter(|list| !list.is_empty()), unconfined_paths))
}

fn one(option: &str) -> Result<String, Refusal> {
    // Older notations have a colon.
    let split = option.split_once('=').or_else(|| option.split_once(':'));
    let Some((name, value)) = split else {
        return match option {
            "no-new-privileges" | "writable-cgroups" => Ok(option.to_owned()),
            _ => Err(format!("Invalid --security-opt: {option:?}")),
        };
    };
    if value.is_empty() {
        return Err(format!("Invalid --security-opt: {option:?}"));
    }
    if name != "seccomp" || matches!(value, "unconfined" | "builtin") {
        return Ok(option.to_owned());
    }
    // The daemon does not see this file.
    let text = fs::read_to_string(value)
        .map_err(|error| format!("opening seccomp profile ({value}) failed: {error}"))?;
    let profile: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        format!("compacting json for seccomp profile ({value}) failed: {error}")
    })?;
    Ok(format!("seccomp={profile}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let (options, unconfined) = read(&[
            "no-new-privileges",
            "seccomp=unconfined",
            "systempaths=unconfined",
            "label:disable",
        ])
        .unwrap();
        assert_eq!(
            options.unwrap(),
            ["no-new-privileges", "seccomp=unconfined", "label:disable"]
        );
        assert!(unconfined);
        assert_eq!(
            read(&["nope"]),
            Err("Invalid --security-opt: \"nope\"".into())
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }").unwrap();
        let option = format!("seccomp={}", file.path().display());
        assert_eq!(
            read(&[&option]).unwrap().0.unwrap(),
            ["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"]
        );
        assert!(read(&["seccomp=/no/such"]).is_err());
    }
}
