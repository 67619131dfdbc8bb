//! Calls on files in containers.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dhow_api::{PATH_STAT_HEADER, PathStat};
use futures_util::Stream;
use http::{Method, Response};

use crate::Result;
use crate::body::BodyReader;
use crate::call::segment;
use crate::client::{Boxed, Client};
use crate::error::Error;

fn path(id: &str) -> String {
    format!("/containers/{}/archive", segment(id))
}

fn stat<T>(response: &Response<T>, path: &str) -> Result<PathStat> {
    let missing = || Error::NoStat {
        path: path.to_owned(),
    };
    let header = response.headers().get(PATH_STAT_HEADER);
    let json = header
        .and_then(|header| STANDARD.decode(header.as_bytes()).ok())
        .ok_or_else(missing)?;
    serde_json::from_slice(&json).map_err(|_| missing())
}

impl Client {
    /// What is at a path in a container.
    pub fn container_stat_path<'a>(&'a self, id: &'a str, place: &'a str) -> Boxed<'a, PathStat> {
        Box::pin(async move {
            let call = self.call(Method::HEAD, path(id)).query("path", place);
            stat(&call.send().await?, place)
        })
    }

    /// An archive of what is at a path in a container, and what that is.
    pub fn container_archive<'a>(
        &'a self,
        id: &'a str,
        place: &'a str,
    ) -> Boxed<'a, (PathStat, BodyReader)> {
        Box::pin(async move {
            let response = self.get(path(id)).query("path", place).send().await?;
            let stat = stat(&response, place)?;
            Ok((stat, BodyReader::new(response.into_body())))
        })
    }

    /// Puts an archive into a directory of a container. A file doesn't take the place of a directory there, nor a
    /// directory that of a file.
    pub async fn container_extract(
        &self,
        id: &str,
        directory: &str,
        chown: bool,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        self.call(Method::PUT, path(id))
            .query("path", directory)
            .query("noOverwriteDirNonDir", "true")
            .query_some("copyUIDGID", chown.then_some("true"))
            .stream_body(archive, "application/x-tar")
            .done()
            .await?;
        Ok(())
    }
}
