//! The progress messages of pull, push, import and load: JSON objects, one a line.

use serde_json::Value;

use crate::wire::{is_default, wire};

wire! {
    /// One message. `{"status":…,"progressDetail":{},"id":…}` opens or moves a line of progress.
    pub struct JsonMessage {
        #[serde(skip_serializing_if = "is_default")]
        pub stream: String,
        #[serde(skip_serializing_if = "is_default")]
        pub status: String,
        /// `Some` of a default is `{}`: a line of progress without figures.
        #[serde(rename = "progressDetail", skip_serializing_if = "is_default")]
        pub progress_detail: Option<ProgressDetail>,
        /// The bar as text, which clients before 1.48 print; absent from newer streams.
        #[serde(skip_serializing_if = "is_default")]
        pub progress: String,
        #[serde(skip_serializing_if = "is_default")]
        pub id: String,
        #[serde(rename = "errorDetail", skip_serializing_if = "is_default")]
        pub error_detail: Option<ErrorDetail>,
        /// The same message again, for older clients.
        #[serde(skip_serializing_if = "is_default")]
        pub error: String,
        #[serde(skip_serializing_if = "is_default")]
        pub aux: Option<Value>,
    }

    pub struct ProgressDetail {
        #[serde(skip_serializing_if = "is_default")]
        pub current: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub total: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub start: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub hidecounts: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub units: String,
    }

    pub struct ErrorDetail {
        #[serde(skip_serializing_if = "is_default")]
        pub code: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub message: String,
    }
}

impl JsonMessage {
    /// A line of its own.
    pub fn status(text: impl Into<String>) -> JsonMessage {
        JsonMessage {
            status: text.into(),
            ..JsonMessage::default()
        }
    }

    /// A line of progress, redrawn with every message of the same `id`.
    pub fn progress(
        id: impl Into<String>,
        status: impl Into<String>,
        detail: ProgressDetail,
    ) -> JsonMessage {
        JsonMessage {
            id: id.into(),
            status: status.into(),
            progress_detail: Some(detail),
            ..JsonMessage::default()
        }
    }

    /// The failure of an operation whose answer has begun with 200.
    pub fn failure(message: impl Into<String>) -> JsonMessage {
        let message = message.into();
        JsonMessage {
            error: message.clone(),
            error_detail: Some(ErrorDetail { code: 0, message }),
            ..JsonMessage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_print_as_dockers() {
        let line = |m: JsonMessage| serde_json::to_string(&m).unwrap();
        assert_eq!(
            line(JsonMessage::progress(
                "4e5",
                "Pulling fs layer",
                ProgressDetail::default()
            )),
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"4e5"}"#
        );
        assert_eq!(
            line(JsonMessage::failure("no <such> image")),
            r#"{"errorDetail":{"message":"no <such> image"},"error":"no <such> image"}"#
        );
    }
}
