//! Logs that are made in process, in any shape.

use git_session::{
    git::Repo,
    session::{Claim, Event, Kind, SessionId, Spec, Summary, event::Stamp, log::UNOBSERVED},
    store::{Append, Session, Store},
};
use gix::actor::Signature;
use jiff::Timestamp;

use crate::git_repo::signature;

pub const KINDS: [Kind; 8] = [
    Kind::Start,
    Kind::Restart,
    Kind::Suspend,
    Kind::Resume,
    Kind::Checkpoint,
    Kind::Note,
    Kind::Home,
    Kind::Terminate,
];

pub fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

pub fn signed(second: i64) -> Signature {
    Signature {
        time: gix::date::Time::new(1_800_000_000 + second, 3600),
        ..signature()
    }
}

pub fn stamp(second: i64, nonce: &str) -> Stamp {
    Stamp {
        at: Timestamp::from_second(1_800_000_000 + second).unwrap(),
        by: "A Tester <tester@example.com>".to_owned(),
        nonce: nonce.to_owned(),
    }
}

/// The first event of a session that `owner` makes.
pub fn created(id: &SessionId, owner: &str, nonce: &str) -> Event {
    let summary = Summary {
        id: id.clone(),
        state: git_session::session::State::Pending,
        epoch: 1,
        owner: owner.to_owned(),
        host: format!("{owner}'s host"),
        created: Timestamp::from_second(1_800_000_000).unwrap(),
        branch: Some(format!("session/{id}")),
        base: None,
        head: None,
        work: None,
        title: Some("A title with a \u{202e} in it".to_owned()),
        worker: None,
        issue: None,
        labels: vec![("key".to_owned(), "value".to_owned())],
        parent: None,
        home: None,
        deadline: None,
        outcome: None,
        reason: None,
        unsaved: Vec::new(),
        frozen: false,
        other: vec![("Session-Later".to_owned(), "kept".to_owned())],
    };
    Event::create(summary, stamp(0, nonce)).unwrap()
}

pub fn spec() -> Spec {
    Spec::from_json(br#"{"command":["true"]}"#).unwrap()
}

/// Makes a session.
pub fn create(repo: &Repo, id: &SessionId, nonce: &str) -> Session {
    let event = created(id, "here", nonce);
    let by = signed(0);
    match Store::new(repo).create(&event, &spec(), [&by, &by]).unwrap() {
        Append::Done(session) => *session,
        Append::Moved(at) => panic!("'{id}' is there at {at:?}"),
    }
}

/// Writes a next event without moving the log; none if the table refuses it.
pub fn step(repo: &Repo, onto: &Session, kind: Kind, second: i64, nonce: &str) -> Option<Session> {
    let event = onto.event.step(kind, Claim::Plain, stamp(second, nonce)).ok()?;
    Some(write(repo, onto, &event, second))
}

/// Writes a claim by another clone, by force where it must be; none of what has ended.
pub fn claim(repo: &Repo, onto: &Session, owner: &str, second: i64, nonce: &str) -> Option<Session> {
    let plain = onto.event.step(Kind::Claim, Claim::Plain, stamp(second, nonce));
    let forced = || onto.event.step(Kind::Claim, Claim::Forced, stamp(second, nonce));
    let is_forced = plain.is_err();
    let mut event = plain.or_else(|_| forced()).ok()?;
    if event.summary.owner != owner {
        event.summary.owner = owner.to_owned();
        event.summary.host = format!("{owner}'s host");
        event.summary.epoch += 1;
    }
    event.summary.reason = is_forced.then(|| UNOBSERVED.to_owned());
    Some(write(repo, onto, &event, second))
}

pub fn write(repo: &Repo, onto: &Session, event: &Event, second: i64) -> Session {
    let by = signed(second);
    let written = Store::new(repo).write_event(onto, event, [&by, &by]).unwrap();
    written.session
}
