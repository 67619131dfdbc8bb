//! Requests to one endpoint, for one user and one scope: authorization, redirects, time limits, and
//! errors in the registry's own words.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::{Auth, Challenge, TokenAnswer, Tokens, secret_header};
use crate::config::Insecure;
use crate::connect::Connector;
use crate::endpoint::{Endpoint, Kind};
use crate::error::{DistributionError, RegistryFailure, Result, unreachable};
use crate::patience::{Patience, Sending, TooLong, Watched, seconds};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// As many as other clients follow.
const REDIRECTS_MAX: usize = 10;
/// Most bytes of an error answer or a token that are read.
const ANSWER_MAX: usize = 1 << 20;
/// How long an idle connection is kept for the next request.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);
const CLIENT_ID: &str = "dhow";

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What all sessions share.
pub(crate) struct Http {
    client: HttpClient<Connector, Watched<Body>>,
    tokens: Tokens,
    insecure: Insecure,
    user_agent: HeaderValue,
    patience: Patience,
}

impl Http {
    pub fn new(
        connector: Connector,
        insecure: Insecure,
        user_agent: &str,
        patience: Patience,
    ) -> Result<Http> {
        let client = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let user_agent = HeaderValue::from_str(user_agent).map_err(|_| {
            DistributionError::Invalid(format!("invalid user agent {user_agent:?}"))
        })?;
        Ok(Http {
            client,
            tokens: Tokens::default(),
            insecure,
            user_agent,
            patience,
        })
    }

    /// One request and its answer's head.
    async fn once(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        authorization: Option<HeaderValue>,
        body: Body,
    ) -> Result<Response<Incoming>> {
        let sending = Sending::begin();
        let mut request = Request::new(sending.watch(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .insert(USER_AGENT, self.user_agent.clone());
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = self.client.request(request);
        let answer = self.patience.answer(&sending, answer).await;
        let answer = answer.map_err(|TooLong(limit)| {
            DistributionError::Unreachable(format!(
                "{}: {} gave no answer within {}: try again later, or look whether the registry is well and this is its address",
                describe(method, uri),
                uri.authority().map_or("", |a| a.as_str()),
                seconds(limit)
            ))
        })?;
        answer.map_err(|e| {
            // The client's own error only says in which phase it came up.
            let cause = std::error::Error::source(&e).unwrap_or(&e);
            unreachable(&describe(method, uri), cause)
        })
    }

    fn may_be_plain(&self, uri: &Uri) -> bool {
        let authority = uri.authority().map_or("", |a| a.as_str());
        uri.scheme_str() == Some("https") || self.insecure.contains(authority)
    }
}

/// `Get "https://..."`, as error messages begin.
fn describe(method: &Method, uri: &Uri) -> String {
    let name = method.as_str();
    let (first, rest) = name.split_at(1.min(name.len()));
    format!("{first}{} \"{uri}\"", rest.to_lowercase())
}

pub(crate) struct Session {
    http: Arc<Http>,
    pub endpoint: Endpoint,
    auth: Option<Auth>,
    scopes: Vec<String>,
}

impl Session {
    /// `scopes` is what a token is asked for, such as `repository:library/busybox:pull`.
    pub fn new(
        http: Arc<Http>,
        endpoint: Endpoint,
        auth: Option<&Auth>,
        scopes: Vec<String>,
    ) -> Session {
        // Credentials are for the registry, not for whoever mirrors it.
        let auth = auth.filter(|_| endpoint.kind == Kind::Registry).cloned();
        Session {
            http,
            endpoint,
            auth,
            scopes,
        }
    }

    fn key(&self) -> (String, String, String) {
        let user = self.auth.as_ref().map_or("", |a| {
            if a.username.is_empty() {
                a.identity_token.as_str()
            } else {
                a.username.as_str()
            }
        });
        let password = self.auth.as_ref().map_or("", |a| a.password.as_str());
        (
            self.endpoint.base.clone(),
            format!("{user}\0{password}"),
            self.scopes.join(" "),
        )
    }

    /// Sends a request, authorized and redirected as it takes, and returns whatever answer comes.
    /// `body` makes the body anew for each try.
    pub async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: impl Fn() -> Result<Body>,
    ) -> Result<Response<Incoming>> {
        let mut uri = uri;
        let mut authorized = false;
        for _ in 0..REDIRECTS_MAX {
            let own = self.is_own(&uri);
            let authorization = if own { self.authorization() } else { None };
            let response = self
                .http
                .once(&method, &uri, &headers, authorization, body()?)
                .await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && own && !authorized {
                self.http.tokens.forget(&self.key());
                let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
                if let Some(challenge) = Challenge::choose(challenges) {
                    self.authorize(challenge).await?;
                    authorized = true;
                    continue;
                }
            }
            let repeatable = matches!(method, Method::GET | Method::HEAD);
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED && repeatable {
                uri = self.redirected(&uri, response.headers())?;
                continue;
            }
            return Ok(response);
        }
        Err(DistributionError::Unreachable(format!(
            "{}: stopped after {REDIRECTS_MAX} redirects",
            describe(&method, &uri)
        )))
    }

    /// Asks without any authorization, to learn what is asked for.
    pub async fn probe(&self, uri: Uri) -> Result<Response<Incoming>> {
        self.http
            .once(&Method::GET, &uri, &HeaderMap::new(), None, empty())
            .await
    }

    /// As [`Session::send`], for a request without a body that has to succeed.
    pub async fn get(&self, path: &str, headers: HeaderMap) -> Result<Response<Incoming>> {
        let uri = self.endpoint.url(path)?;
        let response = self.send(Method::GET, uri, headers, || Ok(empty())).await?;
        self.checked(response).await
    }

    /// The answer if it is a success, else what the registry says is wrong.
    pub async fn checked(&self, response: Response<Incoming>) -> Result<Response<Incoming>> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.read(response, ANSWER_MAX).await.unwrap_or_default();
        let failure = RegistryFailure::parse(status, &body);
        if status == StatusCode::UNAUTHORIZED {
            return Err(DistributionError::Unauthorized(
                if failure.errors.is_empty() {
                    "unauthorized: authentication required".to_owned()
                } else {
                    failure.to_string()
                },
            ));
        }
        Err(DistributionError::Registry(failure))
    }

    /// The whole body, if it has no more than `limit` bytes.
    pub async fn read(&self, response: Response<Incoming>, limit: usize) -> Result<Bytes> {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.next_frame(&mut body).await? {
            if bytes.len() + frame.len() > limit {
                return Err(DistributionError::Invalid(format!(
                    "the registry's answer is larger than {limit} bytes"
                )));
            }
            bytes.extend_from_slice(&frame);
        }
        Ok(bytes.freeze())
    }

    /// The next piece of a body; `None` at its end.
    pub async fn next_frame(&self, body: &mut Incoming) -> Result<Option<Bytes>> {
        loop {
            let limit = self.http.patience.idle;
            let frame = tokio::time::timeout(limit, body.frame())
                .await
                .map_err(|_| {
                    DistributionError::Unreachable(format!(
                        "{} was silent for {} in the middle of its answer: try again later",
                        self.endpoint.authority,
                        seconds(limit)
                    ))
                })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Err(e)) => return Err(unreachable(&self.endpoint.authority, &e)),
            }
        }
    }

    fn is_own(&self, uri: &Uri) -> bool {
        let scheme = if self.endpoint.is_plain() {
            "http"
        } else {
            "https"
        };
        uri.scheme_str() == Some(scheme)
            && uri
                .authority()
                .is_some_and(|a| a.as_str() == self.endpoint.authority)
    }

    /// Where a response points, relative to the request.
    pub fn resolve(&self, base: &Uri, headers: &HeaderMap) -> Result<Uri> {
        let location = headers
            .get(LOCATION)
            .and_then(|l| l.to_str().ok())
            .ok_or_else(|| {
                DistributionError::Unreachable(format!("{base}: an answer without a location"))
            })?;
        let bad =
            |_| DistributionError::Unreachable(format!("{base}: a bad location {location:?}"));
        let location_uri: Uri = location.parse().map_err(bad)?;
        if location_uri.scheme().is_some() {
            return Ok(location_uri);
        }
        let mut parts = base.clone().into_parts();
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let directory = base.path().rsplit_once('/').map_or("", |(d, _)| d);
            format!("{directory}/{location}")
        };
        parts.path_and_query = Some(path.parse().map_err(bad)?);
        Uri::from_parts(parts)
            .map_err(|e| DistributionError::Unreachable(format!("{base}: a bad location: {e}")))
    }

    fn redirected(&self, base: &Uri, headers: &HeaderMap) -> Result<Uri> {
        let target = self.resolve(base, headers)?;
        if base.scheme_str() == Some("https") && !self.http.may_be_plain(&target) {
            return Err(DistributionError::Unreachable(format!(
                "{base}: refusing a redirect from https to {target}"
            )));
        }
        Ok(target)
    }

    fn authorization(&self) -> Option<HeaderValue> {
        if let Some(auth) = &self.auth
            && !auth.registry_token.is_empty()
        {
            return secret_header(&format!("Bearer {}", auth.registry_token));
        }
        self.http.tokens.get(&self.key())
    }

    /// Answers a challenge; the result is kept for this session's requests.
    pub async fn authorize(&self, challenge: Challenge) -> Result<Option<TokenAnswer>> {
        match challenge {
            Challenge::Basic => {
                let header = self.auth.as_ref().and_then(Auth::basic).ok_or_else(|| {
                    DistributionError::Unauthorized("no basic auth credentials".into())
                })?;
                self.http.tokens.put(self.key(), header, None);
                Ok(None)
            }
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                let mut scopes = self.scopes.clone();
                scopes.extend(scope.filter(|s| !self.scopes.contains(s)));
                let answer = self.token(&realm, service.as_deref(), &scopes).await?;
                let header = secret_header(&format!("Bearer {}", answer.token()))
                    .filter(|_| !answer.token().is_empty())
                    .ok_or_else(|| {
                        DistributionError::Unauthorized(format!("{realm} gave no usable token"))
                    })?;
                self.http.tokens.put_token(self.key(), header, &answer);
                Ok(Some(answer))
            }
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<TokenAnswer> {
        let realm_uri: Uri = realm.parse().map_err(|e| {
            DistributionError::Unreachable(format!("a bad token server {realm:?}: {e}"))
        })?;
        if !self.endpoint.is_plain() && !self.http.may_be_plain(&realm_uri) {
            return Err(DistributionError::Unauthorized(format!(
                "refusing to ask for a token without TLS at {realm}"
            )));
        }
        if let Some(auth) = &self.auth
            && !auth.identity_token.is_empty()
        {
            let form = form(&[
                ("grant_type", "refresh_token"),
                ("service", service.unwrap_or_default()),
                ("client_id", CLIENT_ID),
                ("scope", &scopes.join(" ")),
                ("refresh_token", &auth.identity_token),
            ]);
            let mut headers = HeaderMap::new();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            let response = self
                .http
                .once(&Method::POST, &realm_uri, &headers, None, full(form.into()))
                .await?;
            return self.token_answer(response).await;
        }
        let mut query: Vec<(&str, &str)> = Vec::new();
        query.extend(service.map(|s| ("service", s)));
        query.extend(scopes.iter().map(|s| ("scope", s.as_str())));
        let basic = self.auth.as_ref().and_then(Auth::basic);
        if let Some(auth) = &self.auth
            && basic.is_some()
        {
            query.push(("account", &auth.username));
            query.push(("client_id", CLIENT_ID));
            query.push(("offline_token", "true"));
        }
        let joint = if realm.contains('?') { '&' } else { '?' };
        let uri: Uri = format!("{realm}{joint}{}", form(&query))
            .parse()
            .map_err(|e| {
                DistributionError::Unreachable(format!("a bad token server {realm:?}: {e}"))
            })?;
        let response = self
            .http
            .once(&Method::GET, &uri, &HeaderMap::new(), basic, empty())
            .await?;
        self.token_answer(response).await
    }

    async fn token_answer(&self, response: Response<Incoming>) -> Result<TokenAnswer> {
        let status = response.status();
        let body = self.read(response, ANSWER_MAX).await?;
        if !status.is_success() {
            let failure = RegistryFailure::parse(status, &body);
            if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
                let detail = if failure.errors.is_empty() && !failure.text.is_empty() {
                    failure.text
                } else if failure.errors.is_empty() {
                    "incorrect username or password".to_owned()
                } else {
                    return Err(DistributionError::Unauthorized(failure.to_string()));
                };
                return Err(DistributionError::Unauthorized(format!(
                    "unauthorized: {detail}"
                )));
            }
            return Err(DistributionError::Registry(failure));
        }
        serde_json::from_slice(&body).map_err(|e| {
            DistributionError::Unauthorized(format!("the token server's answer can't be read: {e}"))
        })
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |s: &str| utf8_percent_encode(s, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(k, v)| format!("{}={}", encode(k), encode(v)))
        .collect();
    pairs.join("&")
}

/// One header with a value that is known to be good.
pub(crate) fn header(name: HeaderName, value: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(value)
        .map_err(|_| DistributionError::Invalid(format!("not a value for {name}: {value:?}")))?;
    headers.insert(name, value);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::tls::Tls;

    fn http(patience: Patience) -> Http {
        let insecure = Insecure::default();
        let tls = Tls::new("/nonexistent".into());
        let connector = Connector::new(
            tls,
            insecure.clone(),
            &Default::default(),
            None,
            Duration::from_secs(10),
        );
        Http::new(connector, insecure, "test", patience).unwrap()
    }

    /// A body of pieces, with a pause before each.
    fn slow(pieces: usize, pause: Duration) -> Body {
        let pieces = futures_util::stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        StreamBody::new(pieces).boxed_unsync()
    }

    #[tokio::test]
    async fn what_is_sent_slowly_is_no_silence() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        // Reads all, and answers nothing.
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            all.iter().filter(|b| **b == b'x').count()
        });
        let second = Duration::from_secs(1);
        let http = http(Patience {
            idle: second / 2,
            answer: second / 2,
            commit: second / 10,
        });
        // Longer than any limit in all, and shorter from piece to piece.
        let body = slow(12, second / 10);
        let error = http
            .once(&Method::PUT, &uri, &HeaderMap::new(), None, body)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("gave no answer within 0.1 s"), "{error}");
        assert_eq!(server.await.unwrap(), 12, "all was sent before");
    }
}
