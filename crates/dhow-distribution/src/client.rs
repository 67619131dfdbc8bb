//! The client: what all transfers share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use dhow_oci::reference::DEFAULT_DOMAIN;
use dhow_oci::{Descriptor, Digest, Document, Platform, Reference};
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use crate::auth::{Auth, Challenge};
use crate::config::{Config, Insecure};
use crate::connect::Connector;
use crate::endpoint::{self, Endpoint, Kind};
use crate::error::{DistributionError, Result};
use crate::manifests::{self, Fetched};
use crate::patience::Patience;
use crate::session::{Http, Session, empty};
use crate::tls::Tls;

/// How long docker.io may take to answer if there is something to stand in for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// A handle to the client; clones share connections, tokens and transfers.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub config: Config,
    mirrors: Vec<Endpoint>,
    insecure: Insecure,
    http: Arc<Http>,
    /// Layers that some pull is fetching, by chain id.
    in_flight: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    /// The endpoint that answered last, by domain: the others need not be tried first again.
    answered: Mutex<HashMap<String, Endpoint>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

/// What `GET /distribution/{name}/json` tells.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub descriptor: Descriptor,
    pub platforms: Vec<Platform>,
}

impl Client {
    pub fn new(config: Config) -> Result<Client> {
        let insecure = Insecure::parse(&config.insecure_registries)?;
        let connector = Connector::new(
            Tls::new(config.certs_dir.clone()),
            insecure.clone(),
            &config.proxies,
            config.embedded.clone(),
            config.connect_timeout,
        );
        let http = Http::new(
            connector,
            insecure.clone(),
            &config.user_agent,
            Patience {
                idle: config.idle_timeout,
                answer: config.answer_timeout,
                commit: config.commit_timeout,
            },
        )?;
        Ok(Client {
            shared: Arc::new(Shared {
                mirrors: endpoint::mirrors(&config)?,
                config,
                insecure,
                http: Arc::new(http),
                in_flight: Mutex::default(),
                answered: Mutex::default(),
            }),
        })
    }

    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// What a reference means at its registry, and for which platforms there is something.
    pub async fn inspect(&self, reference: &Reference, auth: Option<&Auth>) -> Result<Inspection> {
        let reference = reference.clone().with_default_tag();
        let (session, fetched) = self.find(&reference, auth).await?;
        let platforms = match &fetched.document {
            Document::Index(index) => index
                .manifests
                .iter()
                .filter_map(|d| d.platform.clone())
                .collect(),
            Document::Manifest(manifest) => {
                let config = crate::blobs::fetch(
                    &session,
                    reference.path(),
                    "configuration",
                    &manifest.config,
                    dhow_oci::DOCUMENT_MAX,
                    self.shared.config.max_attempts,
                )
                .await?;
                let config = dhow_oci::ImageConfig::parse(&config);
                config.map(|c| c.platform()).into_iter().collect()
            }
        };
        Ok(Inspection {
            descriptor: fetched.descriptor,
            platforms,
        })
    }

    /// Checks credentials at a registry, given as `host[:port]` or URL; the result is a token to use in
    /// place of the password, where the registry gives one.
    pub async fn login(&self, server: &str, auth: &Auth) -> Result<Option<String>> {
        let domain = server
            .trim_start_matches("https://")
            .trim_start_matches("http://");
        let domain = domain.split('/').next().unwrap_or(domain);
        let domain = match domain {
            "" | "index.docker.io" | "registry-1.docker.io" => DEFAULT_DOMAIN,
            other => other,
        };
        let mut failure = None;
        for endpoint in endpoint::registry(domain, &self.shared.insecure) {
            match self.login_at(endpoint, auth).await {
                Err(e @ DistributionError::Unreachable(_)) => {
                    failure.get_or_insert(e);
                }
                other => return other,
            }
        }
        Err(failure.unwrap_or_else(|| DistributionError::Invalid(format!("no registry: {server}"))))
    }

    async fn login_at(&self, endpoint: Endpoint, auth: &Auth) -> Result<Option<String>> {
        let session = Session::new(self.shared.http.clone(), endpoint, Some(auth), Vec::new());
        let uri = session.endpoint.url("")?;
        let probe = session.probe(uri.clone()).await?;
        let mut identity = None;
        if probe.status() == StatusCode::UNAUTHORIZED {
            let challenge = Challenge::choose(probe.headers().get_all(WWW_AUTHENTICATE).iter())
                .ok_or_else(|| {
                    DistributionError::Unauthorized(
                        "the registry asks for credentials in a way that is not supported".into(),
                    )
                })?;
            if let Some(answer) = session.authorize(challenge).await? {
                identity = Some(answer.refresh_token).filter(|t| !t.is_empty());
            }
        }
        let response = session
            .send(http::Method::GET, uri, http::HeaderMap::new(), || {
                Ok(empty())
            })
            .await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(DistributionError::Unauthorized(
                "unauthorized: incorrect username or password".into(),
            ));
        }
        session.checked(response).await?;
        Ok(identity)
    }

    pub(crate) fn session(
        &self,
        endpoint: Endpoint,
        auth: Option<&Auth>,
        scopes: Vec<String>,
    ) -> Arc<Session> {
        Arc::new(Session::new(
            self.shared.http.clone(),
            endpoint,
            auth,
            scopes,
        ))
    }

    /// The endpoints of a domain for pushing, or after its mirrors.
    pub(crate) fn registry(&self, domain: &str) -> Vec<Endpoint> {
        let mut endpoints = endpoint::registry(domain, &self.shared.insecure);
        let answered = self.shared.answered.lock();
        let answered = answered.unwrap_or_else(|e| e.into_inner());
        if let Some(first) = answered.get(domain) {
            endpoints.sort_by_key(|e| e != first);
        }
        endpoints
    }

    pub(crate) fn answered(&self, domain: &str, endpoint: &Endpoint) {
        if endpoint.kind == Kind::Registry {
            let answered = self.shared.answered.lock();
            let mut answered = answered.unwrap_or_else(|e| e.into_inner());
            answered.insert(domain.to_owned(), endpoint.clone());
        }
    }

    pub(crate) fn endpoints(&self, domain: &str) -> Vec<Endpoint> {
        let hub = domain == DEFAULT_DOMAIN;
        let mut endpoints = Vec::new();
        if hub {
            endpoints.extend(self.shared.mirrors.iter().cloned());
        }
        endpoints.extend(self.registry(domain));
        endpoints
    }

    /// What the registry in this process has for a reference of docker.io.
    async fn stand_in(
        &self,
        reference: &Reference,
        target: &str,
    ) -> Option<(Arc<Session>, Fetched)> {
        if reference.domain() != DEFAULT_DOMAIN || self.shared.config.embedded.is_none() {
            return None;
        }
        let session = self.session(endpoint::embedded(), None, Vec::new());
        let found = manifests::fetch(&session, reference.path(), target, reference.digest()).await;
        Some((session, found.ok()?))
    }

    /// Finds the endpoint that has the reference, and what it means there. A mirror that has it not, or
    /// does not answer, is passed over; so is a way of reaching the registry that fails. What is
    /// reported in the end is the first definite answer, or else the registry's own failure.
    pub(crate) async fn find(
        &self,
        reference: &Reference,
        auth: Option<&Auth>,
    ) -> Result<(Arc<Session>, Fetched)> {
        let scope = format!("repository:{}:pull", reference.path());
        let target = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => dhow_oci::reference::DEFAULT_TAG.to_owned(),
        };
        let mut definite = None;
        let mut unreachable = None;
        let mut stand_in = None;
        for endpoint in self.endpoints(reference.domain()) {
            let session = self.session(endpoint, auth, vec![scope.clone()]);
            let endpoint = &session.endpoint;
            let fetch = manifests::fetch(&session, reference.path(), &target, reference.digest());
            if endpoint.kind == Kind::Registry && stand_in.is_none() {
                stand_in = self.stand_in(reference, &target).await;
            }
            let found = if stand_in.is_some() {
                let answer = tokio::time::timeout(PATIENCE, fetch).await;
                answer.unwrap_or_else(|_| {
                    Err(DistributionError::Unreachable(format!(
                        "{} did not answer within {} s",
                        endpoint.authority,
                        PATIENCE.as_secs()
                    )))
                })
            } else {
                fetch.await
            };
            match found {
                Ok(fetched) => {
                    self.answered(reference.domain(), endpoint);
                    return Ok((session, fetched));
                }
                Err(e @ DistributionError::Unreachable(_)) => {
                    tracing::debug!(endpoint = %endpoint.base, error = %e, "an endpoint does not answer");
                    if endpoint.kind != Kind::Mirror {
                        unreachable.get_or_insert(e);
                    }
                }
                Err(e) if endpoint.kind == Kind::Registry => {
                    self.answered(reference.domain(), endpoint);
                    return Err(manifests::explain(e, reference));
                }
                Err(e) => {
                    tracing::debug!(endpoint = %endpoint.base, error = %e, "an endpoint is passed over");
                    if endpoint.kind == Kind::Mirror {
                        definite.get_or_insert(manifests::explain(e, reference));
                    }
                }
            }
        }
        if let Some(found) = stand_in {
            return Ok(found);
        }
        Err(definite.or(unreachable).unwrap_or_else(|| {
            DistributionError::Unreachable(format!(
                "no registry to ask for {}",
                reference.familiar()
            ))
        }))
    }

    /// The lock of a layer: who holds it fetches it, and the others find it here afterwards.
    pub(crate) fn layer_lock(&self, chain: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let in_flight = self.shared.in_flight.lock();
        let mut in_flight = in_flight.unwrap_or_else(|e| e.into_inner());
        if let Some(lock) = in_flight.get(chain).and_then(Weak::upgrade) {
            return lock;
        }
        in_flight.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        in_flight.insert(chain.clone(), Arc::downgrade(&lock));
        lock
    }
}
