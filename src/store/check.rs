//! Whether a log in git is legal: every step of every side, the shape of the chain, and the merges.

use std::collections::HashSet;

use gix::ObjectId;

use super::merge::made;
use super::read::Read;
use super::{Error, Result, Session, Store, names};
use crate::session::{Event, Kind, log};

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error(transparent)]
    Step(#[from] log::Illegal),
    /// A merge has two parents, and every other event one.
    #[error("event {seq} is a {kind} with {parents} parents")]
    Parents { seq: u64, kind: Kind, parents: usize },
    /// A merge has nothing of its own, and this one has.
    #[error("event {seq} is not the merge that its parents come to")]
    Merge { seq: u64 },
    /// What it runs is specified for another branch.
    #[error("event {seq} names another branch than the specification")]
    Spec { seq: u64 },
}

impl Store<'_> {
    /// Checks a log along all parents, back to a commit whose log was checked before, or to the beginning.
    ///
    /// A merge is made anew and has to come out the same, which also stands for the signature that it can't have.
    /// Whether the log has `known` at all is for [`Store::relation`] to say.
    ///
    /// # Errors
    /// [`Error::Illegal`] and [`Error::OtherRoot`]; commits that are not here, or no events.
    pub fn check(&self, session: &Session, known: Option<&Session>) -> Result<()> {
        let illegal = |why: Flaw| Error::Illegal {
            id: session.id().clone(),
            why,
        };
        let branch = &session.event.summary.branch;
        if branch.is_some()
            && known.is_none_or(|known| known.tree != session.tree)
            && !session.event.is_newer_format()
            && self
                .spec(session)
                .is_ok_and(|spec| spec.branch.is_some() && spec.branch != *branch)
        {
            let seq = session.event.seq;
            return Err(illegal(Flaw::Spec { seq }));
        }
        let mut root = None;
        let mut seen: HashSet<ObjectId> = known.iter().map(|known| known.tip).collect();
        let mut next: Vec<(ObjectId, Option<Box<Event>>)> = vec![(session.tip, None)];
        while let Some((commit, child)) = next.pop() {
            let found = self.read_event(session, commit)?;
            let event = &found.session.event;
            if let Some(child) = child {
                log::follows(event, &child).map_err(|why| illegal(why.into()))?;
            } else if event.summary.id != *session.id() {
                let (seq, id) = (event.seq, event.summary.id.clone());
                return Err(illegal(log::Illegal::Id { seq, id }.into()));
            }
            if !seen.insert(commit) {
                continue;
            }
            self.check_shape(session, &found).map_err(|error| match error {
                Shape::Flaw(why) => illegal(why),
                Shape::Error(error) => error,
            })?;
            match found.parent {
                None => {
                    log::begins(event).map_err(|why| illegal(why.into()))?;
                    let one = match root {
                        Some(root) => root,
                        None => known.map_or(Ok(commit), |known| self.root(known))?,
                    };
                    if one != commit {
                        let (id, other) = (session.id().clone(), commit);
                        return Err(Error::OtherRoot { id, one, other });
                    }
                    root = Some(commit);
                }
                Some(parent) => {
                    next.extend(found.others.iter().map(|other| (*other, None)));
                    next.push((parent, Some(found.session.event)));
                }
            }
        }
        Ok(())
    }

    /// Checks how many parents an event has, and what a merge says.
    fn check_shape(&self, session: &Session, found: &Read) -> std::result::Result<(), Shape> {
        let event = &found.session.event;
        let Event { seq, kind, .. } = **event;
        let parents = usize::from(found.parent.is_some()) + found.others.len();
        let right = match kind {
            _ if event.is_newer_format() => return Ok(()),
            Kind::Create => 0,
            Kind::Merge => 2,
            _ => 1,
        };
        if parents != right {
            return Err(Shape::Flaw(Flaw::Parents { seq, kind, parents }));
        }
        if let (Some(mainline), [other]) = (found.parent, &found.others[..]) {
            let mainline = self.read_event(session, mainline)?.session;
            let other = self.read_event(session, *other)?.session;
            if mainline.event.is_newer_format() || other.event.is_newer_format() {
                return Ok(());
            }
            let (right, _) = made(self.repo.object_hash(), &mainline, &other)?;
            if right.tip != found.session.tip {
                return Err(Shape::Flaw(Flaw::Merge { seq }));
            }
        }
        Ok(())
    }

    fn read_event(&self, session: &Session, commit: ObjectId) -> Result<Read> {
        let name = names::log(session.id());
        let data = self.commit(commit).map_err(|error| error.about(&name))?;
        self.event(commit, &data).map_err(|error| error.about(&name))
    }
}

enum Shape {
    Flaw(Flaw),
    Error(Error),
}

impl From<Error> for Shape {
    fn from(error: Error) -> Shape {
        Shape::Error(error)
    }
}
