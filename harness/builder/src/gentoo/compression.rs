// SPDX-License-Identifier: Apache-2.0
use std::io::{self, BufRead, BufReader, Read};

/// The compression of the tar in a package, which is detected by its first bytes: an xpak package does not
/// name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// no compression
    None,
    /// bzip2, as Flatcar's packages are
    Bzip2,
    /// gzip
    Gzip,
    /// lz4 frames
    Lz4,
    /// lzip
    Lzip,
    /// xz
    Xz,
    /// zstd, Gentoo's default
    Zstd,
}

/// Limit of a decoder's memory in bytes.
const MAXIMUM_MEMORY: u64 = 1 << 30;
/// Binary logarithm of the largest zstd window; that of `zstd --ultra -22 --long` is 27.
const ZSTD_WINDOW: u32 = 27;

const MAGIC: [(&[u8], Compression); 6] = [
    (b"BZh", Compression::Bzip2),
    (&[0x1f, 0x8b], Compression::Gzip),
    (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
    (b"LZIP", Compression::Lzip),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

impl Compression {
    /// Detects the compression by the first bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let known = MAGIC.into_iter().find(|(magic, _)| bytes.starts_with(magic));
        known.map_or(Self::None, |(_, compression)| compression)
    }

    /// A decoder, for concatenated streams too, which parallel compressors such as lbzip2 write.
    ///
    /// # Errors
    /// The decoder cannot be initialised.
    pub fn decoder<'a>(self, reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let reader = BufReader::with_capacity(1 << 18, reader);
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(reader)),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            Self::Lz4 => Box::new(Lz4Frames::new(reader)),
            Self::Lzip => {
                let stream =
                    liblzma::stream::Stream::new_lzip_decoder(MAXIMUM_MEMORY, liblzma::stream::CONCATENATED)
                        .map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
            }
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    MAXIMUM_MEMORY,
                    liblzma::stream::CONCATENATED,
                )
                .map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(reader)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        })
    }
}

/// Decodes concatenated lz4 frames. The decoder of the crate stops after the first frame, and does not
/// detect a truncated one.
struct Lz4Frames<R: Read> {
    decoder: Option<lz4_flex::frame::FrameDecoder<EndDetector<R>>>,
}

/// A reader that remembers whether it was read beyond its end.
struct EndDetector<R> {
    reader: R,
    exhausted: bool,
}

impl<R: Read> Read for EndDetector<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.exhausted |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

impl<R: BufRead> Lz4Frames<R> {
    fn new(reader: R) -> Self {
        let reader = EndDetector { reader, exhausted: false };
        Self { decoder: Some(lz4_flex::frame::FrameDecoder::new(reader)) }
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let length = decoder.read(buffer).map_err(io::Error::other)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let Some(decoder) = self.decoder.take() else { break };
            let EndDetector { mut reader, exhausted } = decoder.into_inner();
            if exhausted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !reader.fill_buf()?.is_empty() {
                *self = Self::new(reader);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None | Compression::Lzip => bytes.to_vec(),
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).expect("compressed");
                encoder.finish().expect("compressed")
            }
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect("compressed");
                encoder.finish().expect("compressed")
            }
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).expect("compressed");
                encoder.finish().expect("compressed")
            }
            Compression::Xz => liblzma::encode_all(bytes, 1).expect("compressed"),
            Compression::Zstd => zstd::encode_all(bytes, 1).expect("compressed"),
        }
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut unpacked = Vec::new();
        Compression::of(bytes).decoder(bytes)?.take(1 << 20).read_to_end(&mut unpacked)?;
        Ok(unpacked)
    }

    const ALL: [Compression; 6] = [
        Compression::None,
        Compression::Bzip2,
        Compression::Gzip,
        Compression::Lz4,
        Compression::Xz,
        Compression::Zstd,
    ];

    #[test]
    fn concatenated_streams_are_decoded() {
        for compression in ALL {
            let bytes = [compress(compression, b"first "), compress(compression, b"second")].concat();
            assert_eq!(unpack(&bytes).expect("unpacked"), b"first second", "{compression:?}");
        }
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        for compression in &ALL[1..] {
            let bytes = compress(*compression, &[7; 5000]);
            assert!(unpack(&bytes[..bytes.len() - 3]).is_err(), "{compression:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in 0_usize..6, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = unpack(&[MAGIC[kind].0, &bytes].concat());
        }
    }
}
