//! Tar archives of a fuzzer's bytes: nearly every change of a header would make its checksum wrong, and nearly
//! every change of a blob its name, so that nothing beyond those checks were ever tried.

use dhow_oci::Digest;

const BLOCK: usize = 512;
/// Where a header has its checksum, and the size of what follows it (POSIX ustar).
const CHECKSUM: std::ops::Range<usize> = 148..156;
const SIZE: std::ops::Range<usize> = 124..136;

/// The same with every header's checksum right.
pub fn mended(data: &[u8]) -> Vec<u8> {
    let mut archive = data.to_vec();
    archive.resize(data.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while at < archive.len() {
        let header = &mut archive[at..at + BLOCK];
        at += BLOCK;
        if header.iter().all(|byte| *byte == 0) {
            continue;
        }
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[SIZE]).unwrap_or_default();
        let size = size.trim_matches(['\0', ' ']);
        let size = usize::from_str_radix(size, 8).unwrap_or(0);
        at = at.saturating_add(size.next_multiple_of(BLOCK).min(archive.len()));
    }
    archive
}

/// What separates the files of an archive that is made of them.
const NEXT: u8 = 0xfe;

/// An archive as `save` makes it of files, each with a front byte that says which it is. `$1` in one stands for the
/// hexadecimal digest of the second before it.
pub fn assembled(data: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut digests: Vec<String> = Vec::new();
    for file in data.split(|byte| *byte == NEXT) {
        let (which, content) = match file.split_first() {
            Some((which, content)) => (*which, content),
            None => continue,
        };
        let content = match which {
            b'L' => mended(content),
            _ => replaced(content, &digests),
        };
        let digest = Digest::sha256(&content).hex().to_owned();
        let name = match which {
            b'm' => "manifest.json".to_owned(),
            b'i' => "index.json".to_owned(),
            b'o' => "oci-layout".to_owned(),
            b'r' => "repositories".to_owned(),
            b'c' => format!("{digest}.json"),
            b'l' => format!("{digest}/layer.tar"),
            _ => format!("blobs/sha256/{digest}"),
        };
        digests.push(digest);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let added = builder.append_data(&mut header, name, &content[..]);
        added.expect("memory can be written");
    }
    builder.into_inner().expect("memory can be written")
}

fn replaced(content: &[u8], digests: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut bytes = content.iter().peekable();
    while let Some(byte) = bytes.next() {
        let before = bytes
            .peek()
            .filter(|digit| *byte == b'$' && digit.is_ascii_digit())
            .map(|digit| usize::from(**digit - b'0'));
        let digest = before.and_then(|before| digests.iter().rev().nth(before));
        match digest {
            Some(digest) => {
                bytes.next();
                out.extend_from_slice(digest.as_bytes());
            }
            None => out.push(*byte),
        }
    }
    out
}
