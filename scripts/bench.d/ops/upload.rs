//! What WordPress does on its uploads directory when an editor uploads a picture: the system calls of one
//! `async-upload.php` with a JPEG of 1.8 MB, in their order.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use clap::Args;
use originfs::clock;
use serde_json::json;

use crate::{
    report::{Report, micros},
    whole::noise,
};

/// The picture in bytes.
const PICTURE: usize = 1_800_000;
/// The sizes that WordPress makes of it, in bytes.
const SIZES: [usize; 7] = [8_000, 15_000, 60_000, 90_000, 160_000, 330_000, 560_000];
/// PHP's streams write what GD gives them, which is this much at a time.
const GD_WRITE: usize = 4 << 10;
/// PHP's streams read so much at a time.
const PHP_READ: usize = 8 << 10;
/// How often the picture is opened to look at it: type, size, EXIF, IPTC, and again for each size.
const LOOKS: usize = 16;
/// Those looks that read all of it.
const WHOLE_LOOKS: usize = 2;

/// Uploads a picture as WordPress does.
#[derive(Args, Debug)]
pub(crate) struct Upload {
    /// The month's directory; it exists.
    dir: PathBuf,
    /// Of the picture, without an ending.
    name: String,
}

impl Upload {
    pub(crate) fn run(self) -> io::Result<Report> {
        let content = noise(PICTURE, 11);
        let start = clock::now();
        let picture = self.place(&content)?;
        look(&picture)?;
        for (n, &bytes) in SIZES.iter().enumerate() {
            self.write_size(n, &content[..bytes])?;
        }
        let wall = start.elapsed();
        Ok(json!({ "us": micros(wall), "seconds": wall.as_secs_f64(), "files": 1 + SIZES.len() }))
    }

    /// `wp_unique_filename`, `move_uploaded_file` from another file system, `chmod`.
    fn place(&self, content: &[u8]) -> io::Result<PathBuf> {
        let picture = self.dir.join(format!("{}.jpg", self.name));
        fs::metadata(&self.dir)?;
        must_be_absent(&picture)?;
        for entry in fs::read_dir(&self.dir)? {
            entry?;
        }
        must_be_absent(&picture)?;
        must_be_absent(&picture)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&picture)?;
        file.write_all(content)?;
        nix::unistd::close(file)?;
        fs::metadata(&self.dir)?;
        fs::set_permissions(&picture, Permissions::from_mode(0o644))?;
        Ok(picture)
    }

    fn write_size(&self, n: usize, content: &[u8]) -> io::Result<()> {
        let path = self.dir.join(format!("{}-{n}.jpg", self.name));
        fs::metadata(&self.dir)?;
        must_be_absent(&path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&path)?;
        file.metadata()?;
        content.chunks(GD_WRITE).try_for_each(|chunk| file.write_all(chunk))?;
        nix::unistd::close(file)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        let size = fs::metadata(&path)?.len();
        (size == content.len() as u64)
            .then_some(())
            .ok_or_else(|| io::Error::other("a size came back with another size"))
    }
}

fn look(picture: &Path) -> io::Result<()> {
    let (mut head, mut all) = (vec![0; PHP_READ], Vec::new());
    for n in 0..LOOKS {
        let mut file = File::open(picture)?;
        file.metadata()?;
        file.seek(SeekFrom::Start(0))?;
        if n < WHOLE_LOOKS {
            all.clear();
            file.read_to_end(&mut all)?;
        } else {
            file.read_exact(&mut head)?;
        }
        if n % 4 == 0 {
            fs::metadata(picture)?;
        }
    }
    (all.len() == PICTURE).then_some(()).ok_or_else(|| io::Error::other("the picture came back with another size"))
}

fn must_be_absent(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
        Ok(_) => Err(io::Error::other(format!("{} exists", path.display()))),
    }
}
