//! All that a log has, those events too that came in by a merge.

use std::collections::HashSet;

use gix::ObjectId;

use super::read::commit;
use super::{Result, Session, Store, cache, names};
use crate::git::objects::Reader;
use crate::session::Event;

impl Store<'_> {
    /// Shows every event of a log along all parents, each once, a later one before those it stands on.
    ///
    /// # Errors
    /// Commits that are not here, or no events.
    pub fn every_event(&self, session: &Session, mut see: impl FnMut(ObjectId, &Event)) -> Result<()> {
        let name = names::log(session.id());
        let reader = Reader::of(self.repo);
        let mut seen = HashSet::from([session.tip]);
        let mut next = vec![session.tip];
        while let Some(id) = next.pop() {
            let data = commit(&reader, id).map_err(|error| error.about(&name))?;
            let found = self.event(id, &data).map_err(|error| error.about(&name))?;
            see(id, &found.session.event);
            let parents = found.parent.into_iter().chain(found.others);
            next.extend(parents.filter(|parent| seen.insert(*parent)));
        }
        Ok(())
    }

    /// Names the commits in the cache of newest events whose content there is not theirs.
    pub fn false_in_cache(&self) -> Vec<ObjectId> {
        cache::false_ones(self.repo)
    }

    /// Makes the cache of newest events anew from the events themselves.
    pub fn rebuild_cache(&self) -> Result<()> {
        let reader = Reader::of(self.repo);
        let read = |tip| Some((tip, commit(&reader, tip).ok()?));
        let commits: Vec<_> = self.tips().into_iter().filter_map(read).collect();
        Ok(cache::rebuild(self.repo, &commits)?)
    }
}
