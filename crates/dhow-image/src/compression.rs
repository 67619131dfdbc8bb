//! Compression of archives and layers: gzip of one or several members, zstd of one or several frames, xz of one
//! or several streams, bzip2 of one or several streams, or none. It is told by how a stream begins, as every
//! engine does: neither media types nor file names are always right.
//!
//! No decoder takes more memory than a bound of its own, whatever its stream asks for.

use std::io::{self, BufRead, Chain, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use dhow_oci::media_type;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use self::gzip::Members;

mod gzip;

/// What is looked at of a stream's beginning, in bytes.
const FRONT: usize = 6;
/// For a dictionary of 128 MiB, twice what `xz -9` uses, and the decoder's own.
const XZ_MEMORY: u64 = 130 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    /// Tells it by the first bytes of a stream, of which there should be six.
    pub fn detect(front: &[u8]) -> Compression {
        match front {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // Zstd streams may begin with a skippable frame (RFC 8878, 3.1.2).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Compression::Xz,
            // The level, and how a block or the stream's end begins: an archive's first file may be called "BZh".
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Compression::Bzip2,
            _ => Compression::None,
        }
    }

    /// Whether an image's layer may be compressed so (OCI layer.md): other engines take no others.
    pub fn is_for_layers(self) -> bool {
        match self {
            Compression::None | Compression::Gzip | Compression::Zstd => true,
            Compression::Xz | Compression::Bzip2 => false,
        }
    }

    /// What an OCI manifest calls a layer that is compressed so.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
            // There are no names for the two others.
            Compression::None | Compression::Xz | Compression::Bzip2 => media_type::OCI_LAYER,
        }
    }
}

/// The beginning of a stream, which was looked at, and the rest.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads a stream as it was before compression.
pub struct Decoder<R: BufRead> {
    compression: Compression,
    kind: Kind<Whole<R>>,
}

enum Kind<R: BufRead> {
    None(R),
    Gzip(Box<Members<R>>),
    /// Refuses windows above 128 MiB.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    Xz(Box<XzDecoder<R>>),
    Bzip2(Box<MultiBzDecoder<R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `reader`, which may come one by one.
    pub fn new(mut reader: R) -> io::Result<Decoder<R>> {
        let mut front = Vec::with_capacity(FRONT);
        reader.by_ref().take(FRONT as u64).read_to_end(&mut front)?;
        let compression = Compression::detect(&front);
        let whole = Cursor::new(front).chain(reader);
        let kind = match compression {
            Compression::None => Kind::None(whole),
            Compression::Gzip => Kind::Gzip(Box::new(Members::new(whole))),
            Compression::Zstd => {
                Kind::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(whole)?))
            }
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
                Kind::Xz(Box::new(XzDecoder::new_stream(whole, stream)))
            }
            Compression::Bzip2 => Kind::Bzip2(Box::new(MultiBzDecoder::new(whole))),
        };
        Ok(Decoder { compression, kind })
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::None(r) => r.read(buffer),
            Kind::Gzip(d) => d.read(buffer),
            Kind::Zstd(d) => d.read(buffer),
            Kind::Xz(d) => d.read(buffer),
            Kind::Bzip2(d) => d.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    /// Gives one byte at a time.
    fn slow(bytes: Vec<u8>) -> impl BufRead {
        BufReader::with_capacity(1, Cursor::new(bytes))
    }

    fn decoded(bytes: Vec<u8>) -> io::Result<(Compression, Vec<u8>)> {
        let mut decoder = Decoder::new(slow(bytes))?;
        let mut all = Vec::new();
        decoder.read_to_end(&mut all)?;
        Ok((decoder.compression(), all))
    }

    pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_is_told_and_read_with_several_members() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let plain = |bytes: &[u8]| bytes.to_vec();
        type Encoder<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
        let kinds: [(Compression, Encoder); 5] = [
            (Compression::None, &plain),
            (Compression::Gzip, &gzip),
            (Compression::Zstd, &zstd),
            (Compression::Xz, &xz),
            (Compression::Bzip2, &bzip2),
        ];
        for (kind, encode) in kinds {
            let twice = [encode(b"one "), encode(b"two")].concat();
            assert_eq!(decoded(twice).unwrap(), (kind, b"one two".to_vec()));
            if kind == Compression::None {
                continue;
            }
            let mut cut = encode(&[7; 100_000]);
            cut.truncate(cut.len() - 5);
            assert!(decoded(cut).is_err(), "{kind:?} cut off");
            // An empty one is one, too.
            assert_eq!(decoded(encode(b"")).unwrap(), (kind, Vec::new()));
        }
        assert_eq!(decoded(Vec::new()).unwrap().0, Compression::None);
        for name in [&b"BZh9-notes/"[..], b"BZ", b"\x1f", b"\xfd7zXZ"] {
            assert_eq!(
                decoded(name.to_vec()).unwrap(),
                (Compression::None, name.to_vec())
            );
        }
    }

    #[test]
    fn a_dictionary_beyond_the_bound_is_refused() {
        let of = |size: u32| {
            let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
            options.dict_size(size);
            let mut filters = liblzma::stream::Filters::new();
            filters.lzma2(&options);
            let check = liblzma::stream::Check::Crc32;
            let stream = Stream::new_stream_encoder(&filters, check).unwrap();
            let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            encoder.write_all(b"small").unwrap();
            decoded(encoder.finish().unwrap())
        };
        assert_eq!(of(64 << 20).unwrap().1, b"small");
        let refused = of(512 << 20).unwrap_err();
        assert!(refused.to_string().contains("memory"), "{refused}");
    }
}
