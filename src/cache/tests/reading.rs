//! Who gets which bytes, with how many requests.

use super::*;
use crate::{
    error::Error,
    store::{Body, Copy, Require, faulty::Side},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_share_one_get() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    let mut held = world.bucket.hold(Op::Get, Side::Before);
    let readers: Vec<_> = (0..200)
        .map(|n| {
            let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
            let range = n * K..(n + 100) * K;
            tokio::spawn(async move { (range.clone(), cache.read(&content, range, &Readahead::default()).await) })
        })
        .collect();
    held.wait_arrived().await;
    held.release();
    for reader in readers {
        let (range, got) = reader.await.unwrap();
        assert_eq!(got.unwrap(), slice(&bytes, range));
    }
    assert_eq!(world.gets(), 1);
}

#[tokio::test]
async fn readers_get_bytes_while_the_body_is_running() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    let (send, chunks) = mpsc::channel(1);
    world.cache.fill(&content, Body::new(Fed(chunks), 300 * K));
    let rest = tokio::spawn({
        let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
        async move { cache.read(&content, 64 * K..300 * K, &Readahead::default()).await }
    });
    send.send(Ok(slice(&bytes, 0..64 * K))).await.unwrap();
    assert_eq!(world.read(&content, 0..64 * K).await.unwrap(), slice(&bytes, 0..64 * K));
    let ahead = Readahead::default();
    assert_eq!(world.cache.try_read(&content, 10..20, &ahead).unwrap(), slice(&bytes, 10..20));
    assert!(world.cache.try_read(&content, 10..300 * K, &ahead).is_none());
    assert!(!rest.is_finished() && world.cache.file(&content).is_none());
    send.send(Ok(slice(&bytes, 64 * K..300 * K))).await.unwrap();
    assert_eq!(rest.await.unwrap().unwrap(), slice(&bytes, 64 * K..300 * K));
    assert!(world.cache.file(&content).is_some());
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn what_arrived_is_there_soon_though_nobody_waits_for_it() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    let (send, chunks) = mpsc::channel(1);
    world.cache.fill(&content, Body::new(Fed(chunks), 300 * K));
    send.send(Ok(slice(&bytes, 0..64 * K))).await.unwrap();
    let ahead = Readahead::default();
    eventually("they are there", || {
        world.cache.try_read(&content, 0..64 * K, &ahead) == Some(slice(&bytes, 0..64 * K))
    })
    .await;
    assert!(world.cache.file(&content).is_none());
}

#[tokio::test]
async fn a_body_that_panics_fails_its_readers_and_nobody_else() {
    struct Bomb;
    impl Chunks for Bomb {
        fn poll_chunk(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
            panic!("a bug in a store")
        }
    }
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    world.cache.fill(&content, Body::new(Bomb, 300 * K));
    assert!(matches!(world.read(&content, 0..K).await, Err(Error::Unavailable(_))));
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
    assert_eq!(world.cache.usage().bytes, 300 * K, "what the lost fetch had reserved was given back");
}

#[tokio::test]
async fn a_reader_who_leaves_takes_nothing_from_others() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    let mut held = world.bucket.hold(Op::Get, Side::After);
    let start = || {
        let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
        tokio::spawn(async move { cache.read(&content, 0..300 * K, &Readahead::default()).await })
    };
    let leaver = start();
    held.wait_arrived().await;
    let stayer = start();
    leaver.abort();
    assert!(leaver.await.unwrap_err().is_cancelled());
    held.release();
    assert_eq!(stayer.await.unwrap().unwrap(), bytes);
    assert_eq!(world.gets(), 1);
}

#[tokio::test]
async fn a_cut_body_is_continued() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    world.bucket.cut(1, 100 * K);
    world.bucket.cut(2, 10);
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
    assert_eq!(world.gets(), 3);
}

#[tokio::test]
async fn cuts_without_end_are_an_error_until_the_next_read() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    (1..=4).for_each(|n| world.bucket.cut(n, 10 * K));
    assert!(matches!(world.read(&content, 0..300 * K).await, Err(Error::Unavailable(_))));
    assert_eq!(world.gets(), 4);
    assert_eq!(world.read(&content, 0..40 * K).await.unwrap(), slice(&bytes, 0..40 * K), "what came is here");
    assert_eq!(world.gets(), 0);
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
}

#[tokio::test]
async fn errors_reach_the_reader_as_they_are_and_do_not_stay() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 300 * K);
    world.bucket.outage(Some(Error::Denied));
    assert!(matches!(world.read(&content, 0..K).await, Err(Error::Denied)));
    world.bucket.outage(None);
    assert_eq!(world.read(&content, 0..300 * K).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_version_that_is_gone_is_stale_but_for_what_is_here() {
    let world = World::new();
    let (content, bytes) = world.object("film.mp4", 3 * M);
    assert_eq!(world.read(&content, 0..100).await.unwrap(), slice(&bytes, 0..100));
    let (overwritten, _) = world.object("a.jpg", 10 * K);
    world.bucket.inner().put_foreign("film.mp4", "other", Headers::default());
    world.bucket.inner().delete_foreign("a.jpg");
    assert!(matches!(world.read(&content, 2 * M..2 * M + 1).await, Err(Error::Stale)));
    assert!(matches!(world.read(&overwritten, 0..1).await, Err(Error::Stale)));
    assert_eq!(world.read(&content, K..M).await.unwrap(), slice(&bytes, K..M));
}

#[tokio::test]
async fn reads_end_where_the_file_ends() {
    let world = World::new();
    let (content, bytes) = world.object("a.jpg", 1000);
    assert_eq!(world.read(&content, 900..5000).await.unwrap(), slice(&bytes, 900..1000));
    assert_eq!(world.read(&content, 1000..5000).await.unwrap(), Bytes::new());
    let (empty, _) = world.object("empty", 0);
    assert_eq!(world.read(&empty, 0..10).await.unwrap(), Bytes::new());
    assert_eq!(world.cache.complete(&empty).await.unwrap().metadata().unwrap().len(), 0);
    assert_eq!(world.gets(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_is_fetched_in_parallel_pieces_once() {
    let world = World::new();
    let (content, bytes) = world.object("film.mp4", 20 * M);
    let mut held = world.bucket.hold(Op::Get, Side::Before);
    let whole = tokio::spawn({
        let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
        async move { cache.complete(&content).await }
    });
    held.wait_arrived().await;
    let reader = tokio::spawn({
        let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
        async move { cache.read(&content, 5 * M..6 * M, &Readahead::default()).await }
    });
    held.release();
    assert_eq!(reader.await.unwrap().unwrap(), slice(&bytes, 5 * M..6 * M));
    let file = whole.await.unwrap().unwrap();
    let mut got = vec![0; bytes.len()];
    file.read_exact_at(&mut got, 0).unwrap();
    assert!(got == bytes, "the bytes differ");
    assert_eq!(world.gets(), 5, "20 MiB in pieces of 4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequential_reader_gets_right_bytes_with_few_requests() {
    let world = World::new();
    let (content, bytes) = world.object("film.mp4", 20 * M);
    let ahead = Readahead::default();
    for at in 0..160 {
        let range = at * 128 * K..(at + 1) * 128 * K;
        let got = match world.cache.try_read(&content, range.clone(), &ahead) {
            Some(got) => got,
            None => world.cache.read(&content, range.clone(), &ahead).await.unwrap(),
        };
        assert!(got == slice(&bytes, range), "the bytes differ at {at}");
    }
    eventually("the content is a file", || world.cache.file(&content).is_some()).await;
    let gets = world.gets();
    assert!((5..=10).contains(&gets), "{gets} GETs: 1, 1, 1, 2, 3 MiB, then pieces of 4");
}

#[tokio::test]
async fn a_random_read_fetches_its_block_alone() {
    let world = World::new();
    let (content, bytes) = world.object("film.mp4", 6 * M);
    let ahead = Readahead::default();
    for at in [5 * M + 7, 2 * M + 7] {
        assert_eq!(world.cache.read(&content, at..at + 10, &ahead).await.unwrap(), slice(&bytes, at..at + 10));
    }
    assert_eq!((world.gets(), world.cache.usage().bytes), (2, 2 * M));
}

#[tokio::test]
async fn claims_never_overlap() {
    let world = World::new();
    let (content, _) = world.object("film.mp4", 20 * M);
    let ranges = |flights: &[flight::Flight]| flights.iter().map(flight::Flight::left).collect::<Vec<_>>();
    let first = content.claim(0..6 * M);
    assert_eq!(ranges(&first), [0..4 * M, 4 * M..6 * M]);
    let second = content.claim(2 * M..9 * M);
    assert_eq!(ranges(&second), [6 * M..9 * M]);
    drop(first);
    assert_eq!(ranges(&content.claim(0..8 * M)), [0..4 * M, 4 * M..6 * M]);
}

#[tokio::test]
async fn an_open_content_follows_a_rename_in_the_bucket() {
    let world = World::new();
    let (old_key, old, bytes) = world.put("film.mp4", 3 * M);
    let content = world.cache.get(&old_key, &old);
    world.read(&content, 0..1).await.unwrap();
    let new = world.bucket.inner().put_foreign("new.mp4", bytes.clone(), Headers::default());
    world.bucket.inner().delete_foreign("film.mp4");
    world.cache.moved((&old_key, &old), (&Key::new("new.mp4"), &new));
    assert_eq!(world.read(&content, 0..3 * M).await.unwrap(), bytes);
    let renamed = world.cache.get(&Key::new("new.mp4"), &new);
    assert!(Arc::ptr_eq(&content, &renamed), "one content per identity");
    assert!(!Arc::ptr_eq(&content, &world.cache.get(&old_key, &old)));
}

#[tokio::test]
async fn an_open_content_follows_a_rename_onto_one_that_is_known() {
    let world = World::new();
    let (old_key, old, bytes) = world.put("film.mp4", 3 * M);
    let content = world.cache.get(&old_key, &old);
    world.read(&content, 0..1).await.unwrap();
    let new_key = Key::new("new.mp4");
    let new = world.bucket.inner().put_foreign("new.mp4", bytes.clone(), Headers::default());
    let known = world.cache.get(&new_key, &new);
    world.read(&known, 0..1).await.unwrap();
    world.bucket.inner().delete_foreign("film.mp4");
    world.cache.moved((&old_key, &old), (&new_key, &new));
    assert_eq!(world.read(&content, 0..3 * M).await.unwrap(), bytes);
    assert_eq!(world.read(&known, 0..3 * M).await.unwrap(), bytes);
    assert!(Arc::ptr_eq(&known, &world.cache.get(&new_key, &new)), "one content per identity");
    assert!(!Arc::ptr_eq(&content, &world.cache.get(&old_key, &old)), "the old key may be another object soon");
    drop((content, known));
    assert_eq!(world.cache.usage().bytes, world.scratch.files("content").0);
}

/// An object of several parts, and its version after a COPY onto itself.
async fn copied_onto_itself(world: &World, key: &Key) -> (Version, Version, Bytes) {
    let bytes = pattern(key.as_str(), 8 * M);
    let upload = world.bucket.begin(key, &Headers::default()).await.unwrap();
    let mut parts = Vec::new();
    for (number, range) in [(1, 0..5 * M), (2, 5 * M..8 * M)] {
        parts.push(world.bucket.part(&upload, number, slice(&bytes, range)).await.unwrap());
    }
    let old = world.bucket.complete(&upload, &parts, Require::Anything).await.unwrap();
    let old = Version { size: 8 * M, ..old };
    let content = world.cache.get(key, &old);
    world.read(&content, 0..1).await.unwrap();
    let new = world.bucket.copy(key, key, Copy::default()).await.unwrap();
    assert!(!new.same_content(&old), "the copy of an object of parts is a plain one");
    (old, new, bytes)
}

#[tokio::test]
async fn an_open_content_follows_a_copy_onto_itself() {
    let world = World::new();
    let key = Key::new("film.mp4");
    let (old, new, bytes) = copied_onto_itself(&world, &key).await;
    let content = world.cache.get(&key, &old);
    world.cache.copied((&key, &old), (&key, &new));
    assert_eq!(world.read(&content, 0..8 * M).await.unwrap(), bytes);
    assert!(Arc::ptr_eq(&content, &world.cache.get(&key, &new)), "what is here is not fetched again");
}

#[tokio::test]
async fn a_get_that_meets_a_copy_onto_itself_is_sent_again() {
    let world = World::new();
    let key = Key::new("film.mp4");
    let (old, new, bytes) = copied_onto_itself(&world, &key).await;
    let content = world.cache.get(&key, &old);
    let mut held = world.bucket.hold(Op::Get, Side::Before);
    let reader = tokio::spawn({
        let (cache, content) = (Arc::clone(&world.cache), Arc::clone(&content));
        async move { cache.read(&content, 4 * M..5 * M, &Readahead::default()).await }
    });
    held.wait_arrived().await;
    world.cache.copied((&key, &old), (&key, &new));
    held.release();
    assert_eq!(reader.await.unwrap().unwrap(), slice(&bytes, 4 * M..5 * M));
}
