//! Credentials for registries: from `config.json`, or from the helper programs it names
//! (`docker-credential-NAME`, which read a request on their input and answer JSON).

use std::io::Write;
use std::process::{Command, Stdio};

use dhow_api::AuthConfig;
use serde::{Deserialize, Serialize};

use crate::config::ConfigFile;
use crate::error::{Result, message};

/// The key of Docker Hub, which predates registries with names.
pub const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The user name under which helpers keep tokens.
const TOKEN_USER: &str = "<token>";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Kept {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// The registry that an image's name begins with, as credentials are kept for it.
pub fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "docker.io" | "index.docker.io" => DOCKER_HUB,
            host => host,
        },
        _ => DOCKER_HUB,
    }
}

/// The credentials for a registry; empty ones if there are none.
pub fn lookup(config: &ConfigFile, registry: &str) -> AuthConfig {
    let found = match config.credential_helper(registry) {
        Some(helper) => get(helper, registry),
        None => Ok(config.auth(registry)),
    };
    match found {
        Ok(Some(auth)) => auth,
        Ok(None) => AuthConfig::default(),
        Err(error) => {
            // The registry may well answer without.
            eprintln!("WARNING: {error}");
            AuthConfig::default()
        }
    }
}

/// Keeps credentials where the configuration says; tells whether that is the file itself.
pub fn store(config: &mut ConfigFile, registry: &str, auth: &AuthConfig) -> Result<bool> {
    let helper = config.credential_helper(registry).map(str::to_owned);
    match helper {
        Some(helper) => {
            let (username, secret) = match auth.identitytoken.as_str() {
                "" => (auth.username.clone(), auth.password.clone()),
                token => (TOKEN_USER.to_owned(), token.to_owned()),
            };
            let kept = Kept {
                server_url: registry.to_owned(),
                username,
                secret,
            };
            let request = serde_json::to_string(&kept).map_err(|e| message(e.to_string()))?;
            call(&helper, "store", &request)?;
            config.set_auth(registry, None);
            config.save()?;
            Ok(false)
        }
        None => {
            config.set_auth(registry, Some(auth));
            config.save()?;
            Ok(true)
        }
    }
}

pub fn erase(config: &mut ConfigFile, registry: &str) -> Result<()> {
    if let Some(helper) = config.credential_helper(registry).map(str::to_owned) {
        call(&helper, "erase", registry)?;
    }
    config.remove_auth(registry);
    config.save()
}

fn get(helper: &str, registry: &str) -> Result<Option<AuthConfig>> {
    let answer = match call(helper, "get", registry) {
        Ok(answer) => answer,
        Err(error) if error.to_string().contains("credentials not found") => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_str(&answer).map_err(|error| {
        message(format!(
            "docker-credential-{helper} answered nonsense: {error}"
        ))
    })?;
    let mut auth = AuthConfig {
        serveraddress: registry.to_owned(),
        ..AuthConfig::default()
    };
    if kept.username == TOKEN_USER {
        auth.identitytoken = kept.secret;
    } else {
        auth.username = kept.username;
        auth.password = kept.secret;
    }
    Ok(Some(auth))
}

fn call(helper: &str, action: &str, request: &str) -> Result<String> {
    let program = format!("docker-credential-{helper}");
    let failed =
        |error: std::io::Error| message(format!("error getting credentials - {program}: {error}"));
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends without reading says why by its status.
        let _ = stdin.write_all(request.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        return Err(message(format!(
            "error getting credentials - err: {}, out: `{text}`",
            output.status
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_registry() {
        for (image, registry) in [
            ("busybox", DOCKER_HUB),
            ("me/app:1", DOCKER_HUB),
            ("docker.io/library/busybox", DOCKER_HUB),
            ("localhost/app", "localhost"),
            ("localhost:5000/app", "localhost:5000"),
            ("ghcr.io/a/b@sha256:0", "ghcr.io"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }
}
