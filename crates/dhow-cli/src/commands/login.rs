//! `login` and `logout`.

use std::io::{self, Read, Write};

use dhow_api::AuthConfig;

use crate::credentials::{self, DOCKER_HUB};
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::{stdio, terminal};

pub const LOGIN: &[Flag] = &[
    Flag::new("password", Kind::String, "Password or access token").short('p'),
    Flag::new("password-stdin", Kind::Bool, "Read the password from stdin"),
    Flag::new("username", Kind::String, "User name").short('u'),
];

/// A registry as people name it, as credentials are kept for it.
fn registry(name: Option<&String>) -> String {
    let Some(name) = name else {
        return DOCKER_HUB.to_owned();
    };
    let host = name
        .strip_prefix("https://")
        .or_else(|| name.strip_prefix("http://"))
        .unwrap_or(name);
    let host = host.split('/').next().unwrap_or(host);
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    }
}

fn ask(prompt: &str) -> Result<String> {
    stdio::print(prompt)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

pub async fn login(session: &Session, args: &Args) -> Result<()> {
    let registry = registry(args.rest.first());
    let mut username = args.string("username");
    let mut password = args.string("password");
    if args.is_set("password-stdin") {
        if !password.is_empty() {
            return Err(message(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        if username.is_empty() {
            return Err(message(
                "the --password-stdin option requires --username to be set",
            ));
        }
        io::stdin().read_to_string(&mut password)?;
        password = password.trim_end_matches(['\r', '\n']).to_owned();
    } else if !password.is_empty() {
        eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let kept = credentials::lookup(&session.config, &registry);
    let mut token = String::new();
    if username.is_empty() && password.is_empty() && !kept.username.is_empty() {
        stdio::print("Authenticating with existing credentials... ")?;
        username = kept.username;
        password = kept.password;
        token = kept.identitytoken;
        stdio::println(&format!("[Username: {username}]"))?;
    }
    if (username.is_empty() || password.is_empty()) && token.is_empty() {
        if !terminal::stdin_is_terminal() {
            return Err(message(
                "Error: Cannot perform an interactive login from a non TTY device",
            ));
        }
        if username.is_empty() {
            username = ask("Username: ")?;
            if username.is_empty() {
                return Err(message("Error: Non-null Username Required"));
            }
        }
        if password.is_empty() {
            io::stdout().flush()?;
            password = terminal::read_password("Password: ")?;
            if password.is_empty() {
                return Err(message("Error: Password Required"));
            }
        }
    }
    let mut auth = AuthConfig {
        username,
        password,
        identitytoken: token,
        serveraddress: registry.clone(),
        ..AuthConfig::default()
    };
    let client = session.client().await?;
    let answer = client.check_auth(&auth).await?;
    if !answer.identity_token.is_empty() {
        auth.identitytoken = answer.identity_token;
        auth.password = String::new();
    }
    let mut config = session.reload_config()?;
    if credentials::store(&mut config, &registry, &auth)? {
        eprintln!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper (credsStore in that file) to keep them elsewhere.\n",
            config.path().display()
        );
    }
    let status = match answer.status.as_str() {
        "" => "Login Succeeded",
        status => status,
    };
    Ok(stdio::println(status)?)
}

pub async fn logout(session: &Session, args: &Args) -> Result<()> {
    let registry = registry(args.rest.first());
    let mut config = session.reload_config()?;
    stdio::println(&format!("Removing login credentials for {registry}"))?;
    credentials::erase(&mut config, &registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_known_by_their_host() {
        let name = |text: &str| registry(Some(&text.to_owned()));
        assert_eq!(registry(None), DOCKER_HUB);
        assert_eq!(name("docker.io"), DOCKER_HUB);
        assert_eq!(name("https://index.docker.io/v1/"), DOCKER_HUB);
        assert_eq!(name("http://localhost:5000/v2"), "localhost:5000");
    }
}
