//! Streams of JSON values: progress, events, statistics. Values follow each other with or without
//! newlines, and with the record separators of `application/json-seq`.

use std::io;
use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// A value is not longer than this.
const LIMIT: usize = 16 * 1024 * 1024;

pub struct JsonStream<T> {
    body: Incoming,
    decoder: Decoder<T>,
    path: String,
}

impl<T: DeserializeOwned> JsonStream<T> {
    pub(crate) fn new(body: Incoming, path: String) -> JsonStream<T> {
        JsonStream {
            body,
            decoder: Decoder::default(),
            path,
        }
    }

    /// The next value, or `None` at the stream's end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            match self.decoder.value() {
                Ok(Some(value)) => return Ok(Some(value)),
                Ok(None) => {}
                Err(source) => {
                    return Err(Error::Malformed {
                        path: self.path.clone(),
                        source,
                    });
                }
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.decoder.push(&data)?;
                    }
                }
                None if self.decoder.is_empty() => return Ok(None),
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the stream ended within a message",
                    )
                    .into());
                }
            }
        }
    }
}

pub(crate) struct Decoder<T> {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no whole value.
    scanned: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Default for Decoder<T> {
    fn default() -> Decoder<T> {
        Decoder {
            buffer: BytesMut::new(),
            scanned: 0,
            kind: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message of the daemon is longer than 16 MiB",
            ));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn skip_separators(&mut self) {
        let n = self
            .buffer
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x1e)
            .count();
        self.buffer.advance(n);
    }

    fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub fn value(&mut self) -> Result<Option<T>, serde_json::Error> {
        if self.scanned == 0 {
            self.skip_separators();
        }
        // A value's last byte is a bracket or a newline follows: without either in the new bytes there is
        // no use in trying again, which keeps long values from being parsed once per packet.
        let fresh = &self.buffer[self.scanned..];
        if !fresh.iter().any(|byte| matches!(byte, b'}' | b']' | b'\n')) {
            self.scanned = self.buffer.len();
            return Ok(None);
        }
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                let end = values.byte_offset();
                self.buffer.advance(end);
                self.scanned = 0;
                self.skip_separators();
                Ok(Some(value))
            }
            Some(Err(error)) if error.is_eof() => {
                self.scanned = self.buffer.len();
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn values_survive_every_cut(cuts in prop::collection::vec(1usize..9, 1..40)) {
            let text = "\u{1e}{\"a\":\"}\"}\r\n{\"b\":[1,2,\"\\\"]\"]}{\"c\":{}}\n\n[3]\n";
            let mut decoder = Decoder::<Value>::default();
            let mut seen = Vec::new();
            let mut rest = text.as_bytes();
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = later;
                decoder.push(now).unwrap();
                while let Some(value) = decoder.value().unwrap() {
                    seen.push(value);
                }
            }
            prop_assert!(decoder.is_empty());
            prop_assert_eq!(
                seen,
                vec![json!({"a":"}"}), json!({"b":[1,2,"\"]"]}), json!({"c":{}}), json!([3])]
            );
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let mut decoder = Decoder::<Value>::default();
        decoder.push(b"<html>\n").unwrap();
        assert!(decoder.value().is_err());
        assert!(decoder.push(&vec![b'['; LIMIT]).is_err());
    }
}
