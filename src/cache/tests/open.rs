//! Files that stay open after their last reader.

use std::sync::Weak;

use super::{super::space::RECENT_MAX, *};

impl World {
    /// Reads it until its file is one that stays open.
    async fn read_often(&self, key: &Key, version: &Version) -> Weak<File> {
        for _ in 0..2 {
            self.read_object(key, version).await;
        }
        let content = self.cache.get(key, version);
        Arc::downgrade(&content.file().unwrap())
    }
}

#[tokio::test]
async fn what_was_read_stays_open_until_others_were() {
    let world = World::new();
    let (key, version, bytes) = world.put("a.jpg", K);
    let file = world.read_often(&key, &version).await;
    let again = world.cache.get(&key, &version).file().unwrap();
    assert!(Arc::ptr_eq(&again, &file.upgrade().unwrap()));
    drop(again);
    for n in 1..RECENT_MAX {
        let (key, version, _) = world.put(&format!("{n}"), 1);
        assert!(world.read_often(&key, &version).await.upgrade().is_some());
    }
    assert!(file.upgrade().is_some());
    let (last, of_last, _) = world.put("last", 1);
    world.read_often(&last, &of_last).await;
    assert!(file.upgrade().is_none(), "one too many");
    world.gets();
    assert_eq!(world.read_object(&key, &version).await, bytes);
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn being_open_keeps_nothing_from_eviction() {
    let world = World::sized(3 * M, 0);
    let mut first = None;
    for n in 0..12 {
        let (key, version, _) = world.put(&format!("{n}.jpg"), 700 * K);
        let file = world.read_often(&key, &version).await;
        first.get_or_insert(file);
        let on_disk = world.scratch.files("content").0;
        assert!(on_disk <= 3 * M && world.cache.usage().bytes == on_disk);
    }
    assert!(first.unwrap().upgrade().is_none(), "its space is free");
}

#[tokio::test]
async fn what_is_distrusted_or_dropped_is_not_read_again() {
    let world = World::new();
    for drops in [false, true] {
        let (key, version, bytes) = world.put("a.jpg", 10 * K);
        let file = world.read_often(&key, &version).await;
        if drops {
            assert_eq!(world.cache.drop_unused(&key, &version), Dropped::Gone);
        } else {
            world.cache.distrust(&key, &version);
        }
        assert!(file.upgrade().is_none());
        world.gets();
        assert_eq!(world.read_object(&key, &version).await, bytes);
        assert_eq!(world.gets(), 1);
    }
}

#[tokio::test]
async fn a_rename_keeps_it_open_and_in_order() {
    let world = World::new();
    let (from, version, bytes) = world.put("from", K);
    let file = world.read_often(&from, &version).await;
    let to = Key::new("to");
    world.cache.moved((&from, &version), (&to, &version));
    let open = world.cache.get(&to, &version);
    assert!(Arc::ptr_eq(&open.file().unwrap(), &file.upgrade().unwrap()));
    assert_eq!(world.read(&open, 0..K).await.unwrap(), bytes);
    drop(open);
    // Moved to and fro, as uploads are, it counts once.
    for _ in 0..RECENT_MAX {
        world.cache.moved((&to, &version), (&from, &version));
        world.cache.moved((&from, &version), (&to, &version));
    }
    assert!(file.upgrade().is_some());
    assert_eq!(world.cache.space.ledger().recent.len(), 1);
    for n in 0..RECENT_MAX {
        let (key, version, _) = world.put(&format!("{n}"), 1);
        world.read_often(&key, &version).await;
    }
    assert!(file.upgrade().is_none());
}
