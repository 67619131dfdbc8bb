//! Compression of layers: gzip of one or several members, zstd of one or several frames, or none.

use std::io::{self, BufRead, Read};

use dhow_oci::media_type;
use flate2::bufread::MultiGzDecoder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Tells it by how the stream begins, as every engine does: media types are not always right.
    pub fn detect(front: &[u8]) -> Compression {
        if front.starts_with(&[0x1f, 0x8b]) {
            Compression::Gzip
        } else if front.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_frame(front) {
            Compression::Zstd
        } else {
            Compression::None
        }
    }

    /// What an OCI manifest calls a layer that is compressed so.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        }
    }
}

/// Zstd streams may begin with one (RFC 8878, 3.1.2).
fn is_skippable_frame(front: &[u8]) -> bool {
    matches!(front, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Reads a stream as it was before compression.
pub(crate) enum Decoder<R: BufRead> {
    None(R),
    Gzip(Box<MultiGzDecoder<R>>),
    /// Refuses windows above 128 MiB, which bounds its memory.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
}

impl<R: BufRead> Decoder<R> {
    pub fn new(compression: Compression, reader: R) -> io::Result<Decoder<R>> {
        Ok(match compression {
            Compression::None => Decoder::None(reader),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Compression::Zstd => {
                Decoder::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
            }
        })
    }

    pub fn get_ref(&self) -> &R {
        match self {
            Decoder::None(r) => r,
            Decoder::Gzip(d) => d.get_ref(),
            Decoder::Zstd(d) => d.get_ref(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::None(r) => r.read(buffer),
            Decoder::Gzip(d) => d.read(buffer),
            Decoder::Zstd(d) => d.read(buffer),
        }
    }
}
