//! What was just written, before it is on the disk.

use super::*;

impl World {
    fn on_disk(&self) -> usize {
        self.scratch.files("content").1
    }

    fn write(&self, key: &str, len: u64) -> (Key, Version, Bytes) {
        let (key, version, bytes) = self.put(key, len);
        drop(self.cache.adopt_bytes(&key, &version, &bytes));
        (key, version, bytes)
    }
}

#[expect(clippy::await_holding_lock, reason = "only the thread that writes waits for it")]
#[tokio::test]
async fn nobody_waits_for_the_disk_and_everybody_has_the_bytes() {
    let world = World::new();
    let busy = world.cache.shelf.stop();
    let (key, version, bytes) = world.write("a.jpg", 300 * K);
    assert_eq!((world.on_disk(), world.cache.usage().bytes), (0, 300 * K));
    assert_eq!(world.read_object(&key, &version).await, bytes);
    let content = world.cache.get(&key, &version);
    assert_eq!(world.read(&content, 5..7).await.unwrap(), bytes.slice(5..7));
    assert_eq!(world.on_disk(), 0);
    // Who needs the file does not wait for its turn.
    assert!(world.cache.has(&key, &version));
    assert_eq!((world.on_disk(), content.file().unwrap().metadata().unwrap().len()), (1, 300 * K));
    drop((busy, content));
    world.cache.close();
    assert_eq!(world.read_object(&key, &version).await, bytes);
    assert_eq!((world.gets(), world.on_disk(), world.cache.usage().bytes), (0, 1, 300 * K));
}

#[tokio::test]
async fn it_comes_to_the_disk_by_itself_and_may_be_dropped_then() {
    let world = World::new();
    let (key, version, _) = world.write("a.jpg", K);
    eventually("one is on the disk", || world.on_disk() == 1).await;
    assert_eq!(world.cache.drop_unused(&key, &version), Dropped::Gone);
    assert_eq!((world.on_disk(), world.cache.usage().bytes), (0, 0));
}

#[tokio::test]
async fn the_end_of_the_mount_waits_for_all() {
    let world = World::new();
    for n in 0..200 {
        world.write(&format!("{n}.jpg"), 10 * K);
    }
    world.cache.close();
    assert_eq!(world.on_disk(), 200);
}

#[tokio::test]
async fn what_is_renamed_meanwhile_lands_under_its_new_name() {
    let world = World::new();
    let busy = world.cache.shelf.stop();
    let (key, version, bytes) = world.write("a.tmp", 300 * K);
    let new = world.bucket.inner().put_foreign("a.jpg", bytes.clone(), Headers::default());
    let to = Key::new("a.jpg");
    world.cache.moved((&key, &version), (&to, &new));
    drop(busy);
    world.cache.close();
    assert!(world.cache.has(&to, &new) && !world.cache.has(&key, &version));
    assert_eq!(world.read_object(&to, &new).await, bytes);
    assert_eq!((world.gets(), world.on_disk(), world.cache.usage().bytes), (0, 1, 300 * K));
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = World::new();
    let _busy = world.cache.shelf.stop();
    for n in 0..20 {
        world.write(&format!("{n}.jpg"), M);
    }
    assert_eq!(world.on_disk(), 4, "16 MiB wait");
}

#[tokio::test]
async fn a_broken_disk_costs_a_download_and_no_error() {
    let world = World::new();
    let busy = world.cache.shelf.stop();
    let (key, version, bytes) = world.write("a.jpg", 300 * K);
    let parts = world.scratch.0.join("parts");
    fs::remove_dir_all(&parts).unwrap();
    drop(busy);
    world.cache.close();
    fs::create_dir(&parts).unwrap();
    assert_eq!(world.cache.usage().bytes, 0);
    assert_eq!(world.read_object(&key, &version).await, bytes);
    assert_eq!(world.gets(), 1);
}

#[tokio::test]
async fn what_waits_counts_as_written() {
    let world = World::sized(3 * M, 0);
    let _busy = world.cache.shelf.stop();
    for n in 0..5 {
        world.write(&format!("{n}.jpg"), M);
        assert!(world.cache.usage().bytes <= 3 * M);
    }
}
