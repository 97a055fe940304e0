//! Events written through the library, in this process.

use std::time::{Duration, Instant};

use git_session::git::Repo;
use git_session::session::event::Stamp;
use git_session::session::{Claim, Kind, SessionId};
use git_session::store::{Append, Store};
use jiff::Timestamp;

use crate::place::Place;

/// How many are written for one measurement, since one alone is shorter than the clock is good.
const EVENTS: u32 = 20;

/// A session in an opened repository.
pub struct Log {
    repo: Repo,
    id: SessionId,
}

impl Log {
    /// Makes a session, and opens the repository with or without fsync.
    pub fn open(place: &Place, name: &str, durable: bool) -> Log {
        place.session(&format!("new --id {name} -- true")).time();
        place.git(&format!("config session.fsync {durable}")).time();
        let repo = Repo::open(&place.repo()).expect("an opened repository");
        place.git("config --unset session.fsync").time();
        let id = name.parse().expect("a legal id");
        Log { repo, id }
    }

    /// Gives the time that one event takes, from reading the tip to having moved the ref.
    pub fn append(&self) -> Duration {
        let store = Store::new(&self.repo);
        let start = Instant::now();
        for number in 0..EVENTS {
            let session = store.load(&self.id).expect("a log").expect("a session");
            let at = Timestamp::now();
            let stamp = Stamp {
                at,
                by: "B <b@example.com>".to_owned(),
                nonce: format!("{:x}{number}", at.as_nanosecond()),
            };
            let mut event = session
                .event
                .step(Kind::Note, Claim::Plain, stamp)
                .expect("a legal step");
            event.note = Some("as it was".to_owned());
            let signature = gix::actor::Signature {
                name: "B".into(),
                email: "b@example.com".into(),
                time: gix::date::Time::new(at.as_second(), 0),
            };
            let appended = store
                .append(&session, &event, [&signature, &signature])
                .expect("a written event");
            assert!(matches!(appended, Append::Done(_)));
        }
        start.elapsed() / EVENTS
    }
}
