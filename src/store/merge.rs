//! How two logs of a session stand to each other, and the commit that has both for its parents.

use std::collections::HashSet;

use gix::ObjectId;
use gix::actor::Signature;
use gix::date::Time;

use super::written::Written;
use super::{Error, Result, Session, Store, codec, names};
use crate::git::objects::{self, Object};
use crate::session::merge::{self, EMAIL, NAME, Relation, merged, precedence};

/// What several sides come to.
#[derive(Debug)]
pub enum Joined {
    /// This one of them has all that the others have.
    Has(Session),
    /// A merge has it.
    Made(Written),
}

impl Joined {
    /// The session with everything.
    pub fn session(&self) -> &Session {
        match self {
            Joined::Has(session) => session,
            Joined::Made(written) => &written.session,
        }
    }
}

/// Makes the merge of two diverged logs, which is a function of the two.
pub fn made(hash: gix::hash::Kind, mainline: &Session, other: &Session) -> Result<(Session, Object)> {
    let event = merged(&mainline.event, (&other.event, other.tip));
    let nobody = Signature {
        name: NAME.into(),
        email: EMAIL.into(),
        time: Time {
            seconds: event.at.as_second(),
            offset: 0,
        },
    };
    let parents = [mainline.tip, other.tip];
    let message = codec::encode(&event);
    let commit = objects::commit(mainline.tree, &parents, &nobody, &nobody, message.as_bytes());
    let session = Session {
        tip: objects::hash(hash, &commit)?,
        tree: mainline.tree,
        event: Box::new(event),
    };
    Ok((session, commit))
}

impl Store<'_> {
    /// Whether a log has the newest event of another one, along all parents.
    ///
    /// An event's sequence number is higher than that of all before it, so what is lower is not looked at; of a log
    /// that is not legal the answer may be no where it should be yes.
    ///
    /// # Errors
    /// Commits that are not here, or no events.
    pub fn contains(&self, log: &Session, other: &Session) -> Result<bool> {
        if log.tip == other.tip {
            return Ok(true);
        }
        let name = names::log(log.id());
        let mut seen = HashSet::new();
        let mut next = vec![log.tip];
        while let Some(commit) = next.pop() {
            let data = self.commit(commit).map_err(|error| error.about(&name))?;
            let found = self.event(commit, &data).map_err(|error| error.about(&name))?;
            if found.session.event.seq <= other.event.seq {
                continue;
            }
            for parent in found.parent.into_iter().chain(found.others) {
                if parent == other.tip {
                    return Ok(true);
                }
                if seen.insert(parent) {
                    next.push(parent);
                }
            }
        }
        Ok(false)
    }

    /// Says how a log stands to another.
    ///
    /// # Errors
    /// As [`Store::contains`].
    pub fn relation(&self, log: &Session, other: &Session) -> Result<Relation> {
        Ok(merge::relation(
            self.contains(log, other)?,
            self.contains(other, log)?,
        ))
    }

    /// Finds the commit that a log began with, which is the session's identity.
    pub fn root(&self, session: &Session) -> Result<ObjectId> {
        let name = names::log(session.id());
        let mut commit = session.tip;
        loop {
            let data = self.commit(commit).map_err(|error| error.about(&name))?;
            let found = self.event(commit, &data).map_err(|error| error.about(&name))?;
            match found.parent {
                Some(parent) => commit = parent,
                None => return Ok(commit),
            }
        }
    }

    /// Refuses two logs that began apart.
    pub fn check_same_root(&self, one: &Session, other: &Session) -> Result<()> {
        let id = one.id().clone();
        let (one, other) = (self.root(one)?, self.root(other)?);
        match one == other {
            true => Ok(()),
            false => Err(Error::OtherRoot { id, one, other }),
        }
    }

    /// Writes the merge of two diverged logs, and leaves the log where it is.
    ///
    /// # Errors
    /// Logs that began apart, and those of a newer format.
    pub fn merge(&self, mainline: &Session, other: &Session) -> Result<Written> {
        self.check_writable(mainline)?;
        self.check_writable(other)?;
        self.check_same_root(mainline, other)?;
        let (session, commit) = made(self.repo.object_hash(), mainline, other)?;
        self.write(session, commit)
    }

    /// Brings several sides together, in the one order that makes the end a function of the set.
    ///
    /// `home` is the log as it is at home, where that is known; the mainline is the side that has it.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn join(&self, sides: &[Session], home: Option<&Session>) -> Result<Option<Joined>> {
        let mut apart: Vec<&Session> = Vec::new();
        for side in sides.iter().chain(home) {
            if self.is_in_any(side, &apart)? {
                continue;
            }
            let mut kept = Vec::new();
            for other in apart {
                if !self.contains(side, other)? {
                    kept.push(other);
                }
            }
            kept.push(side);
            apart = kept;
        }
        let mut ranked = Vec::new();
        for side in apart {
            let has_home = match home {
                Some(home) => self.contains(side, home)?,
                None => false,
            };
            ranked.push((precedence(has_home, (&side.event, side.tip)), side));
        }
        ranked.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut joined = None;
        for (_, side) in ranked {
            joined = Some(match joined {
                None => Joined::Has(side.clone()),
                Some(Joined::Has(mainline)) => Joined::Made(self.merge(&mainline, side)?),
                Some(Joined::Made(earlier)) => Joined::Made(self.merge(&earlier.session, side)?.on(earlier)),
            });
        }
        Ok(joined)
    }

    fn is_in_any(&self, side: &Session, others: &[&Session]) -> Result<bool> {
        for other in others {
            if self.contains(other, side)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
