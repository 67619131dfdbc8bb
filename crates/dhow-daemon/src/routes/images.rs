//! Images: list, inspect, history, tag, remove, prune. A name may have slashes in it, and clients send
//! them as they are: what is done is told by the end of the path.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dhow_api::{
    DeleteResponse, DriverData, HealthConfig, HistoryItem, ImageContainerConfig, ImageInspect,
    ImageMetadata, ImagePruneReport, ImageSummary, RootFs, time,
};
use dhow_image::{Image, ImageError, Removed};
use dhow_oci::Reference;
use http::{HeaderMap, StatusCode};

use super::{AppState, image_create, image_push, registry};
use crate::error::{ApiError, Result};
use crate::image_filter::ImageFilter;
use crate::json::Json;
use crate::query::Params;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/create", post(image_create::create))
        .route("/images/prune", post(prune))
        .route("/images/search", get(registry::search))
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

/// All images, for the disk usage.
pub fn summaries(state: &AppState) -> Result<Vec<ImageSummary>> {
    let images = state.engine.images().store();
    let shared = |image: &Image| -> i64 {
        image
            .chain
            .iter()
            .filter(|chain| images.users_of_layer(chain) > 1)
            .filter_map(|chain| images.layer(chain))
            .map(|layer| layer.size as i64)
            .sum()
    };
    Ok(images
        .list()
        .iter()
        .map(|image| ImageSummary {
            shared_size: shared(image),
            ..summary(state, image)
        })
        .collect())
}

fn summary(state: &AppState, image: &Image) -> ImageSummary {
    ImageSummary {
        containers: state.engine.images().users(&image.id).len() as i64,
        created: image.config.created_seconds(),
        id: image.id.to_string(),
        labels: image.config.config.labels.clone(),
        repo_digests: image.repo_digests(),
        repo_tags: image.repo_tags(),
        shared_size: -1,
        size: image.size as i64,
        ..ImageSummary::default()
    }
}

async fn list(State(state): State<AppState>, params: Params) -> Result<Json<Vec<ImageSummary>>> {
    let mut filters = params.filters()?;
    if let Some(name) = params.text("filter") {
        filters.add("reference", name);
    }
    let filter = ImageFilter::new(&filters, state.engine.images().store())?;
    let shared = params.flag("shared-size");
    let all = if shared {
        summaries(&state)?
    } else {
        let images = state.engine.images().store().list();
        images.iter().map(|i| summary(&state, i)).collect()
    };
    let mut shown = Vec::new();
    for mut line in all {
        let Ok(image) = state.engine.images().store().resolve(&line.id) else {
            // Removed meanwhile.
            continue;
        };
        if filter.matches(&image) {
            line.repo_tags = filter.names(&image.tags);
            line.repo_digests = filter.names(&image.digests);
            shown.push(line);
        }
    }
    Ok(Json(shown))
}

async fn get_one(State(state): State<AppState>, Path(path): Path<String>) -> Result<Response> {
    if let Some(name) = path.strip_suffix("/json") {
        let image = state.engine.images().store().resolve(name)?;
        return Ok(Json(inspect(&state, &image)).into_response());
    }
    if let Some(name) = path.strip_suffix("/history") {
        let image = state.engine.images().store().resolve(name)?;
        return Ok(Json(history(&state, &image)).into_response());
    }
    Err(ApiError::NoSuchPage)
}

async fn post_one(
    State(state): State<AppState>,
    Path(path): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    if let Some(name) = path.strip_suffix("/tag") {
        return Ok(tag(state, name, &params).await?.into_response());
    }
    if let Some(name) = path.strip_suffix("/push") {
        return image_push::push(state, name, &params, &headers).await;
    }
    Err(ApiError::NoSuchPage)
}

async fn tag(state: AppState, name: &str, params: &Params) -> Result<StatusCode> {
    let image = state.engine.images().store().resolve(name)?;
    let repository = params.get("repo").unwrap_or_default();
    let mut target = Reference::parse_normalized(repository).map_err(ImageError::from)?;
    if target.digest().is_some() {
        return Err(ApiError::bad(
            "refusing to create a tag with a digest reference",
        ));
    }
    if let Some(tag) = params.text("tag") {
        target = target.with_tag(tag).map_err(ImageError::from)?;
    }
    let target = target.with_default_tag();
    blocking(&state, move |state| {
        state.engine.images().store().tag(&image.id, &target)?;
        let id = image.id.to_string();
        state.engine.images().tell("tag", &id, &target.familiar());
        Ok(StatusCode::CREATED)
    })
    .await
}

async fn remove(
    State(state): State<AppState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Vec<DeleteResponse>>> {
    let force = params.flag("force");
    let removed = blocking(&state, move |state| {
        Ok(state.engine.images().remove(&name, force)?)
    })
    .await?;
    Ok(Json(removed.into_iter().map(deleted).collect()))
}

fn deleted(removed: Removed) -> DeleteResponse {
    match removed {
        Removed::Untagged(untagged) => DeleteResponse {
            untagged,
            ..DeleteResponse::default()
        },
        Removed::Deleted(id) => DeleteResponse {
            deleted: id.to_string(),
            ..DeleteResponse::default()
        },
    }
}

async fn prune(State(state): State<AppState>, params: Params) -> Result<Json<ImagePruneReport>> {
    let filters = params.filters()?;
    let (filter, dangling) = ImageFilter::for_prune(&filters)?;
    let (removed, freed) = blocking(&state, move |state| {
        let doomed = |image: &Image| (!dangling || image.tags.is_empty()) && filter.matches(image);
        let used_by = |id: &_| state.engine.images().users(id);
        Ok(state.engine.images().store().prune(&doomed, &used_by)?)
    })
    .await?;
    state.engine.events().publish(
        "image",
        "prune",
        dhow_api::Actor {
            attributes: BTreeMap::from([("reclaimed".to_owned(), freed.to_string())]),
            ..Default::default()
        },
    );
    Ok(Json(ImagePruneReport {
        images_deleted: (!removed.is_empty()).then(|| removed.into_iter().map(deleted).collect()),
        space_reclaimed: freed,
    }))
}

fn inspect(state: &AppState, image: &Arc<Image>) -> ImageInspect {
    let config = &image.config;
    let lower: Vec<String> = state
        .engine
        .images()
        .store()
        .lower_dirs(&image.id)
        .unwrap_or_default()
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    let mut data = BTreeMap::new();
    if let Some((top, below)) = lower.split_first() {
        data.insert("UpperDir".to_owned(), top.clone());
        if !below.is_empty() {
            data.insert("LowerDir".to_owned(), below.join(":"));
        }
    }
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags(),
        repo_digests: image.repo_digests(),
        comment: config.comment.clone(),
        created: config.created.clone().unwrap_or_default(),
        author: config.author.clone(),
        config: Some(container_config(image)),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        size: image.size as i64,
        graph_driver: Some(DriverData {
            data: Some(data),
            name: "overlay2".to_owned(),
        }),
        root_fs: RootFs {
            kind: config.rootfs.kind.clone(),
            layers: config
                .rootfs
                .diff_ids
                .iter()
                .map(|d| d.to_string())
                .collect(),
        },
        metadata: ImageMetadata {
            last_tag_time: match image.last_tagged {
                0 => time::ZERO.to_owned(),
                at => time::rfc3339_nano(at),
            },
        },
        ..ImageInspect::default()
    }
}

fn container_config(image: &Image) -> ImageContainerConfig {
    let c = &image.config.config;
    let set = |map: &Option<BTreeMap<String, serde_json::Value>>| {
        let keys = map.iter().flat_map(BTreeMap::keys);
        keys.map(|k| (k.clone(), dhow_api::Empty {})).collect()
    };
    ImageContainerConfig {
        user: c.user.clone(),
        exposed_ports: set(&c.exposed_ports),
        env: c.env.clone().unwrap_or_default(),
        entrypoint: c.entrypoint.clone().unwrap_or_default(),
        cmd: c.cmd.clone().unwrap_or_default(),
        volumes: set(&c.volumes),
        working_dir: c.working_dir.clone(),
        labels: c.labels.clone().unwrap_or_default(),
        stop_signal: c.stop_signal.clone(),
        args_escaped: c.args_escaped,
        healthcheck: c.healthcheck.as_ref().map(|h| HealthConfig {
            test: h.test.clone().unwrap_or_default(),
            interval: h.interval,
            timeout: h.timeout,
            start_period: h.start_period,
            start_interval: h.start_interval,
            retries: h.retries,
        }),
        on_build: c.on_build.clone().unwrap_or_default(),
        shell: c.shell.clone().unwrap_or_default(),
    }
}

/// The steps of an image's making, the last first.
fn history(state: &AppState, image: &Image) -> Vec<HistoryItem> {
    let mut layers = image.chain.iter();
    let mut items: Vec<HistoryItem> = image
        .config
        .history
        .iter()
        .map(|step| {
            let layer = if step.empty_layer {
                None
            } else {
                layers
                    .next()
                    .and_then(|c| state.engine.images().store().layer(c))
            };
            let created = step.created.as_deref().and_then(|c| time::parse(c).ok());
            HistoryItem {
                comment: step.comment.clone(),
                created: created.unwrap_or(0) / 1_000_000_000,
                created_by: step.created_by.clone(),
                id: "<missing>".to_owned(),
                size: layer.map_or(0, |l| l.size as i64),
                tags: None,
            }
        })
        .collect();
    items.reverse();
    if let Some(top) = items.first_mut() {
        top.id = image.id.to_string();
        top.tags = Some(image.repo_tags()).filter(|tags| !tags.is_empty());
    }
    items
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
