//! `POST /images/create`: pull, or import.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dhow_api::JsonMessage;
use dhow_image::{ImageError, ImportOptions, LayerSpec};
use dhow_oci::{Platform, Reference};
use futures_util::StreamExt;

use crate::error::{ApiError, Result};
use crate::metrics::Stopwatch;
use crate::progress;
use crate::query::Params;
use crate::routes::{AppState, images, registry};

pub async fn create(
    State(state): State<AppState>,
    params: Params,
    request: Request,
) -> Result<Response> {
    let platform: Option<Platform> = match params.text("platform") {
        None => None,
        Some(text) => Some(text.parse().map_err(|e| ApiError::bad(format!("{e}")))?),
    };
    if let Some(name) = params.text("fromImage") {
        let reference = images::reference(name, params.text("tag"))?;
        let auth = registry::credentials(request.headers())?;
        let stopwatch = request.extensions().get::<Stopwatch>().cloned();
        return pull(state, reference, platform, auth, stopwatch).await;
    }
    match params.text("fromSrc") {
        Some("-") => import(state, &params, platform, request.into_body()).await,
        Some(_) => Err(ApiError::NotImplemented(
            "importing from a URL is not supported: fetch the archive and import it from standard input"
                .into(),
        )),
        None => Err(ApiError::bad(
            "nothing to create an image from: give fromImage or fromSrc",
        )),
    }
}

async fn pull(
    state: AppState,
    reference: Reference,
    platform: Option<Platform>,
    auth: Option<dhow_distribution::Auth>,
    stopwatch: Option<Stopwatch>,
) -> Result<Response> {
    let own = state.clone();
    progress::respond(&state, move |report| async move {
        let registry = own.distribution();
        let images = own.engine.images();
        // A repository alone means all of its tags.
        let references = match reference.is_name_only() {
            false => vec![reference],
            true => {
                let tags = registry.tags(&reference, auth.as_ref()).await?;
                let named = tags.iter().map(|tag| reference.clone().with_tag(tag));
                named
                    .collect::<std::result::Result<_, _>>()
                    .map_err(ImageError::from)?
            }
        };
        for reference in references {
            let (auth, report) = (auth.clone(), report.clone());
            let pulled = registry.pull(images.store(), &reference, platform.clone(), auth, report);
            pulled.await?;
            // As with a peer, a pull is of a reference: that is the event's object.
            let name = reference.familiar();
            images.tell("pull", &name, &name);
        }
        if let Some(stopwatch) = stopwatch {
            stopwatch.done();
        }
        Ok(())
    })
    .await
}

async fn import(
    state: AppState,
    params: &Params,
    platform: Option<Platform>,
    body: Body,
) -> Result<Response> {
    let reference = match params.text("repo") {
        None => None,
        Some(repository) => Some(images::reference(repository, params.text("tag"))?),
    };
    let options = ImportOptions {
        reference,
        changes: params.all("changes").map(str::to_owned).collect(),
        message: params.get("message").unwrap_or_default().to_owned(),
        platform,
    };
    options.check()?;
    let ingest = state.engine.images().store().begin();
    let sink = ingest.layer(LayerSpec::unknown())?;
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let bytes = frame.map_err(|e| ApiError::bad(format!("reading the archive: {e}")))?;
        if !sink.send(bytes).await {
            break;
        }
    }
    let layer = sink.finish().await.map_err(|e| match e {
        // The archive is the client's.
        ImageError::Layer(reason) => ApiError::bad(format!("the archive is refused: {reason}")),
        other => other.into(),
    })?;
    let image = images::blocking(&state, move |state| {
        let committed = ingest.import(layer, &options)?;
        let id = committed.image.id.to_string();
        let images = state.engine.images();
        if let Some(reference) = &options.reference {
            images.tell("tag", &id, &reference.familiar());
        }
        images.tell("import", &id, &id);
        Ok(id)
    })
    .await?;
    let line = progress::line(&JsonMessage::status(image));
    let stream = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(line)]);
    Ok(state.stream("application/json", stream))
}
