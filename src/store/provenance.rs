//! Where a log comes from: which of its events this clone did not write.

use std::collections::HashSet;

use gix::ObjectId;

use super::merge::made;
use super::read::Read;
use super::seal::Seal;
use super::{Result, Session, Store, names};
use crate::session::{Event, Kind};

/// Who wrote an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Us,
    /// It is the merge that its parents come to, which everybody makes the same.
    Nobody,
    Others,
}

impl Store<'_> {
    /// Finds the newest event of somebody else's that a session is the result of; none where all of it was made here.
    ///
    /// `own` is this clone's id. What a merge took no state from does not count.
    ///
    /// # Errors
    /// Commits that are not here, or no events.
    pub fn newest_foreign(&self, session: &Session, own: &str) -> Result<Option<Session>> {
        let seal = Seal::known(self.repo);
        let mut next = Some(session.tip);
        while let Some(commit) = next {
            let (found, writer) = self.written_by(session, commit, own, seal.as_ref())?;
            if writer == Writer::Others {
                return Ok(Some(found.session));
            }
            next = found.parent;
        }
        Ok(None)
    }

    /// Finds the newest step of a log's own side, beyond what `known` has, that is in the name of the clone `own` and
    /// was not written here; none where no key tells.
    ///
    /// # Errors
    /// As [`Store::newest_foreign`].
    pub fn in_the_name_of(&self, own: &str, session: &Session, known: &Session) -> Result<Option<Event>> {
        let Some(seal) = Seal::known(self.repo) else {
            return Ok(None);
        };
        let mut ours = HashSet::new();
        self.every_event(known, |commit, _| {
            ours.insert(commit);
        })?;
        let mut next = Some(session.tip).filter(|tip| !ours.contains(tip));
        while let Some(commit) = next {
            let (found, writer) = self.written_by(session, commit, own, Some(&seal))?;
            let event = &found.session.event;
            if writer == Writer::Others && event.kind.is_transition() && event.summary.owner == own {
                return Ok(Some((**event).clone()));
            }
            next = found.parent.filter(|parent| !ours.contains(parent));
        }
        Ok(None)
    }

    /// Whether the newest launch that a log tells of was recorded here, by the clone `own`.
    ///
    /// # Errors
    /// As [`Store::newest_foreign`].
    pub fn launched_by_us(&self, session: &Session, own: &str) -> Result<bool> {
        let seal = Seal::known(self.repo);
        let mut next = Some(session.tip);
        while let Some(commit) = next {
            let (found, writer) = self.written_by(session, commit, own, seal.as_ref())?;
            if matches!(
                found.session.event.kind,
                Kind::Start | Kind::Restart | Kind::Resume
            ) {
                return Ok(writer == Writer::Us);
            }
            next = found.parent;
        }
        Ok(false)
    }

    /// The session as it was before its newest event; none before its creation.
    ///
    /// # Errors
    /// As [`Store::newest_foreign`].
    pub fn before(&self, session: &Session) -> Result<Option<Session>> {
        let name = names::log(session.id());
        let data = self.commit(session.tip).map_err(|error| error.about(&name))?;
        let found = self
            .event(session.tip, &data)
            .map_err(|error| error.about(&name))?;
        found
            .parent
            .map(|parent| self.at(session.id(), parent))
            .transpose()
    }

    /// Finds all events of others, on every side.
    ///
    /// # Errors
    /// As [`Store::newest_foreign`].
    pub fn foreign(&self, session: &Session, own: &str) -> Result<Vec<ObjectId>> {
        let seal = Seal::known(self.repo);
        let mut foreign = Vec::new();
        let mut seen = HashSet::from([session.tip]);
        let mut next = vec![session.tip];
        while let Some(commit) = next.pop() {
            let (found, writer) = self.written_by(session, commit, own, seal.as_ref())?;
            if writer == Writer::Others {
                foreign.push(commit);
            }
            let parents = found.parent.into_iter().chain(found.others);
            next.extend(parents.filter(|parent| seen.insert(*parent)));
        }
        Ok(foreign)
    }

    fn written_by(
        &self,
        session: &Session,
        commit: ObjectId,
        own: &str,
        seal: Option<&Seal>,
    ) -> Result<(Read, Writer)> {
        let name = names::log(session.id());
        let data = self.commit(commit).map_err(|error| error.about(&name))?;
        let found = self.event(commit, &data).map_err(|error| error.about(&name))?;
        let event = &found.session.event;
        let writer = match seal {
            _ if event.kind == Kind::Merge => self.merged_by(session, &found)?,
            Some(seal)
                if event.summary.id == *session.id() && event.summary.owner == own && seal.made(&data)? =>
            {
                Writer::Us
            }
            _ => Writer::Others,
        };
        Ok((found, writer))
    }

    fn merged_by(&self, session: &Session, merge: &Read) -> Result<Writer> {
        let (Some(mainline), [other]) = (merge.parent, &merge.others[..]) else {
            return Ok(Writer::Others);
        };
        let (mainline, other) = (self.at(session.id(), mainline)?, self.at(session.id(), *other)?);
        let (right, _) = made(self.repo.object_hash(), &mainline, &other)?;
        Ok(match right.tip == merge.session.tip {
            true => Writer::Nobody,
            false => Writer::Others,
        })
    }
}
