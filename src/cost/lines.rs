//! A file of JSON lines that is read and replaced as a whole: a few thousand lines at most, of one writer.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write as _},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// The lines of a text. Those that make no sense are left out: they are of a later version, or torn.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> impl Iterator<Item = T> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// What was kept. A file that is not there is empty.
pub(super) fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(err) => Err(err),
    }
}

/// Replaces the file as a whole: whoever reads it finds the old lines or the new ones.
pub(super) fn replace(path: &Path, lines: impl Iterator<Item: Serialize>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut out = BufWriter::new(File::create(&new)?);
    for line in lines {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(new, path)
}
