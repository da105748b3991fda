//! Random operations by two hosts and a foreign client, against a tree that cannot be wrong.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::Headers;

/// A few names, so that they meet; one contains another as a prefix.
const DIRS: [&str; 3] = ["", "a", "a.b"];
const FILES: [&str; 3] = ["f", "f.jpg", "a"];

#[derive(Clone, Debug)]
enum Act {
    Write(usize, usize, u16),
    Append(usize, usize, u16),
    Truncate(usize, usize, u16),
    Read(usize, usize),
    Unlink(usize, usize),
    Rename((usize, usize), (usize, usize)),
    Mkdir(usize),
    Rmdir(usize),
    RenameDir(usize, usize),
    List(usize),
    ForeignPut(usize, usize, u16),
    ForeignDelete(usize, usize),
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    let (d, f) = (0..DIRS.len(), 0..FILES.len());
    let file = (d.clone(), f.clone());
    prop_oneof![
        3 => (d.clone(), f.clone(), any::<u16>()).prop_map(|(d, f, v)| Act::Write(d, f, v)),
        1 => (d.clone(), f.clone(), any::<u16>()).prop_map(|(d, f, v)| Act::Append(d, f, v)),
        1 => (d.clone(), f.clone(), 0..9_u16).prop_map(|(d, f, v)| Act::Truncate(d, f, v)),
        3 => file.clone().prop_map(|(d, f)| Act::Read(d, f)),
        2 => file.clone().prop_map(|(d, f)| Act::Unlink(d, f)),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Act::Rename(from, to)),
        2 => (1..DIRS.len()).prop_map(Act::Mkdir),
        1 => (1..DIRS.len()).prop_map(Act::Rmdir),
        1 => (1..DIRS.len(), 1..DIRS.len()).prop_map(|(from, to)| Act::RenameDir(from, to)),
        3 => d.clone().prop_map(Act::List),
        2 => (d.clone(), f.clone(), any::<u16>()).prop_map(|(d, f, v)| Act::ForeignPut(d, f, v)),
        1 => file.prop_map(|(d, f)| Act::ForeignDelete(d, f)),
        1 => Just(Act::Forget),
    ]
}

/// What must be there.
#[derive(Clone, Debug, Default)]
struct Model {
    files: BTreeMap<String, Vec<u8>>,
    dirs: BTreeSet<String>,
}

fn path(d: usize, f: usize) -> String {
    if d == 0 { FILES[f].to_owned() } else { format!("{}/{}", DIRS[d], FILES[f]) }
}

fn bytes(value: u16) -> Vec<u8> {
    value.to_string().repeat(1 + usize::from(value % 50)).into_bytes()
}

impl Model {
    /// A directory is one that was made, or that something lies in.
    fn is_dir(&self, dir: &str) -> bool {
        dir.is_empty() || self.dirs.contains(dir) || self.holds(dir)
    }

    fn holds(&self, dir: &str) -> bool {
        self.files.keys().any(|file| file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')))
    }

    /// What is visible at a path: a directory shadows a file.
    fn file(&self, d: usize, f: usize) -> Option<&Vec<u8>> {
        let path = path(d, f);
        (self.is_dir(DIRS[d]) && !self.is_dir(&path)).then(|| self.files.get(&path)).flatten()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let mut names = BTreeSet::new();
        for file in self.files.keys() {
            let (above, name) = file.rsplit_once('/').unwrap_or(("", file));
            if above == dir && !self.is_dir(file) {
                names.insert(name.to_owned());
            }
        }
        if dir.is_empty() {
            names.extend(DIRS[1..].iter().filter(|dir| self.is_dir(dir)).map(|dir| format!("{dir}/")));
        }
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by(|a, b| a.trim_end_matches('/').cmp(b.trim_end_matches('/')));
        names
    }

    /// Removing the last thing in a directory leaves the directory.
    fn keep(&mut self, dir: &str) {
        if !dir.is_empty() && !self.holds(dir) {
            self.dirs.insert(dir.to_owned());
        }
    }
}

struct World {
    hosts: [Host; 2],
    model: Model,
}

impl World {
    #[expect(clippy::too_many_lines, reason = "one arm for each act")]
    async fn act(&mut self, by: usize, act: &Act) {
        let host = &self.hosts[by];
        let model = &mut self.model;
        match *act {
            Act::Write(d, f, value) => {
                let path = path(d, f);
                let fits = model.is_dir(DIRS[d]) && !model.is_dir(&path);
                let done = host.write(&path, &bytes(value)).await;
                assert_eq!(done.is_ok(), fits, "{done:?}");
                if fits {
                    model.files.insert(path, bytes(value));
                }
            }
            Act::Append(d, f, value) => {
                if model.file(d, f).is_some() {
                    let open = host.open(&path(d, f), OpenMode { append: true, ..WRITE }).await.unwrap();
                    host.fs.write(open.fh, 0, bytes(value).into(), true).await.unwrap();
                    host.close(open).await.unwrap();
                    model.files.get_mut(&path(d, f)).unwrap().extend(bytes(value));
                }
            }
            Act::Truncate(d, f, size) => {
                let set = SetAttr { size: Some(u64::from(size)), ..SetAttr::default() };
                let known = model.file(d, f).is_some();
                if known {
                    host.set(&path(d, f), set).await.unwrap();
                    model.files.get_mut(&path(d, f)).unwrap().resize(usize::from(size), 0);
                }
            }
            Act::Read(d, f) => match (host.read(&path(d, f)).await, model.file(d, f)) {
                (Ok(read), Some(expected)) => assert_eq!(&read[..], &expected[..]),
                (Err(Error::NotFound | Error::IsDir | Error::NotDir), None) => {}
                (read, expected) => panic!("read {read:?}, expected {expected:?}"),
            },
            Act::Unlink(d, f) => {
                let there = model.file(d, f).is_some();
                let done = host.unlink(&path(d, f)).await;
                assert_eq!(done.is_ok(), there, "{done:?}");
                if there {
                    model.files.remove(&path(d, f));
                    model.keep(DIRS[d]);
                }
            }
            Act::Rename((d, f), _) if model.is_dir(&path(d, f)) => {} // see RenameDir
            Act::Rename((d, f), (e, g)) => {
                let source = model.file(d, f).cloned();
                let fits = model.is_dir(DIRS[e]) && !model.is_dir(&path(e, g));
                let done = host.rename(&path(d, f), &path(e, g)).await;
                assert_eq!(done.is_ok(), source.is_some() && fits, "{done:?}");
                if let (Some(content), Ok(())) = (source, done) {
                    model.files.remove(&path(d, f));
                    model.files.insert(path(e, g), content);
                    model.keep(DIRS[d]);
                }
            }
            Act::Mkdir(d) => {
                let taken = model.is_dir(DIRS[d]) || model.files.contains_key(DIRS[d]);
                let done = host.mkdir(DIRS[d]).await;
                assert_eq!(done.is_ok(), !taken, "{done:?}");
                model.keep(if taken { "" } else { DIRS[d] });
            }
            Act::Rmdir(d) => {
                let fits = model.is_dir(DIRS[d]) && !model.holds(DIRS[d]);
                let done = host.rmdir(DIRS[d]).await;
                assert_eq!(done.is_ok(), fits, "{done:?}");
                if fits {
                    model.dirs.remove(DIRS[d]);
                }
            }
            Act::RenameDir(from, to) => self.rename_dir(by, DIRS[from], DIRS[to]).await,
            Act::List(d) => match host.ls(DIRS[d]).await {
                Ok(names) => assert_eq!((names, true), (model.list(DIRS[d]), model.is_dir(DIRS[d]))),
                Err(err) => assert!(!model.is_dir(DIRS[d]), "{err:?}"),
            },
            // A directory that another client makes below a known file is seen when the file is next listed: an open
            // asks for the file alone.
            Act::ForeignPut(d, ..) if model.files.contains_key(DIRS[d]) => {}
            // Nor is a directory seen by who knows of a file that was there once, and is again.
            Act::ForeignPut(d, f, _) if model.is_dir(&path(d, f)) => {}
            Act::ForeignPut(d, f, value) => {
                host.bucket.inner().put_foreign(&format!("site/{}", path(d, f)), bytes(value), Headers::default());
                model.files.insert(path(d, f), bytes(value));
            }
            Act::ForeignDelete(d, f) => {
                host.bucket.inner().delete_foreign(&format!("site/{}", path(d, f)));
                model.files.remove(&path(d, f));
            }
            Act::Forget => {
                let ids: Vec<_> = host.fs.tree().iter().map(|(id, _)| id).filter(|id| *id != NodeId::ROOT).collect();
                for id in ids {
                    host.fs.forget(id, u64::MAX);
                }
            }
        }
    }

    async fn rename_dir(&mut self, by: usize, from: &str, to: &str) {
        let model = &mut self.model;
        let shadowed = model.files.contains_key(to) && !model.is_dir(to);
        let fits = model.is_dir(from) && !shadowed && (from == to || !model.holds(to));
        let done = self.hosts[by].rename(from, to).await;
        assert!(done.is_ok() == fits || (!model.is_dir(from) && model.files.contains_key(from)), "{done:?}");
        if from == to || done.is_err() {
            return;
        }
        if !model.is_dir(from) {
            // A file of that name was renamed.
            let content = model.files.remove(from).unwrap();
            model.files.insert(to.to_owned(), content);
            return;
        }
        let below: Vec<String> = model.files.keys().filter(|f| f.starts_with(&format!("{from}/"))).cloned().collect();
        for file in &below {
            let content = model.files.remove(file).unwrap();
            model.files.insert(format!("{to}{}", &file[from.len()..]), content);
        }
        if model.dirs.remove(from) {
            model.dirs.insert(to.to_owned());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn hosts_agree_with_the_model(steps in prop::collection::vec((0..2_usize, act()), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bucket = bucket();
            let mut world = World { hosts: [0; 2].map(|_| Host::new(&bucket)), model: Model::default() };
            for (by, act) in &steps {
                world.act(*by, act).await;
                world.hosts[*by].fs.tree().check();
            }
        });
    }
}
