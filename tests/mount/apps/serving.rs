//! Web servers, as the system calls they make for one picture.

use std::{
    fs::{self, File},
    io::Read as _,
};

use crate::harness::{Bucket, Mount, noise};

const PICTURE: &str = "thumbnail.jpg";

/// nginx: open, and size and time of what was opened. Gives what would be Content-Length, and the body.
fn opens_first(at: &Mount) -> (u64, Vec<u8>) {
    let mut file = File::open(at.path(PICTURE)).unwrap();
    let size = file.metadata().unwrap().len();
    let mut body = Vec::new();
    file.read_to_end(&mut body).unwrap();
    (size, body)
}

/// Apache and lighttpd: size and time of the name, and then the open.
fn looks_first(at: &Mount) -> (u64, Vec<u8>) {
    let size = fs::metadata(at.path(PICTURE)).unwrap().len();
    (size, at.read(PICTURE))
}

/// A picture that is asked for all the time is made anew again and again under its name, in another size.
#[track_caller]
fn serves_whole_pictures(options: &str, serve: fn(&Mount) -> (u64, Vec<u8>)) {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = (bucket.mount_with(options), bucket.mount_with(options));
    for n in 0..20 {
        let picture = noise(3000 + 500 * (n * 7 % 5), n as u64);
        a.write(PICTURE, &picture);
        let (size, body) = serve(&b);
        assert!(body == picture, "not the picture of round {n}");
        assert_eq!(size, body.len() as u64, "round {n}: the length of another version");
    }
}

#[test]
fn a_server_that_opens_first_is_right_by_default() {
    serves_whole_pictures("", opens_first);
}

#[test]
fn a_server_that_looks_first_is_right_with_strict() {
    serves_whole_pictures("freshness=strict", looks_first);
}
