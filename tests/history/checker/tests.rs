//! Histories made by hand: what is allowed passes, what is not is found, with the right name.

use nix::libc;

use super::{Counts, Rule, Terms, check};
use crate::{
    event::{Act, At, Event, How, Stat, Written},
    value::{Id, Seen},
};

const A: Id = Id { by: 1, seq: 1 };
const B: Id = Id { by: 2, seq: 2 };
const C: Id = Id { by: 3, seq: 3 };

fn event(host: u8, (begin, end): (At, At), act: Act) -> Event {
    Event { by: u32::from(host), host: Some(host), path: "f".to_owned(), begin, end, act }
}

fn write_as(how: How, host: u8, id: Id, (begin, from, end): (At, At, At)) -> Event {
    let (size, mtime) = (u64::from(id.seq), (0, 9));
    let written = Written { id, how, from, to: end, opened: from, size, mtime, outcome: Ok(()) };
    event(host, (begin, end), Act::Write(written))
}

/// A rename over the name.
fn write(host: u8, id: Id, (begin, end): (At, At)) -> Event {
    write_as(How::Replace, host, id, (begin, begin, end))
}

fn failed(mut event: Event, errno: i32) -> Event {
    let Act::Write(written) = &mut event.act else { panic!("no write") };
    written.outcome = Err(errno);
    event
}

fn read(host: u8, seen: impl Into<Got>, (begin, end): (At, At)) -> Event {
    event(host, (begin, end), Act::Read { opened: end, seen: seen.into().0 })
}

struct Got(Result<Seen, i32>);

impl From<Id> for Got {
    fn from(id: Id) -> Self {
        Self(Ok(Seen::Whole(vec![id])))
    }
}

impl From<&[Id]> for Got {
    fn from(ids: &[Id]) -> Self {
        Self(Ok(Seen::Whole(ids.to_vec())))
    }
}

impl From<i32> for Got {
    fn from(errno: i32) -> Self {
        Self(Err(errno))
    }
}

fn torn() -> Got {
    Got(Ok(Seen::Torn("half".to_owned())))
}

fn unlink(host: u8, span: (At, At)) -> Event {
    event(host, span, Act::Unlink(Ok(())))
}

fn list(host: u8, names: &[&str], span: (At, At)) -> Event {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Event { path: String::new(), ..event(host, span, Act::List(Ok(names))) }
}

/// Two hosts, whose stats may be 10 old on the second.
fn terms() -> Terms {
    Terms { stat_age: vec![0, 10], breaks: false, pair: Some(["left".to_owned(), "right".to_owned()]) }
}

fn rules_in(events: &[Event], terms: &Terms) -> Vec<Rule> {
    let mut rules: Vec<_> = check(events, terms).0.into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

#[track_caller]
fn good(events: &[Event]) {
    let (violations, _) = check(events, &terms());
    assert_eq!(violations, []);
}

#[track_caller]
fn bad(rule: Rule, events: &[Event]) {
    let found = rules_in(events, &terms());
    assert!(found.contains(&rule), "{found:?}");
}

#[test]
fn what_was_written_is_read_until_something_else_is() {
    let history =
        [write(0, A, (1, 2)), read(1, A, (3, 4)), write(1, B, (5, 8)), read(0, A, (6, 7)), read(0, B, (9, 10))];
    good(&history);
    good(&[
        read(0, libc::ENOENT, (1, 4)),
        write(0, A, (2, 5)),
        unlink(1, (6, 9)),
        read(0, A, (7, 8)),
        read(0, libc::ENOENT, (7, 10)),
    ]);
}

#[test]
fn a_version_that_was_replaced_before_the_open_is_stale() {
    bad(Rule::Stale, &[write(0, A, (1, 2)), write(0, B, (3, 4)), read(1, A, (5, 6))]);
    bad(Rule::Stale, &[write(0, A, (1, 2)), unlink(0, (3, 4)), read(1, A, (5, 6))]);
}

#[test]
fn absence_after_a_write_is_stale_and_presence_after_an_unlink() {
    bad(Rule::Stale, &[write(0, A, (1, 2)), read(1, libc::ENOENT, (3, 4))]);
    let there = |begin, end| event(0, (begin, end), Act::Stat(Ok(Stat { size: 1, mtime: 5 })));
    bad(Rule::Stale, &[write(0, A, (1, 2)), unlink(1, (3, 4)), there(5, 6)]);
    good(&[write(0, A, (1, 2)), unlink(1, (3, 5)), there(4, 6)]);
}

#[test]
fn what_was_never_written_or_not_yet_is_found() {
    bad(Rule::Unwritten, &[write(0, A, (1, 2)), read(1, B, (3, 4))]);
    bad(Rule::Early, &[read(1, A, (1, 2)), write(0, A, (3, 4))]);
    bad(Rule::Early, &[write_as(How::InPlace, 0, A, (1, 6, 8)), read(1, A, (2, 5))]);
    good(&[write_as(How::InPlace, 0, A, (1, 6, 8)), read(0, A, (2, 5))]);
}

#[test]
fn nothing_goes_back_once_it_was_seen() {
    let slow =
        |first, second| [write(0, A, (1, 2)), write(0, B, (3, 20)), read(1, first, (4, 5)), read(1, second, (6, 7))];
    good(&slow(A, B));
    bad(Rule::Back, &slow(B, A));
    let turns =
        [write(0, A, (1, 20)), write(1, B, (1, 20)), read(0, A, (2, 3)), read(1, B, (4, 5)), read(0, A, (6, 7))];
    bad(Rule::Back, &turns);
    good(&turns[..4]);
    bad(Rule::Back, &[write(0, A, (1, 2)), unlink(0, (3, 20)), read(1, libc::ENOENT, (4, 5)), read(1, A, (6, 7))]);
    assert_eq!(rules_in(&turns, &Terms { breaks: true, ..terms() }), [], "a repeated request may do this");
}

#[test]
fn parts_are_seen_where_they_are_written_and_nowhere_else() {
    let writing = write_as(How::InPlace, 0, A, (1, 6, 8));
    good(&[writing.clone(), read(0, torn(), (2, 3))]);
    bad(Rule::Torn, &[writing.clone(), read(1, torn(), (2, 3))]);
    bad(Rule::Torn, &[writing, read(0, torn(), (9, 10))]);
    bad(Rule::Torn, &[write(0, A, (1, 8)), read(0, torn(), (2, 3))]);
}

#[test]
fn a_stat_may_be_old_where_that_was_agreed_but_not_about_own_changes() {
    let stat = |host, id: Id, begin| {
        event(host, (begin, begin + 1), Act::Stat(Ok(Stat { size: u64::from(id.seq), mtime: 5 })))
    };
    let history = |writer, reader, at| [write(0, A, (20, 21)), write(writer, B, (30, 31)), stat(reader, A, at)];
    good(&history(0, 1, 40));
    bad(Rule::Stale, &history(0, 1, 42));
    bad(Rule::Stale, &history(0, 0, 40));
    bad(Rule::Stale, &history(1, 1, 40));
    // Another host may see a change before the one that makes it is told that it is made.
    let under_way = |end| [write(0, A, (20, 21)), write(1, B, (30, end)), read(0, B, (32, 33)), stat(1, A, 40)];
    good(&under_way(45));
    bad(Rule::Stale, &under_way(39));
    let absent = event(1, (40, 41), Act::Stat(Err(libc::ENOENT)));
    bad(Rule::Stale, &[write(0, A, (38, 39)), absent]);
    let other_time = event(1, (40, 41), Act::Stat(Ok(Stat { size: 1, mtime: 10 })));
    bad(Rule::Stale, &[write(0, A, (20, 21)), other_time]);
}

#[test]
fn what_failed_may_be_there_or_not_and_come_later() {
    let breaks = Terms { breaks: true, ..terms() };
    let history = |seen: Id| [write(0, A, (1, 2)), failed(write(0, B, (3, 4)), libc::EIO), read(1, seen, (50, 60))];
    assert_eq!((rules_in(&history(A), &breaks), rules_in(&history(B), &breaks)), (vec![], vec![]));
    assert_eq!(rules_in(&history(C), &breaks), [Rule::Unwritten]);
    bad(Rule::Errno, &history(A));
    let absent = [write(0, A, (1, 2)), failed(write(0, B, (3, 4)), libc::EIO), read(1, libc::ENOENT, (50, 60))];
    assert_eq!(rules_in(&absent, &breaks), [Rule::Stale]);
    assert_eq!(rules_in(&[read(1, libc::EACCES, (50, 60))], &breaks), [Rule::Errno]);
}

#[test]
fn an_orphan_need_not_be_uploaded_and_anything_else_must() {
    let history = |unlinker| {
        let writing = write_as(How::InPlace, 0, B, (3, 8, 9));
        [write(0, A, (1, 2)), writing, unlink(unlinker, (5, 6)), read(1, libc::ENOENT, (10, 11))]
    };
    good(&history(0));
    bad(Rule::Stale, &history(1));
}

#[test]
fn an_append_stands_behind_what_its_open_could_see() {
    let append = |opened| {
        let mut event = write_as(How::Append, 0, C, (10, 20, 21));
        let Act::Write(written) = &mut event.act else { panic!("no write") };
        written.opened = opened;
        event
    };
    let history = |base: &[Id]| [write(0, A, (1, 2)), append(11), write(1, B, (12, 13)), read(1, base, (30, 31))];
    good(&history(&[A, C]));
    bad(Rule::Early, &history(&[B, C]));
    bad(Rule::Stale, &history(&[C]));
    bad(Rule::Chain, &[write(0, A, (1, 2)), write(0, B, (3, 4)), read(1, &[A, B][..], (5, 6))]);
    let mut twice = history(&[A, C]).to_vec();
    twice.push(read(0, &[C][..], (32, 33)));
    bad(Rule::Chain, &twice);
}

#[test]
fn a_listing_reads_every_name() {
    good(&[
        write(0, A, (1, 2)),
        list(1, &["f", "left", "stranger"], (3, 4)),
        unlink(0, (5, 6)),
        list(1, &["right"], (7, 8)),
    ]);
    bad(Rule::Stale, &[write(0, A, (1, 2)), list(1, &["left"], (3, 4))]);
    bad(Rule::Stale, &[write(0, A, (1, 2)), unlink(0, (3, 4)), list(1, &["f", "left"], (5, 6))]);
}

#[test]
fn of_a_rename_one_name_is_always_listed() {
    let left = Event { path: "left".to_owned(), ..write(0, A, (1, 2)) };
    let away = Event { path: "left".to_owned(), ..unlink(0, (3, 9)) };
    let right = Event { path: "right".to_owned(), ..write(0, B, (3, 9)) };
    let history = |names: &[&str]| [left.clone(), away.clone(), right.clone(), list(1, names, (5, 6))];
    good(&history(&["left", "right"]));
    good(&history(&["right"]));
    bad(Rule::Neither, &history(&[]));
}

#[test]
fn directories_are_registers_too() {
    let made = |host, span| event(host, span, Act::Mkdir(Ok(())));
    let exists = |host, span| event(host, span, Act::Mkdir(Err(libc::EEXIST)));
    let stat = |host, outcome, span| event(host, span, Act::StatDir(outcome));
    let removed = |span| event(0, span, Act::Rmdir(Ok(())));
    good(&[
        made(0, (1, 2)),
        exists(1, (3, 4)),
        stat(1, Ok(()), (5, 6)),
        removed((7, 8)),
        stat(0, Err(libc::ENOENT), (9, 10)),
    ]);
    bad(Rule::Stale, &[made(0, (1, 2)), stat(1, Err(libc::ENOENT), (3, 4))]);
    bad(Rule::Stale, &[made(0, (1, 2)), removed((3, 4)), exists(0, (5, 6))]);
}

#[test]
fn an_open_is_stale_only_while_the_name_changes() {
    let history = |begin| [write(0, A, (1, 2)), write(1, B, (5, 8)), read(1, libc::ESTALE, (begin, begin + 1))];
    good(&history(7));
    bad(Rule::Errno, &history(3));
    bad(Rule::Errno, &history(9));
}

#[test]
fn only_large_files_may_be_gone() {
    let gone = |size| Got(Ok(Seen::Gone { errno: libc::ESTALE, size }));
    let history = |size| [write(0, A, (1, 2)), read(1, gone(size), (3, 4))];
    bad(Rule::Gone, &history(100));
    let (violations, counts) = check(&history(2 << 20), &terms());
    assert_eq!((violations, counts), (vec![], Counts { reads: 1, writes: 1, gone: 1, ..Counts::default() }));
}
