//! Entries of trees, found by name or by path: each tree is read once, however many of its entries are looked for.

use std::collections::HashMap;

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::Tree;
use gix::objs::tree::Entry;

use crate::git::objects;
use crate::git::{Repo, Result};

/// A tree's entries by their names; of several of one name, which git never writes, the first.
pub fn by_name(tree: Tree) -> HashMap<BString, Entry> {
    let mut entries = HashMap::with_capacity(tree.entries.len());
    for entry in tree.entries {
        entries.entry(entry.filename.clone()).or_insert(entry);
    }
    entries
}

/// Finds entries by their paths, and remembers the trees on the way.
pub struct Finder<'r> {
    repo: &'r Repo,
    trees: HashMap<ObjectId, HashMap<BString, Entry>>,
}

impl<'r> Finder<'r> {
    pub fn of(repo: &'r Repo) -> Finder<'r> {
        Finder {
            repo,
            trees: HashMap::new(),
        }
    }

    /// The entry that a path leads to; none where there is no such path.
    ///
    /// # Errors
    /// Trees that are not here.
    pub fn find(&mut self, root: ObjectId, path: &BStr) -> Result<Option<Entry>> {
        let (dir, name) = match path.rsplit_once_str("/") {
            Some((dir, name)) => (Some(dir), name),
            None => (None, path.as_bytes()),
        };
        let mut at = root;
        for part in dir.into_iter().flat_map(|dir| dir.split(|byte| *byte == b'/')) {
            match self.tree(at)?.get(part.as_bstr()) {
                Some(entry) if entry.mode.is_tree() => at = entry.oid,
                _ => return Ok(None),
            }
        }
        Ok(self.tree(at)?.get(name.as_bstr()).cloned())
    }

    fn tree(&mut self, id: ObjectId) -> Result<&HashMap<BString, Entry>> {
        if !self.trees.contains_key(&id) {
            self.trees.insert(id, by_name(objects::tree(self.repo, id)?));
        }
        Ok(&self.trees[&id])
    }
}
