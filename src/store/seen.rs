//! Sessions as they were seen elsewhere: by the tracking refs of a remote, or at any commit.

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::codec::Foreign;
use super::read::{not_ours, read};
use super::{Listing, Result, Session, Store, names};
use crate::git::refs::Target;
use crate::session::SessionId;

impl Store<'_> {
    /// Loads the newest event of a log or of a tracking ref; none if there is no such ref.
    ///
    /// # Errors
    /// A ref of that name that is not ours, or a broken one.
    pub fn load_ref(&self, name: &str) -> Result<Option<Session>> {
        match self.repo.refs().get(name)? {
            None => Ok(None),
            Some(Target::Object(tip)) => self.read_at(name, tip).map(Some),
            Some(_) => Err(not_ours(name, Foreign::Kind)),
        }
    }

    /// Loads a session as it is at a remote, as far as is known here.
    ///
    /// # Errors
    /// As [`Store::load_ref`].
    pub fn load_tracking(&self, remote: &str, id: &SessionId) -> Result<Option<Session>> {
        self.load_ref(&names::tracking(remote, id))
    }

    /// Reads a session as it was when `tip` was its newest event.
    ///
    /// # Errors
    /// Commits that are not here, or no event of that session.
    pub fn at(&self, id: &SessionId, tip: ObjectId) -> Result<Session> {
        self.read_at(&names::log(id), tip)
    }

    fn read_at(&self, name: &str, tip: ObjectId) -> Result<Session> {
        let data = self.commit(tip).map_err(|error| error.about(name))?;
        read(self.repo.object_hash(), name, tip, &data)
    }

    /// Lists what was seen at a remote, by newest events alone.
    pub fn list_tracking(&self, remote: &str) -> Result<Listing> {
        self.list_under(&names::trackings(remote))
    }

    /// Names the remotes at which sessions were seen, also those that are configured no more.
    pub fn tracked_remotes(&self) -> Result<Vec<String>> {
        let mut remotes: Vec<String> = Vec::new();
        for found in self.repo.refs().list(names::REMOTES)? {
            let tracked = found.name.to_str().ok().and_then(names::tracked);
            match tracked {
                Some((remote, _)) if remotes.last() != Some(&remote) => remotes.push(remote),
                Some(_) | None => {}
            }
        }
        Ok(remotes)
    }
}
