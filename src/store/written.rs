//! Events that are written before the log moves onto them, so that they can be pushed first.

use gix::ObjectId;
use gix::actor::Signature;

use super::{Append, Result, Session, Store, cache, names};
use crate::git::batch::publish;
use crate::git::objects::Object;
use crate::git::refs::{Change, Expected, Outcome};
use crate::git::unsynced::Unsynced;
use crate::session::Event;

/// A session with a newest event that is in the repository and that no reference reaches yet.
///
/// It holds the commits themselves: a garbage collection that came in between may have taken them away, and they are
/// written again when the log moves.
#[derive(Debug, Clone)]
pub struct Written {
    /// The session with the event.
    pub session: Session,
    /// The commits, oldest first.
    objects: Vec<Object>,
}

impl Written {
    /// Takes along what it stands on, when that was written the same way.
    pub fn on(mut self, earlier: Written) -> Written {
        self.objects.splice(..0, earlier.objects);
        self
    }
}

impl Store<'_> {
    /// Writes the next event, by author and committer, and leaves the log where it is.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn write_event(&self, onto: &Session, event: &Event, by: [&Signature; 2]) -> Result<Written> {
        let (session, commit) = self.next(onto, event, by)?;
        self.write(session, commit)
    }

    pub(super) fn write(&self, session: Session, commit: Object) -> Result<Written> {
        publish(self.repo, vec![commit.clone()], self.durability, Unsynced::sync)?;
        Ok(Written {
            session,
            objects: vec![commit],
        })
    }

    /// Moves the log onto what was written, or begins it; `Moved` when it is not where it is expected.
    pub fn advance(&self, written: &Written, expected: Expected) -> Result<Append> {
        self.publish(written.session.clone(), written.objects.clone(), expected)
    }

    /// Moves logs onto events that other references reach already, or begins them, each for itself.
    ///
    /// # Errors
    /// What stands in the way of all of them.
    pub fn advance_all(&self, moves: &[(Session, Expected)]) -> Result<Vec<Result<Append>>> {
        let change = |(session, expected): &(Session, Expected)| Change {
            name: names::log(session.id()),
            new: Some(session.tip),
            expected: *expected,
        };
        let changes: Vec<Change> = moves.iter().map(change).collect();
        let outcomes = self.repo.refs().update_all(&changes, self.durability)?;
        let mut commits: Vec<(ObjectId, Vec<u8>)> = Vec::with_capacity(moves.len());
        let mut appended = Vec::with_capacity(moves.len());
        for ((session, _), outcome) in moves.iter().zip(outcomes) {
            appended.push(match outcome {
                Ok(Outcome::Done) => {
                    // One that can't be read is missing in the cache alone.
                    commits.extend(self.commit(session.tip).ok().map(|data| (session.tip, data)));
                    Ok(Append::Done(Box::new(session.clone())))
                }
                Ok(Outcome::Moved(actual)) => Ok(Append::Moved(actual)),
                Err(error) => Err(error.into()),
            });
        }
        cache::add(self.repo, &commits, || self.tips());
        Ok(appended)
    }
}
