//! What this crate reads of a daemon's and shows nobody, as functions of bytes: for the fuzz targets.

use serde_json::Value;

use crate::json_stream::Decoder;

/// The messages of a stream that comes in pieces.
pub fn messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Value>, String> {
    let mut decoder = Decoder::default();
    let mut all = Vec::new();
    for piece in pieces {
        decoder.push(piece).map_err(|e| e.to_string())?;
        while let Some(value) = decoder.value().map_err(|e| e.to_string())? {
            all.push(value);
        }
    }
    Ok(all)
}
