//! Images: list, inspect, history, tag, remove, prune. A name may have slashes in it, and clients send
//! them as they are: what is done is told by the end of the path.

mod create;
mod load;
mod push;
mod save;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use dhow_api::{
    ApiVersion, AttestationStatement, DeleteResponse, ImageInspect, ImagePruneReport, ImageSummary,
};
use dhow_engine::{ImageInspectOptions, ImageListOptions};
use dhow_image::ImageError;
use dhow_oci::Reference;
use http::{HeaderMap, StatusCode};

use super::{AppState, registry};
use crate::error::{ApiError, Result};
use crate::json::Json;
use crate::legacy;
use crate::platforms;
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/images/json", get(list).merge(named("json")))
        .route(
            "/images/create",
            post(create::create).merge(named("create")),
        )
        .route("/images/get", get(save::several).merge(named("get")))
        .route("/images/load", post(load::load).merge(named("load")))
        .route("/images/prune", post(prune).merge(named("prune")))
        .route(
            "/images/search",
            get(registry::search).merge(named("search")),
        )
        .route(
            "/images/{*path}",
            get(get_one).post(post_one).delete(remove),
        )
        .route("/distribution/{*path}", get(registry::inspect))
        .route("/auth", post(registry::auth))
}

/// Runs what blocks on the disk, and is not to be left half done, where that is allowed.
pub async fn blocking<T: Send + 'static>(
    state: &AppState,
    work: impl FnOnce(&AppState) -> Result<T> + Send + 'static,
) -> Result<T> {
    let own = state.clone();
    let task = state.tasks.spawn_blocking(move || work(&own));
    task.await
        .map_err(|e| ApiError::Internal(format!("the request's task failed: {e}")))?
}

async fn list(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
) -> Result<Json<Vec<ImageSummary>>> {
    let mut filters = params.filters()?;
    if let Some(name) = params.text("filter") {
        filters.add("reference", name);
    }
    let since = |minor| version >= ApiVersion::v1(minor);
    let options = ImageListOptions {
        shared_sizes: params.flag("shared-size"),
        manifests: since(47) && params.flag("manifests"),
        identity: since(54) && params.flag("identity"),
    };
    if options.identity && !options.manifests {
        return Err(ApiError::bad(
            "conflicting options: identity requires manifests=1",
        ));
    }
    let mut images = match options.manifests {
        false => state.engine.images().list(&filters, &options)?,
        true => {
            let listed = move |state: &AppState| state.engine.images().list(&filters, &options);
            blocking(&state, move |state| Ok(listed(state)?)).await?
        }
    };
    for image in &mut images {
        legacy::listed_image(image, version);
    }
    Ok(Json(images))
}

async fn get_one(
    State(state): State<AppState>,
    Path(path): Path<String>,
    Api(version): Api,
    params: Params,
) -> Result<Response> {
    if let Some(name) = path.strip_suffix("/get") {
        return save::save(state, vec![name.to_owned()], version, &params).await;
    }
    let images = state.engine.images();
    if let Some(name) = path.strip_suffix("/json") {
        let image = inspect(&state, name.to_owned(), version, &params).await?;
        return Ok(Json(legacy::image(image, version)).into_response());
    }
    if let Some(name) = path.strip_suffix("/history") {
        let platform = platforms::one(&params, "platform", version, 48)?;
        return Ok(Json(images.history(name, platform.as_ref())?).into_response());
    }
    if let Some(name) = path.strip_suffix("/attestations") {
        let statements = attestations(&state, name.to_owned(), version, &params).await?;
        return Ok(Json(statements).into_response());
    }
    Err(ApiError::NoSuchPage)
}

async fn inspect(
    state: &AppState,
    name: String,
    version: ApiVersion,
    params: &Params,
) -> Result<ImageInspect> {
    let options = ImageInspectOptions {
        manifests: version >= ApiVersion::v1(48) && params.flag("manifests"),
        platform: platforms::one(params, "platform", version, 49)?,
    };
    if options.manifests && options.platform.is_some() {
        return Err(ApiError::bad(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    if !options.manifests {
        return Ok(state.engine.images().inspect(&name, &options)?);
    }
    blocking(state, move |state| {
        Ok(state.engine.images().inspect(&name, &options)?)
    })
    .await
}

async fn attestations(
    state: &AppState,
    name: String,
    version: ApiVersion,
    params: &Params,
) -> Result<Vec<AttestationStatement>> {
    if params.all("platform").count() > 1 {
        return Err(ApiError::bad(
            "only one platform value is currently supported",
        ));
    }
    let platform = platforms::one(params, "platform", version, 0)?;
    let types = params.all("type").map(|t| t.trim().to_owned());
    let types: Vec<String> = types.filter(|t| !t.is_empty()).collect();
    let with_statements = params.flag("statement");
    blocking(state, move |state| {
        let images = state.engine.images();
        Ok(images.attestations(&name, platform.as_ref(), &types, with_statements)?)
    })
    .await
}

async fn post_one(
    State(state): State<AppState>,
    Path(path): Path<String>,
    Api(version): Api,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    if let Some(name) = path.strip_suffix("/tag") {
        return Ok(tag(state, name, &params).await?.into_response());
    }
    if let Some(name) = path.strip_suffix("/push") {
        return push::push(state, name, version, &params, &headers).await;
    }
    Err(ApiError::NoSuchPage)
}

async fn tag(state: AppState, name: &str, params: &Params) -> Result<StatusCode> {
    let name = name.to_owned();
    let repository = params.get("repo").unwrap_or_default().to_owned();
    let tag = params.text("tag").map(str::to_owned);
    blocking(&state, move |state| {
        let images = state.engine.images();
        images.tag(&name, &repository, tag.as_deref())?;
        Ok(StatusCode::CREATED)
    })
    .await
}

async fn remove(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Api(version): Api,
    params: Params,
) -> Result<Json<Vec<DeleteResponse>>> {
    let force = params.flag("force");
    let platforms = platforms::to_remove(&params, version)?;
    blocking(&state, move |state| {
        let images = state.engine.images();
        Ok(Json(match platforms.is_empty() {
            true => images.remove(&name, force)?,
            false => images.remove_platforms(&name, &platforms, force)?,
        }))
    })
    .await
}

/// What is asked of an image whose name is an operation's, too.
fn named(name: &'static str) -> MethodRouter<AppState> {
    delete(move |state, version, params| remove(state, Path(name.to_owned()), version, params))
}

async fn prune(State(state): State<AppState>, params: Params) -> Result<Json<ImagePruneReport>> {
    let filters = params.filters()?;
    blocking(&state, move |state| {
        Ok(Json(state.engine.images().prune(&filters)?))
    })
    .await
}

/// The reference that a `repo` and a `tag` parameter make; the tag may also be a digest.
pub fn reference(repository: &str, tag: Option<&str>) -> Result<Reference> {
    let reference = Reference::parse_normalized(repository).map_err(ImageError::from)?;
    let Some(tag) = tag else {
        return Ok(reference);
    };
    if let Ok(digest) = tag.parse() {
        return Ok(reference.with_digest(digest));
    }
    Ok(reference.with_tag(tag).map_err(ImageError::from)?)
}
