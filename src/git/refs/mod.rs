//! References, through one interface over both formats.

mod files;
pub mod locks;
mod reftable;

use gix::ObjectId;
use gix::bstr::BString;

use super::repo::RefFormat;
use super::{Durability, Error, Repo, Result};

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
            RefFormat::Files => files::list(self.repo.common_dir(), self.repo.object_hash(), prefix),
            RefFormat::Reftable => reftable::list(self.repo, prefix),
        }
    }

    /// Removes the lock that a killed process of ours left on a reference; any other lock stays.
    pub fn unlock_after_crash(&self, name: &str) {
        match self.repo.ref_format() {
            RefFormat::Files => files::unlock_after_crash(self.repo.common_dir(), name),
            // The one lock there is git's own.
            RefFormat::Reftable => {}
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
            ),
            RefFormat::Reftable => reftable::update(self.repo, name, new, expected, durability),
        }
    }
}

/// Whether it is a full name; any other would lead elsewhere as a path, or be something else to git.
fn is_legal(name: &str) -> bool {
    name.starts_with("refs/") && gix::validate::reference::name(name.into()).is_ok()
}
