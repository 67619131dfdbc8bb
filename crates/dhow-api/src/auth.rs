//! Credentials for registries, as clients send them: the `X-Registry-Auth` header is the URL-safe base64
//! of an [`AuthConfig`], and `POST /auth` has one as its body.

use crate::wire::{is_default, wire};

wire! {
    pub struct AuthConfig {
        #[serde(skip_serializing_if = "is_default")]
        pub username: String,
        #[serde(skip_serializing_if = "is_default")]
        pub password: String,
        /// Base64 of `username:password`.
        #[serde(skip_serializing_if = "is_default")]
        pub auth: String,
        #[serde(skip_serializing_if = "is_default")]
        pub serveraddress: String,
        #[serde(skip_serializing_if = "is_default")]
        pub identitytoken: String,
        #[serde(skip_serializing_if = "is_default")]
        pub registrytoken: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct AuthResponse {
        #[serde(skip_serializing_if = "is_default")]
        pub identity_token: String,
        pub status: String,
    }
}
