//! Sparse files in PAX archives, in the three versions that GNU tar writes (its manual, "Storing Sparse
//! Files"): the map is in the extended header, or in version 1.0 at the front of the contents. The older
//! GNU format is the tar library's.

use std::fs::File;
use std::io::Read;

use crate::copy;
use crate::error::{ArchiveError, Result};
use crate::pax::{self, Records};

const BLOCK: usize = 512;
/// More segments than any file system makes of a file that fits a layer.
const SEGMENTS_MAX: u64 = 1 << 20;

/// Where the segments of the contents go.
#[derive(Debug)]
pub(crate) struct Map {
    /// Bytes of the file, holes included.
    pub real_size: u64,
    /// Offset and length, in order.
    segments: Vec<(u64, u64)>,
}

impl Map {
    /// The map of a sparse entry, `None` for any other. May read the front of the contents.
    pub fn from_records(records: &Records, contents: &mut impl Read) -> Result<Option<Map>> {
        let major = records.number("GNU.sparse.major")?;
        let real_size = match records.number("GNU.sparse.realsize")? {
            Some(size) => Some(size),
            None => records.number("GNU.sparse.size")?,
        };
        let Some(real_size) = real_size else {
            return Ok(None);
        };
        let numbers = match (major, records.get("GNU.sparse.map")) {
            (Some(1), _) => read_front(contents)?,
            (_, Some([])) => Vec::new(),
            (_, Some(map)) => map
                .split(|b| *b == b',')
                .map(pax::decimal)
                .collect::<Option<_>>()
                .ok_or_else(malformed)?,
            (_, None) => records
                .iter()
                .filter(|(k, _)| matches!(*k, b"GNU.sparse.offset" | b"GNU.sparse.numbytes"))
                .map(|(_, v)| pax::decimal(v))
                .collect::<Option<_>>()
                .ok_or_else(malformed)?,
        };
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(malformed());
        }
        let mut end = 0;
        let mut segments = Vec::with_capacity(pairs.len());
        for &[offset, length] in pairs {
            let next = offset.checked_add(length).ok_or_else(malformed)?;
            if offset < end || next > real_size {
                return Err(malformed());
            }
            end = next;
            segments.push((offset, length));
        }
        Ok(Some(Map {
            real_size,
            segments,
        }))
    }

    pub fn write(&self, contents: &mut impl Read, file: &File, buffer: &mut [u8]) -> Result<()> {
        for (offset, length) in &self.segments {
            copy::exactly(contents, file, *offset, *length, buffer).map_err(ArchiveError::Copy)?;
        }
        file.set_len(self.real_size).map_err(ArchiveError::Copy)
    }
}

/// Version 1.0: the number of segments and then each one's offset and length, a decimal number a line,
/// filled up to a whole block.
fn read_front(contents: &mut impl Read) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut expected = None;
    let mut line = Vec::new();
    loop {
        let mut block = [0; BLOCK];
        contents.read_exact(&mut block).map_err(|_| malformed())?;
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let number = pax::decimal(&line).ok_or_else(malformed)?;
            line.clear();
            match expected {
                None if number > SEGMENTS_MAX => return Err(malformed()),
                None => expected = Some(number as usize * 2),
                Some(_) => numbers.push(number),
            }
            if expected == Some(numbers.len()) {
                return Ok(numbers);
            }
        }
        if line.len() > 20 {
            return Err(malformed());
        }
    }
}

fn malformed() -> ArchiveError {
    ArchiveError::Malformed("the map of one of its sparse files is malformed".into())
}
