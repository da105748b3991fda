//! Random reads under random faults against the bytes themselves.

use proptest::prelude::*;

use super::*;
use crate::error::Error;

#[derive(Clone, Debug)]
enum Step {
    Read { at: u64, len: u64 },
    TryRead { at: u64, len: u64 },
    Cut { after: u64 },
    Reopen,
}

fn step(size: u64) -> impl Strategy<Value = Step> {
    let read = (0..size + 10, 0..M + M / 2);
    prop_oneof![
        6 => read.clone().prop_map(|(at, len)| Step::Read { at, len }),
        2 => read.prop_map(|(at, len)| Step::TryRead { at, len }),
        1 => (0..2 * M).prop_map(|after| Step::Cut { after }),
        1 => Just(Step::Reopen),
    ]
}

async fn run(size: u64, limit: u64, steps: Vec<Step>) {
    let world = World::sized(limit, 0);
    let (key, version, bytes) = world.put("object", size);
    let mut content = world.cache.get(&key, &version);
    let mut ahead = Readahead::default();
    for step in steps {
        match step {
            Step::Read { at, len } => match world.cache.read(&content, at..at + len, &ahead).await {
                Ok(got) => assert!(got == slice(&bytes, at.min(size)..(at + len).min(size)), "at {at}"),
                // Cuts in a row use up the attempts.
                Err(err) => assert!(matches!(err, Error::Unavailable(_)), "{err}"),
            },
            Step::TryRead { at, len } => {
                if let Some(got) = world.cache.try_read(&content, at..at + len, &ahead) {
                    assert!(got == slice(&bytes, at.min(size)..(at + len).min(size)), "at {at}");
                }
            }
            Step::Cut { after } => world.bucket.cut(1, after),
            Step::Reopen => {
                drop(content);
                content = world.cache.get(&key, &version);
                ahead = Readahead::default();
            }
        }
        assert!(world.cache.usage().bytes <= limit);
    }
    world.bucket.heal();
    assert!(world.read(&content, 0..size).await.unwrap() == bytes, "at the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_read_gives_the_bytes_of_the_version(
        (size, steps) in prop_oneof![1..M, M..3 * M].prop_flat_map(|size| {
            (Just(size), proptest::collection::vec(step(size), 1..16))
        }),
        limit in prop_oneof![Just(1_u64 << 40), M..2 * M],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(DEADLINE, run(size, limit, steps)).await.expect("it hangs") });
    }
}
