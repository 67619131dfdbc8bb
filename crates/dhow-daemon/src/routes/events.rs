//! `GET /events`: what happens, as it happens, in the form and with the fields of the client's version.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use dhow_api::{ApiVersion, Event, media_type};
use dhow_engine::EventFilter;
use futures_util::stream;
use http::{HeaderMap, header};
use serde_json::Value;

use super::AppState;
use crate::error::{ApiError, Result};
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new().route("/events", get(events))
}

async fn events(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let since = params.time("since")?;
    let until = params.time("until")?;
    if let (Some(s), Some(u)) = (since, until)
        && u < s
    {
        return Err(ApiError::bad(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            params.get("since").unwrap_or_default(),
            params.get("until").unwrap_or_default()
        )));
    }
    let filter = EventFilter::new(params.filters()?)?;
    let subscription = state.engine.events().subscribe(since, until, filter);
    let content_type = content_type(&headers, version);
    let form = Form {
        version,
        sequence: content_type == media_type::JSON_SEQ,
    };
    let deadline = until.map(|until| {
        let left = until.saturating_sub(dhow_api::time::now());
        tokio::time::Instant::now() + Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    });
    let stream = stream::unfold(
        (subscription, deadline),
        move |(mut subscription, deadline)| async move {
            loop {
                let event = match subscription.ready().await {
                    Some(event) => event,
                    None => match deadline {
                        None => subscription.next().await?,
                        Some(deadline) => tokio::time::timeout_at(deadline, subscription.next())
                            .await
                            .ok()??,
                    },
                };
                if let Some(text) = form.write(&event) {
                    return Some((
                        Ok::<_, std::convert::Infallible>(text),
                        (subscription, deadline),
                    ));
                }
            }
        },
    );
    Ok(state.stream(content_type, stream))
}

/// The form that the client asks for, else its version's.
fn content_type(headers: &HeaderMap, version: ApiVersion) -> &'static str {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or("").trim());
    for range in accepted {
        for offered in [
            media_type::JSON_LINES,
            media_type::NDJSON,
            media_type::JSON_SEQ,
        ] {
            // Wildcards do not ask for anything.
            if range.eq_ignore_ascii_case(offered) {
                return offered;
            }
        }
    }
    if version < ApiVersion::v1(52) {
        media_type::JSON
    } else {
        media_type::JSON_LINES
    }
}

/// How events are written to one client.
#[derive(Clone, Copy)]
struct Form {
    version: ApiVersion,
    /// Each text begins with a record separator (RFC 7464).
    sequence: bool,
}

impl Form {
    /// `None` for an event that the client's version does not have.
    fn write(self, event: &Arc<Event>) -> Option<Bytes> {
        if self.version < ApiVersion::v1(46) && event.kind == "image" && event.action == "create" {
            return None;
        }
        let mut text = Vec::with_capacity(512);
        if self.sequence {
            text.push(0x1e);
        }
        let written = if self.version < ApiVersion::v1(52) {
            serde_json::to_writer(&mut text, &with_legacy_fields(event))
        } else {
            serde_json::to_writer(&mut text, event.as_ref())
        };
        if let Err(e) = written {
            tracing::error!("an event could not be written as JSON: {e}");
            return None;
        }
        text.push(b'\n');
        Some(text.into())
    }
}

/// `status`, `id` and `from` of the events before 1.22, without which old clients panic.
fn with_legacy_fields(event: &Event) -> Value {
    let mut fields = serde_json::Map::new();
    if matches!(event.kind.as_str(), "container" | "image") {
        fields.insert("status".into(), event.action.clone().into());
        fields.insert("id".into(), event.actor.id.clone().into());
    }
    if event.kind == "container" {
        let image = event.actor.attributes.get("image").cloned();
        fields.insert("from".into(), image.unwrap_or_default().into());
    }
    if let Ok(Value::Object(own)) = serde_json::to_value(event) {
        fields.extend(own);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str) -> Arc<Event> {
        let mut event = Event {
            kind: kind.into(),
            action: action.into(),
            scope: "local".into(),
            time: 1,
            time_nano: 1_000_000_001,
            ..Event::default()
        };
        event.actor.id = "abc".into();
        event
            .actor
            .attributes
            .insert("image".into(), "busybox".into());
        Arc::new(event)
    }

    #[test]
    fn old_clients_get_the_old_fields_too() {
        let write = |minor, sequence, e: &Arc<Event>| {
            let version = ApiVersion::v1(minor);
            Form { version, sequence }
                .write(e)
                .map(|b| String::from_utf8(b.to_vec()).unwrap())
        };
        let die = event("container", "die");
        let new = r#"{"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"image":"busybox"}},"scope":"local","time":1,"timeNano":1000000001}"#;
        assert_eq!(write(52, false, &die).unwrap(), format!("{new}\n"));
        assert_eq!(write(52, true, &die).unwrap(), format!("\u{1e}{new}\n"));
        let old: Value = serde_json::from_str(&write(51, false, &die).unwrap()).unwrap();
        assert_eq!(old["status"], "die");
        assert_eq!(old["id"], "abc");
        assert_eq!(old["from"], "busybox");
        assert_eq!(old["Type"], "container");
        let network: Value =
            serde_json::from_str(&write(51, false, &event("network", "connect")).unwrap()).unwrap();
        assert!(network.get("status").is_none());
        assert!(write(45, false, &event("image", "create")).is_none());
        assert!(write(46, false, &event("image", "create")).is_some());
    }

    #[test]
    fn the_form_is_negotiated() {
        let with = |accept: &str, minor| {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            content_type(&headers, ApiVersion::v1(minor))
        };
        assert_eq!(with("", 51), "application/json");
        assert_eq!(with("*/*", 52), "application/jsonl");
        assert_eq!(
            with("application/json-seq;q=0.9, text/html", 51),
            "application/json-seq"
        );
        assert_eq!(
            with("text/html, application/x-ndjson", 56),
            "application/x-ndjson"
        );
    }
}
