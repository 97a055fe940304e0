//! References, through one interface over both formats.

mod abandoned;
mod bulk;
mod files;
pub mod leftover;
mod lock;
mod opened;
mod packed;
mod reftable;
mod spare;
mod temporary;

use std::path::Path;

use gix::ObjectId;
use gix::bstr::BString;

use super::repo::RefFormat;
use super::{Durability, Error, Repo, Result};
use crate::git::unsynced::Unsynced;

/// The references of a repository.
#[derive(Clone, Copy)]
pub struct Refs<'r> {
    repo: &'r Repo,
}

/// What a reference must be for an update to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Absent,
    At(ObjectId),
}

/// What became of an update. Losing is a value, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It was not as expected; this is where it is, if it is anywhere.
    Moved(Option<ObjectId>),
}

/// One of many updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The reference's full name.
    pub name: String,
    /// Where it is to be; none removes it.
    pub new: Option<ObjectId>,
    /// What it must be before.
    pub expected: Expected,
}

/// What a reference points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Object(ObjectId),
    Symbolic(BString),
    /// Its content means nothing.
    Broken,
}

/// A reference by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: BString,
    pub target: Target,
}

impl<'r> Refs<'r> {
    pub(super) fn of(repo: &'r Repo) -> Refs<'r> {
        Refs { repo }
    }

    /// Reads one reference; none if it doesn't exist.
    pub fn get(&self, name: &str) -> Result<Option<Target>> {
        if !is_legal(name) {
            return Ok(None);
        }
        match self.repo.ref_format() {
            RefFormat::Files => files::get(self.repo.common_dir(), self.repo.object_hash(), name),
            RefFormat::Reftable => reftable::get(self.repo, name),
        }
    }

    /// Lists the references whose names begin with `prefix`, which ends in `/`, by name.
    pub fn list(&self, prefix: &str) -> Result<Vec<Reference>> {
        match self.repo.ref_format() {
            RefFormat::Files => {
                let listed = files::list(self.repo.common_dir(), self.repo.object_hash(), &[prefix])?;
                Ok(listed.into_iter().flatten().collect())
            }
            RefFormat::Reftable => reftable::list(self.repo, prefix),
        }
    }

    /// A reference beside which that one can't be made: it would be a directory for the new one, or the other way round.
    pub fn in_the_way(&self, name: &str) -> Result<Option<BString>> {
        let parents = name.match_indices('/').map(|(at, _)| &name[..at]);
        for parent in parents.filter(|parent| parent.matches('/').count() >= 2) {
            if self.get(parent)?.is_some() {
                return Ok(Some(parent.into()));
            }
        }
        let below = self.list(&format!("{name}/"))?;
        Ok(below.into_iter().next().map(|reference| reference.name))
    }

    /// Lists the references below each of the prefixes, and makes something of the lists, while something else is done
    /// that takes its time.
    pub fn list_during<L: Send, T>(
        &self,
        prefixes: &[&str],
        make: impl Fn(Vec<Vec<Reference>>) -> L + Sync,
        act: impl FnOnce() -> T,
    ) -> (Result<L>, T) {
        let list = |prefix: &&str| reftable::list(self.repo, prefix);
        let (common, hash) = (self.repo.common_dir(), self.repo.object_hash());
        match self.repo.ref_format() {
            RefFormat::Files => std::thread::scope(|scope| {
                let listed = || files::list(common, hash, prefixes).map(&make);
                let listing = std::thread::Builder::new().spawn_scoped(scope, listed);
                let done = act();
                // A thread that came to nothing, or could not be made, has it done again.
                let listed_there = listing.ok().and_then(|listing| listing.join().ok());
                (listed_there.unwrap_or_else(listed), done)
            }),
            RefFormat::Reftable => {
                let listed: Result<_> = prefixes.iter().map(list).collect();
                (listed.map(make), act())
            }
        }
    }

    /// Removes the lock that a killed process of ours left on a reference; any other lock stays.
    pub fn unlock_after_crash(&self, name: &str) {
        match self.repo.ref_format() {
            RefFormat::Files => {
                let common = self.repo.common_dir();
                lock::unlock_after_crash(common, &common.join(name));
            }
            // The one lock there is git's own.
            RefFormat::Reftable => {}
        }
    }

    /// Removes the lock that a killed git left on all references, before git itself is to write some; takes two seconds
    /// where there is one.
    pub fn clear_abandoned(&self) {
        abandoned::clear(self.repo);
    }

    /// Whether somebody has all references locked: those of a reftable, or those that are packed.
    pub fn are_locked(&self) -> bool {
        match self.repo.ref_format() {
            RefFormat::Files => self.repo.common_dir().join("packed-refs.lock").exists(),
            RefFormat::Reftable => abandoned::lock(self.repo).exists(),
        }
    }

    /// As [`Refs::unlock_after_crash`], for the HEAD of the worktree whose own directory that is.
    pub fn unlock_head_after_crash(&self, git_dir: &Path) {
        match self.repo.ref_format() {
            RefFormat::Files => lock::unlock_after_crash(self.repo.common_dir(), &git_dir.join("HEAD")),
            RefFormat::Reftable => {}
        }
    }

    /// Lets the HEAD of a worktree, which has that directory of its own, go from its branch to a commit.
    ///
    /// Where we write its log, `log` does so, once nobody else can write HEAD; `why` is what git is given to log.
    ///
    /// # Errors
    /// [`Error::Locked`] where somebody else's lock stays on it.
    pub fn detach(
        &self,
        git_dir: &Path,
        at: ObjectId,
        why: &str,
        log: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        match self.repo.ref_format() {
            RefFormat::Files => files::detach(self.repo.common_dir(), &git_dir.join("HEAD"), at, log),
            RefFormat::Reftable => reftable::detach(self.repo, git_dir, at, why),
        }
    }

    /// Moves a reference, or removes it where `new` is none, if it is as expected.
    pub fn update(
        &self,
        name: &str,
        new: Option<ObjectId>,
        expected: Expected,
        durability: Durability,
    ) -> Result<Outcome> {
        self.update_after(&Unsynced::default(), name, new, expected, durability)
    }

    /// As [`Refs::update`], with what has to be on disk before the reference moves.
    pub fn update_after(
        &self,
        before: &Unsynced,
        name: &str,
        new: Option<ObjectId>,
        expected: Expected,
        durability: Durability,
    ) -> Result<Outcome> {
        if !is_legal(name) {
            return Err(Error::Malformed(format!("'{name}' is no name for a reference")));
        }
        match self.repo.ref_format() {
            RefFormat::Files => files::update(
                self.repo.common_dir(),
                self.repo.object_hash(),
                name,
                new,
                expected,
                durability,
                before,
            ),
            RefFormat::Reftable => {
                before.sync()?;
                reftable::update(self.repo, name, new, expected, durability)
            }
        }
    }
}

/// From how many on updates are made together: where each is a file, and where each is a process.
const MANY: (usize, usize) = (51, 2);

impl Refs<'_> {
    /// Makes many updates, each by itself: one that loses or can't be made keeps no other from being made.
    ///
    /// Many new values are written at once, so that they cost hardly more than one. What became of each is in the
    /// order of the changes.
    ///
    /// # Errors
    /// What stands in the way of all of them; some may have been made by then.
    pub fn update_all(&self, changes: &[Change], durability: Durability) -> Result<Vec<Result<Outcome>>> {
        let mut outcomes: Vec<Option<Result<Outcome>>> = changes.iter().map(|_| None).collect();
        let legal: Vec<usize> = (0..changes.len())
            .filter(|at| is_legal(&changes[*at].name))
            .collect();
        match self.repo.ref_format() {
            RefFormat::Files if legal.len() >= MANY.0 => {
                bulk::update(self.repo, changes, &legal, durability, &mut outcomes)?;
            }
            RefFormat::Reftable if legal.len() >= MANY.1 => {
                reftable::update_all(self.repo, changes, &legal, durability, &mut outcomes)?;
            }
            RefFormat::Files | RefFormat::Reftable => {}
        }
        let singly = |(change, outcome): (&Change, Option<Result<Outcome>>)| {
            outcome.unwrap_or_else(|| self.update(&change.name, change.new, change.expected, durability))
        };
        Ok(changes.iter().zip(outcomes).map(singly).collect())
    }
}

/// Whether it is a full name; any other would lead elsewhere as a path, or be something else to git.
fn is_legal(name: &str) -> bool {
    name.starts_with("refs/") && gix::validate::reference::name(name.into()).is_ok()
}
