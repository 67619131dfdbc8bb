//! Authorization: Basic, and Bearer tokens from the server that a registry's challenge names
//! (distribution project, "Token Authentication Specification" and its OAuth2 form).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;

/// Credentials for a registry, as clients send them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    pub username: String,
    pub password: String,
    /// A refresh token, in place of the password.
    pub identity_token: String,
    /// A bearer token, sent as it is.
    pub registry_token: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Auth {
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        if self.username.is_empty() {
            return None;
        }
        let encoded = STANDARD.encode(format!("{}:{}", self.username, self.password));
        secret_header(&format!("Basic {encoded}"))
    }
}

pub(crate) fn secret_header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a `WWW-Authenticate` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best of the challenges in a response's headers (RFC 9110, 11.6.1).
    pub fn choose<'a>(headers: impl Iterator<Item = &'a HeaderValue>) -> Option<Challenge> {
        let mut chosen = None;
        for header in headers.filter_map(|h| h.to_str().ok()) {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let mut parameters = parameters(rest);
                let realm = parameters.remove("realm")?;
                return Some(Challenge::Bearer {
                    realm,
                    service: parameters.remove("service"),
                    scope: parameters.remove("scope"),
                });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                chosen = Some(Challenge::Basic);
            }
        }
        chosen
    }
}

/// `key=token` and `key="quoted \"string\""`, with commas between.
fn parameters(mut rest: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let mut value = String::new();
        let mut end = after.len();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            for (at, c) in quoted.char_indices() {
                match c {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = at + 2;
                        break;
                    }
                    c => {
                        escaped = false;
                        value.push(c);
                    }
                }
            }
        } else {
            end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
        }
        found.insert(key, value);
        rest = &after[end..];
    }
    found
}

/// A token server's answer.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    /// In seconds.
    #[serde(default)]
    expires_in: u64,
    #[serde(default)]
    pub refresh_token: String,
}

/// The specification's shortest life of a token, which is also the default.
const TOKEN_LIFE_MIN: Duration = Duration::from_secs(60);
/// A token is not used for this long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

impl TokenAnswer {
    pub fn token(&self) -> &str {
        if self.token.is_empty() {
            &self.access_token
        } else {
            &self.token
        }
    }

    fn life(&self) -> Duration {
        Duration::from_secs(self.expires_in).max(TOKEN_LIFE_MIN) - TOKEN_MARGIN
    }
}

/// For whom and for what a token is: the endpoint, the user, the scope.
pub(crate) type TokenKey = (String, String, String);

/// Authorizations that were accepted, until they expire.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<TokenKey, (HeaderValue, Option<Instant>)>>);

impl Tokens {
    pub fn get(&self, key: &TokenKey) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let (value, expires) = tokens.get(key)?;
        expires
            .is_none_or(|at| Instant::now() < at)
            .then(|| value.clone())
    }

    pub fn put_token(&self, key: TokenKey, value: HeaderValue, answer: &TokenAnswer) {
        self.put(key, value, Some(Instant::now() + answer.life()));
    }

    pub fn put(&self, key: TokenKey, value: HeaderValue, expires: Option<Instant>) {
        let mut tokens = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let now = Instant::now();
        tokens.retain(|_, (_, at)| at.is_none_or(|at| now < at));
        tokens.insert(key, (value, expires));
    }

    pub fn forget(&self, key: &TokenKey) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(headers: &[&str]) -> Option<Challenge> {
        let headers: Vec<_> = headers
            .iter()
            .map(|h| HeaderValue::from_str(h).unwrap())
            .collect();
        Challenge::choose(headers.iter())
    }

    #[test]
    fn bearer_is_preferred_and_parsed() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.test/token?a=b,c".into(),
            service: Some("regi\"stry".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        let header = r#"Bearer realm="https://auth.test/token?a=b,c",service="regi\"stry", scope="repository:a/b:pull,push""#;
        assert_eq!(choose(&["Basic realm=x", header]), Some(bearer));
        assert_eq!(choose(&["basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(choose(&["Negotiate"]), None);
        assert_eq!(choose(&["Bearer service=x"]), None);
    }

    #[test]
    fn tokens_end() {
        let tokens = Tokens::default();
        let key = ("e".to_owned(), "u".to_owned(), "s".to_owned());
        let value = HeaderValue::from_static("Bearer x");
        tokens.put(key.clone(), value.clone(), Some(Instant::now()));
        assert_eq!(tokens.get(&key), None);
        tokens.put(key.clone(), value.clone(), None);
        assert_eq!(tokens.get(&key), Some(value));
        tokens.forget(&key);
        assert_eq!(tokens.get(&key), None);
    }
}
