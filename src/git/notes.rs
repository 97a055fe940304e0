//! Notes, to which lines are only ever added, by a compare-and-swap of our own: `git notes` loses what is written
//! beside it.

use std::collections::BTreeMap;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BString, ByteSlice};
use gix::objs::tree::{EntryKind, EntryMode};
use gix::objs::{Kind, WriteTo};

use super::batch::publish;
use super::objects::{self, Object};
use super::refs::{Expected, Outcome, Target};
use super::{Durability, Error, Repo, Result};

/// How often an update is tried again after others came first.
const TRIES: usize = 1000;

/// Adds a line to the note of each of several commits, unless the note has it already.
///
/// A note stays where it is in the tree's fan-out; a new one goes to the deepest directory that is there for it.
pub fn append(
    repo: &Repo,
    notes_ref: &str,
    lines: &[(ObjectId, String)],
    signature: &Signature,
    message: &str,
    durability: Durability,
) -> Result<()> {
    for _ in 0..TRIES {
        let tip = match repo.refs().get(notes_ref)? {
            Some(Target::Object(tip)) => Some(tip),
            None => None,
            Some(_) => return Err(Error::Malformed(format!("'{notes_ref}' is no plain reference"))),
        };
        let mut new = Vec::new();
        let root = match tip {
            Some(tip) => Some(objects::tree_of(repo, tip)?),
            None => None,
        };
        let mut tree = Tree::read(repo, root)?;
        let mut changed = false;
        for (commit, line) in lines {
            changed |= tree.add(repo, commit.to_string().as_bytes(), line, &mut new)?;
        }
        if !changed {
            return Ok(());
        }
        let tree = tree.write(repo, &mut new)?;
        let parents: Vec<ObjectId> = tip.into_iter().collect();
        let commit = objects::commit(tree, &parents, signature, signature, message.as_bytes());
        let id = objects::id_of(repo, &commit)?;
        new.push(commit);
        let expected = tip.map_or(Expected::Absent, Expected::At);
        let outcome = publish(repo, new, durability, |unsynced| {
            repo.refs()
                .update_after(unsynced, notes_ref, Some(id), expected, durability)
        })?;
        if outcome == Outcome::Done {
            return Ok(());
        }
    }
    Err(Error::Malformed(format!("'{notes_ref}' is changed all the time")))
}

/// Reads all notes: the object that each is about, and what it says.
///
/// Names in the tree that are no object's are left out.
pub fn all(repo: &Repo, notes_ref: &str) -> Result<Vec<(ObjectId, Vec<u8>)>> {
    let root = match repo.refs().get(notes_ref)? {
        Some(Target::Object(tip)) => objects::tree_of(repo, tip)?,
        None => return Ok(Vec::new()),
        Some(_) => return Err(Error::Malformed(format!("'{notes_ref}' is no plain reference"))),
    };
    let mut found = Vec::new();
    let mut next = vec![(Vec::new(), root)];
    while let Some((prefix, tree)) = next.pop() {
        for entry in objects::tree(repo, tree)?.entries {
            let hex = [prefix.as_slice(), entry.filename.as_slice()].concat();
            let is_whole = hex.len() == repo.object_hash().len_in_hex();
            if entry.mode.is_tree() && !is_whole {
                // Deeper than a name is long there can be no note.
                next.extend((hex.len() < repo.object_hash().len_in_hex()).then_some((hex, entry.oid)));
            } else if let Some(about) = ObjectId::from_hex(&hex).ok().filter(|_| is_whole) {
                found.push((about, objects::read(repo, entry.oid)?.data));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A tree of notes, read as far as it is needed.
#[derive(Default)]
struct Tree {
    entries: BTreeMap<BString, (EntryMode, ObjectId)>,
    /// Subtrees that were opened, by name.
    open: BTreeMap<BString, Tree>,
}

impl Tree {
    fn read(repo: &Repo, id: Option<ObjectId>) -> Result<Tree> {
        let mut tree = Tree::default();
        if let Some(id) = id {
            for entry in objects::tree(repo, id)?.entries {
                tree.entries.insert(entry.filename, (entry.mode, entry.oid));
            }
        }
        Ok(tree)
    }

    /// Adds a line to the note whose remaining name is `hex`; tells whether it was missing.
    fn add(&mut self, repo: &Repo, hex: &[u8], line: &str, new: &mut Vec<Object>) -> Result<bool> {
        let whole = BString::from(hex);
        if !self.entries.contains_key(&whole) && hex.len() > 2 {
            let fan_out = BString::from(&hex[..2]);
            if let Some((mode, id)) = self.entries.get(&fan_out)
                && mode.is_tree()
            {
                let id = *id;
                if !self.open.contains_key(&fan_out) {
                    self.open.insert(fan_out.clone(), Tree::read(repo, Some(id))?);
                }
                return match self.open.get_mut(&fan_out) {
                    Some(below) => below.add(repo, &hex[2..], line, new),
                    None => Ok(false),
                };
            }
        }
        let mut note = match self.entries.get(&whole) {
            Some((_, id)) => match new
                .iter()
                .find(|object| objects::id_of(repo, object).is_ok_and(|new| new == *id))
            {
                Some(object) => object.data.clone(),
                None => objects::read(repo, *id)?.data,
            },
            None => Vec::new(),
        };
        if note.lines().any(|known| known == line.as_bytes()) {
            return Ok(false);
        }
        if !note.is_empty() && !note.ends_with(b"\n") {
            note.push(b'\n');
        }
        note.extend_from_slice(line.as_bytes());
        note.push(b'\n');
        let blob = Object::blob(note);
        self.entries
            .insert(whole, (EntryKind::Blob.into(), objects::id_of(repo, &blob)?));
        new.push(blob);
        Ok(true)
    }

    fn write(mut self, repo: &Repo, new: &mut Vec<Object>) -> Result<ObjectId> {
        for (name, below) in std::mem::take(&mut self.open) {
            let id = below.write(repo, new)?;
            self.entries.insert(name, (EntryKind::Tree.into(), id));
        }
        let mut entries: Vec<gix::objs::tree::Entry> = self
            .entries
            .into_iter()
            .map(|(filename, (mode, oid))| gix::objs::tree::Entry { mode, filename, oid })
            .collect();
        entries.sort();
        let mut data = Vec::new();
        gix::objs::Tree { entries }
            .write_to(&mut data)
            .map_err(Error::io("cannot make a tree"))?;
        let tree = Object {
            kind: Kind::Tree,
            data,
        };
        let id = objects::id_of(repo, &tree)?;
        new.push(tree);
        Ok(id)
    }
}
