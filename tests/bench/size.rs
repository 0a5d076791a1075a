//! How large the binary is.

use crate::row::Row;
use crate::tools::Tools;

/// The file, stripped as it is installed.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let size = std::fs::metadata(tools.bryo_path())
        .map(|metadata| f64::from(u32::try_from(metadata.len()).unwrap_or(u32::MAX)) / 1e6)
        .map_err(|e| e.to_string());
    vec![Row::single("size: the binary, stripped", "MB", size, 6.0)]
}
