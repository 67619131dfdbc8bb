//! `POST /images/{name}/push`.

use axum::response::Response;
use dhow_api::ApiVersion;
use dhow_image::Image;
use http::HeaderMap;

use crate::error::{ApiError, Result};
use crate::platforms;
use crate::progress;
use crate::query::Params;
use crate::routes::{AppState, images, registry};

/// Pushes one tag; without one, all that the repository has here.
pub async fn push(
    state: AppState,
    name: &str,
    version: ApiVersion,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response> {
    let platform = platforms::one(params, "platform", version, 46)?;
    let auth = registry::credentials(headers)?;
    let reference = images::reference(name, params.text("tag"))?;
    if reference.digest().is_some() {
        return Err(ApiError::bad("cannot push a digest reference"));
    }
    let references = if reference.tag().is_some() {
        vec![reference.clone()]
    } else {
        let all = state.engine.images().store().list();
        let tags = all
            .iter()
            .flat_map(|image: &std::sync::Arc<Image>| image.tags.clone());
        let mut tags: Vec<_> = tags.filter(|t| t.same_repository(&reference)).collect();
        tags.sort();
        tags
    };
    if references.is_empty() {
        return Err(ApiError::Distribution(
            dhow_distribution::DistributionError::NotFound(format!(
                "An image does not exist locally with the tag: {}",
                reference.familiar_name()
            )),
        ));
    }
    let own = state.clone();
    progress::respond(&state, move |report| async move {
        for reference in references {
            let images = own.engine.images().store();
            let registry = own.distribution();
            let named = reference.familiar();
            let image = match &platform {
                None => None,
                Some(platform) => Some(images.variant(&named, platform)?),
            };
            let (auth, report) = (auth.clone(), report.clone());
            match image {
                None => registry.push(images, &reference, auth, report).await?,
                Some(image) => {
                    let pushed = registry.push_image(images, image, &reference, auth, report);
                    pushed.await?
                }
            };
            if let Ok(image) = images.resolve(&reference.to_string()) {
                let id = image.id.to_string();
                own.engine.images().tell("push", &id, &reference.familiar());
            }
        }
        Ok(())
    })
    .await
}
