//! What outlives the process, and what must not.

use super::*;

#[tokio::test]
async fn a_complete_content_survives_a_restart() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    world.read_object(&key, &version).await;
    let world = world.restart(|_| {}).await;
    world.gets();
    assert_eq!(world.read_object(&key, &version).await, bytes, "found before or after it is indexed");
    assert_eq!(world.gets(), 0);
    eventually("one is counted", || world.cache.usage().files == 1).await;
    assert_eq!(world.cache.usage().bytes, 300 * K);
}

#[tokio::test]
async fn the_index_is_rebuilt_in_the_background() {
    let world = World::new();
    for n in 0..20 {
        let (key, version, _) = world.put(&format!("{n}.jpg"), K + n);
        world.read_object(&key, &version).await;
    }
    let before = world.cache.usage();
    let world = world.restart(|dir| fs::write(dir.join("content/junk"), "?").unwrap()).await;
    eventually("all are counted", || world.cache.usage().files == 20).await;
    assert_eq!(world.cache.usage().bytes, before.bytes);
    assert_eq!(world.scratch.files("content").0, before.bytes + 1, "what is not ours stays as it is");
}

#[tokio::test]
async fn a_partial_content_does_not_survive() {
    let world = World::new();
    let (key, version, bytes) = world.put("film.mp4", 3 * M);
    let content = world.cache.get(&key, &version);
    world.read(&content, M..M + 1).await.unwrap();
    drop(content);
    assert_eq!(world.scratch.files("parts").1, 1, "kept for the next who opens it");
    let again = world.cache.get(&key, &version);
    world.gets();
    assert_eq!(world.read(&again, M..2 * M).await.unwrap(), slice(&bytes, M..2 * M));
    assert_eq!(world.gets(), 0);
    drop(again);
    let world = world.restart(|dir| fs::write(dir.join("parts/99"), "from a crash").unwrap()).await;
    assert_eq!(world.scratch.files("parts").1, 0);
    eventually("the trash is empty", || world.scratch.files("trash").1 == 0).await;
    assert_eq!(world.read_object(&key, &version).await, bytes);
}

#[tokio::test]
async fn a_file_of_the_wrong_size_is_not_believed() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    world.read_object(&key, &version).await;
    let path = world.cache.dir.content(&Id::new(&key, &version));
    let world = world.restart(|_| fs::write(path, "short").unwrap()).await;
    assert_eq!(world.read_object(&key, &version).await, bytes);
}

#[tokio::test]
async fn a_second_mount_is_refused() {
    let world = World::new();
    let second = open(&world.scratch, &world.bucket, M, 0);
    assert!(matches!(second, Err(OpenError::Locked(dir)) if dir == world.scratch.0));
}

#[tokio::test]
async fn an_impossible_directory_is_an_error_that_names_it() {
    let world = World::new();
    let file = Scratch(world.scratch.0.join("lock"));
    let err = open(&file, &world.bucket, M, 0).unwrap_err();
    assert!(matches!(&err, OpenError::Io(..)) && err.to_string().contains("lock"), "{err}");
    std::mem::forget(file);
}

/// Makes the directory that of a machine which booted since.
fn reboot(dir: &Path) {
    let state = fs::read_to_string(dir.join("state")).unwrap();
    let (_, mark) = state.split_once('\n').unwrap();
    fs::write(dir.join("state"), format!("another-boot\n{mark}")).unwrap();
}

#[tokio::test]
async fn after_a_power_loss_the_content_is_dropped() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    world.read_object(&key, &version).await;
    let world = world.restart(reboot).await;
    world.gets();
    assert_eq!(world.scratch.files("content").1, 0);
    assert_eq!(world.read_object(&key, &version).await, bytes);
    assert_eq!(world.gets(), 1);
}

#[tokio::test]
async fn after_an_orderly_end_the_content_outlives_a_reboot() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    world.read_object(&key, &version).await;
    let scratch = world.scratch.0.clone();
    world.cache.close();
    // `restart` itself opens the directory once, which ends the clean state: look at the mark as it is now.
    let state = fs::read_to_string(scratch.join("state")).unwrap();
    let world = world
        .restart(|dir| {
            fs::write(dir.join("state"), state).unwrap();
            reboot(dir);
        })
        .await;
    world.gets();
    assert_eq!(world.read_object(&key, &version).await, bytes);
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn staging_of_a_crash_is_kept_in_pairs() {
    let world = World::new();
    let (staging, lost) = (world.cache.staging_dir().to_owned(), world.cache.lost_dir().to_owned());
    let world = world
        .restart(|_| {
            fs::write(lost.join("7.data"), "older").unwrap();
            fs::write(staging.join("7.data"), "work").unwrap();
            fs::write(staging.join("7.meta"), "journal").unwrap();
            fs::write(staging.join("8.data"), "more").unwrap();
        })
        .await;
    let kept = |name: &str| fs::read_to_string(lost.join(name)).unwrap();
    assert_eq!(kept("7.data"), "older");
    assert_eq!((kept("7-1.data"), kept("7-1.meta"), kept("8.data")), ("work".into(), "journal".into(), "more".into()));
    assert_eq!(world.scratch.files("staging").1, 0);
}

#[tokio::test]
async fn what_was_written_here_is_never_downloaded() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    let staged = world.cache.staging_dir().join("1.data");
    fs::write(&staged, &bytes).unwrap();
    let content = world.cache.adopt(&key, &version, &staged);
    assert!(!staged.exists() && world.cache.file(&content).is_some());
    let (small, small_version, small_bytes) = world.put("b.txt", 10);
    drop(world.cache.adopt_bytes(&small, &small_version, &small_bytes));
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
    assert_eq!(world.read_object(&small, &small_version).await, small_bytes);
    assert_eq!((world.gets(), world.cache.usage().bytes), (0, 300 * K + 10));
}

#[tokio::test]
async fn adopting_ends_the_wait_of_readers() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    let content = world.cache.get(&key, &version);
    let mut held = world.bucket.hold(Op::Get, crate::store::faulty::Side::Before);
    let reader = tokio::spawn({
        let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
        async move { cache.read(&content, 0..300 * K, &Readahead::default()).await }
    });
    held.wait_arrived().await;
    world.cache.adopt_bytes(&key, &version, &bytes);
    assert_eq!(reader.await.unwrap().unwrap(), bytes);
    held.release();
    drop(content);
    eventually("it is kept", || world.cache.get(&key, &version).file().is_some()).await;
    assert_eq!(world.cache.usage().bytes, 300 * K);
}

#[tokio::test]
async fn staging_of_another_size_is_not_adopted() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    let staged = world.cache.staging_dir().join("1.data");
    fs::write(&staged, "torn").unwrap();
    let content = world.cache.adopt(&key, &version, &staged);
    assert!(staged.exists() && world.cache.usage().bytes == 0);
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_rename_takes_the_local_bytes_along() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", 300 * K);
    world.read_object(&key, &version).await;
    let new = world.bucket.inner().put_foreign("b.jpg", bytes.clone(), Headers::default());
    world.cache.moved((&key, &version), (&Key::new("b.jpg"), &new));
    world.gets();
    assert_eq!(world.read_object(&Key::new("b.jpg"), &new).await, bytes);
    assert_eq!((world.gets(), world.scratch.files("content").1), (0, 1));
    assert_eq!(world.cache.usage().bytes, 300 * K);
}
