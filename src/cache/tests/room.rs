//! Limit, floor, eviction, and a disk that refuses.

use super::*;

#[tokio::test]
async fn the_limit_holds_at_every_moment() {
    let world = World::sized(3 * M, 0);
    for n in 0..12 {
        let (key, version, bytes) = world.put(&format!("{n}.jpg"), 700 * K);
        assert_eq!(world.read_object(&key, &version).await, bytes);
        let on_disk = world.scratch.files("content").0;
        assert!(on_disk <= 3 * M && world.cache.usage().bytes == on_disk);
    }
    assert_eq!(world.cache.usage().files, 4);
}

#[tokio::test]
async fn what_is_open_is_not_evicted() {
    let world = World::sized(2 * M, 0);
    let (key, version, bytes) = world.put("open.jpg", 700 * K);
    let content = world.cache.get(&key, &version);
    world.read(&content, 0..1).await.unwrap();
    for n in 0..8 {
        let (key, version, _) = world.put(&format!("{n}.jpg"), 700 * K);
        world.read_object(&key, &version).await;
    }
    assert!(world.cache.dir.content(&Id::new(&key, &version)).exists());
    world.gets();
    assert_eq!(world.read(&content, 0..700 * K).await.unwrap(), bytes);
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn an_upload_beyond_the_limit_is_served_to_those_who_have_it_open() {
    let world = World::sized(M, 0);
    let (key, version, bytes) = world.put("film.mp4", 2 * M);
    let staged = world.cache.staging_dir().join("1.data");
    fs::write(&staged, &bytes).unwrap();
    let content = world.cache.adopt(&key, &version, &staged);
    assert_eq!(world.read(&content, 0..2 * M).await.unwrap(), bytes);
    assert_eq!((world.gets(), world.cache.usage().bytes, world.scratch.files("content").1), (0, 0, 0));
    assert!(!staged.exists());
}

#[tokio::test]
async fn a_scan_leaves_what_is_used_again_and_again() {
    let world = World::sized(M, 0);
    let (key, version, _) = world.put("logo.png", 100 * K);
    world.read_object(&key, &version).await;
    world.read_object(&key, &version).await;
    for n in 0..40 {
        let (key, version, _) = world.put(&format!("backup/{n}"), 100 * K);
        world.read_object(&key, &version).await;
    }
    world.gets();
    world.read_object(&key, &version).await;
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn partial_contents_count_and_go_too() {
    let world = World::sized(3 * M, 0);
    for n in 0..6 {
        let (content, bytes) = world.object(&format!("{n}.mp4"), 5 * M);
        assert_eq!(world.read(&content, 4 * M..4 * M + 9).await.unwrap(), slice(&bytes, 4 * M..4 * M + 9));
        assert!(world.cache.usage().bytes <= 3 * M);
    }
    assert_eq!((world.cache.usage().files, world.scratch.files("parts").1), (3, 3));
}

#[tokio::test]
async fn an_object_beyond_the_limit_is_read_without_the_cache() {
    let world = World::sized(2 * M, 0);
    let (key, version, _) = world.put("logo.png", 100 * K);
    world.read_object(&key, &version).await;
    let (content, bytes) = world.object("film.mp4", 5 * M);
    for at in 0..5 {
        assert_eq!(world.read(&content, at * M..(at + 1) * M).await.unwrap(), slice(&bytes, at * M..(at + 1) * M));
        assert!(world.cache.usage().bytes <= 2 * M);
    }
    assert!(matches!(world.cache.complete(&content).await, Err(crate::error::Error::NoSpace)));
}

#[tokio::test]
async fn below_the_floor_nothing_is_written_and_everything_is_read() {
    let world = World::sized(1 << 40, u64::MAX);
    let (content, bytes) = world.object("a.jpg", 300 * K);
    assert_eq!(world.read(&content, 7..9999).await.unwrap(), slice(&bytes, 7..9999));
    assert_eq!((world.scratch.files("parts").1, world.scratch.files("content").1), (0, 0));
    assert!(!world.cache.make_room(1));
}

#[tokio::test]
async fn dirty_bytes_push_content_out_at_the_floor() {
    let world = World::sized(1 << 40, u64::MAX);
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    let staged = world.cache.staging_dir().join("1.data");
    fs::write(&staged, &bytes).unwrap();
    let content = world.cache.adopt(&key, &version, &staged);
    assert!(!world.cache.make_room(1) && world.scratch.files("content").1 == 1, "it is open");
    drop(content);
    assert!(!world.cache.make_room(1));
    assert_eq!((world.scratch.files("content").1, world.cache.usage().bytes), (0, 0));
}

#[tokio::test]
async fn with_room_dirty_bytes_are_welcome() {
    assert!(World::new().cache.make_room(M));
}

#[tokio::test]
async fn a_full_disk_is_no_error_for_a_reader() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    let full = fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    content.set_part(full, &world.scratch.0.join("parts/full"));
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
    assert_eq!(world.read(&content, K..2 * K).await.unwrap(), slice(&bytes, K..2 * K));
    assert_eq!(world.gets(), 3, "one that the disk refused, then one for each reader");
    assert_eq!(world.cache.usage().bytes, 0);
}

#[tokio::test]
async fn a_lost_directory_is_no_error_for_a_reader() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    let (film, film_bytes) = world.object("film.mp4", 3 * M);
    world.read(&film, 0..1).await.unwrap();
    fs::remove_dir_all(world.scratch.0.join("parts")).unwrap();
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
    assert_eq!(world.read(&film, 0..3 * M).await.unwrap(), film_bytes);
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_fetched_again() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    let content = world.cache.get(&key, &version);
    world.read(&content, 0..1).await.unwrap();
    let path = world.cache.dir.content(&Id::new(&key, &version));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
    assert!(!path.exists());
    let again = world.cache.get(&key, &version);
    assert_eq!(world.read(&again, 0..300 * K).await.unwrap(), bytes);
    assert!(again.file().is_some(), "the next open tries the disk again");
}
