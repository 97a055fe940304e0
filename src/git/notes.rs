//! Notes, to which lines are only ever added, by a compare-and-swap of our own: `git notes` loses what is written
//! beside it.

use std::collections::{BTreeMap, HashSet};

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

/// How many notes of somebody else's are looked at.
const MOST: usize = 1 << 20;
/// How large one note of somebody else's may be, and how large all that is new in them.
const NOTE: u64 = 1 << 20;
const NEW: usize = 64 << 20;
/// How large a tree of somebody else's may be: as many notes as are looked at fit in.
const TREE: u64 = 128 << 20;

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
        let tip = tip(repo, notes_ref)?;
        let (tree, mut new, changed) = with_lines(repo, tip, lines)?;
        if !changed {
            return Ok(());
        }
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

/// Adds the lines of somebody else's notes, which are here already, to ours; gives how many things of theirs were
/// left out.
///
/// A line is taken if `is_line` says so; what is no note, too large a one, or another line, is left out. Ours become
/// theirs where these have all that ours do and nothing that is left out; else a commit has both as its parents.
///
/// # Errors
/// Notes that are none: no commit, too many, or not here.
pub fn merge(
    repo: &Repo,
    notes_ref: &str,
    theirs: ObjectId,
    is_line: impl Fn(&[u8]) -> bool,
    signature: &Signature,
    message: &str,
    durability: Durability,
) -> Result<usize> {
    if objects::header(repo, theirs)?.0 != Kind::Commit {
        return Err(Error::Malformed("it is no commit".to_owned()));
    }
    let mut foreign: Option<Flat> = None;
    for _ in 0..TRIES {
        let ours = tip(repo, notes_ref)?;
        if let Some(ours) = ours
            && (ours == theirs || objects::is_ancestor(repo, theirs, ours)?)
        {
            return Ok(0);
        }
        let foreign = match &foreign {
            Some(known) => known,
            None => foreign.insert(Flat::read(repo, objects::tree_of(repo, theirs)?, TREE, MOST)?),
        };
        let own = match ours {
            Some(ours) => Flat::read(repo, objects::tree_of(repo, ours)?, u64::MAX, usize::MAX)?,
            None => Flat::default(),
        };
        let news = own.news(repo, foreign, &is_line)?;
        let (id, new) = if news.left_out == 0 && !news.lacks {
            (theirs, Vec::new())
        } else if ours.is_none() && news.lines.is_empty() {
            return Ok(news.left_out);
        } else {
            let (tree, mut new, _) = with_lines(repo, ours, &news.lines)?;
            let parents: Vec<ObjectId> = ours.into_iter().chain([theirs]).collect();
            let commit = objects::commit(tree, &parents, signature, signature, message.as_bytes());
            let id = objects::id_of(repo, &commit)?;
            new.push(commit);
            (id, new)
        };
        let expected = ours.map_or(Expected::Absent, Expected::At);
        let outcome = publish(repo, new, durability, |unsynced| {
            repo.refs()
                .update_after(unsynced, notes_ref, Some(id), expected, durability)
        })?;
        if outcome == Outcome::Done {
            return Ok(news.left_out);
        }
    }
    Err(Error::Malformed(format!("'{notes_ref}' is changed all the time")))
}

/// Where the notes are; none if there are none.
///
/// # Errors
/// A reference that is no plain one.
pub fn tip(repo: &Repo, notes_ref: &str) -> Result<Option<ObjectId>> {
    match repo.refs().get(notes_ref)? {
        Some(Target::Object(tip)) => Ok(Some(tip)),
        None => Ok(None),
        Some(_) => Err(Error::Malformed(format!("'{notes_ref}' is no plain reference"))),
    }
}

/// The tree of notes with more lines, the objects that it needs, and whether one of the lines was missing.
fn with_lines(
    repo: &Repo,
    tip: Option<ObjectId>,
    lines: &[(ObjectId, String)],
) -> Result<(ObjectId, Vec<Object>, bool)> {
    let root = match tip {
        Some(tip) => Some(objects::tree_of(repo, tip)?),
        None => None,
    };
    let mut new = Vec::new();
    let mut tree = Tree::read(repo, root)?;
    let mut changed = false;
    let mut notes: BTreeMap<ObjectId, Vec<&str>> = BTreeMap::new();
    for (commit, line) in lines {
        notes.entry(*commit).or_default().push(line);
    }
    for (commit, lines) in notes {
        changed |= tree.add(repo, commit.to_string().as_bytes(), &lines, &mut new)?;
    }
    Ok((tree.write(repo, &mut new)?, new, changed))
}

/// Reads all notes: the object that each is about, and what it says.
///
/// Names in the tree that are no object's are left out.
pub fn all(repo: &Repo, notes_ref: &str) -> Result<Vec<(ObjectId, Vec<u8>)>> {
    let Some(tip) = tip(repo, notes_ref)? else {
        return Ok(Vec::new());
    };
    let flat = Flat::read(repo, objects::tree_of(repo, tip)?, u64::MAX, usize::MAX)?;
    let mut found = Vec::new();
    for (about, blobs) in flat.notes {
        for blob in blobs {
            found.push((about, objects::read(repo, blob)?.data));
        }
    }
    found.sort();
    Ok(found)
}

/// Notes without their fan-out: the blobs of each object's.
#[derive(Debug, Default)]
struct Flat {
    notes: BTreeMap<ObjectId, Vec<ObjectId>>,
    /// How many entries of the trees are no notes.
    others: usize,
}

/// What somebody else's notes have that ours don't.
#[derive(Debug, Default)]
struct News {
    lines: Vec<(ObjectId, String)>,
    left_out: usize,
    /// Whether ours have what theirs don't.
    lacks: bool,
}

impl Flat {
    fn read(repo: &Repo, root: ObjectId, largest: u64, most: usize) -> Result<Flat> {
        let mut flat = Flat::default();
        let length = repo.object_hash().len_in_hex();
        let mut next = vec![(Vec::new(), root)];
        // Trees that repeat themselves can have more entries than any machine has memory.
        let mut looked_at = 0;
        while let Some((prefix, tree)) = next.pop() {
            if largest < u64::MAX && objects::header(repo, tree)?.1 > largest {
                return Err(Error::Malformed("a tree of it is too large".to_owned()));
            }
            for entry in objects::tree(repo, tree)?.entries {
                looked_at += 1;
                if looked_at > most {
                    return Err(Error::Malformed(format!("it has more than {most} entries")));
                }
                let hex = [prefix.as_slice(), entry.filename.as_slice()].concat();
                if entry.mode.is_tree() && hex.len() < length {
                    next.push((hex, entry.oid));
                    continue;
                }
                let about = ObjectId::from_hex(&hex).ok();
                match about.filter(|about| about.kind() == repo.object_hash() && entry.mode.is_blob()) {
                    Some(about) => flat.notes.entry(about).or_default().push(entry.oid),
                    None => flat.others += 1,
                }
            }
        }
        Ok(flat)
    }

    /// Compares with somebody else's.
    fn news(&self, repo: &Repo, theirs: &Flat, is_line: impl Fn(&[u8]) -> bool) -> Result<News> {
        let mut news = News {
            left_out: theirs.others,
            lacks: self.others > 0 || self.notes.keys().any(|about| !theirs.notes.contains_key(about)),
            ..News::default()
        };
        let mut size = 0;
        for (about, blobs) in &theirs.notes {
            let known = self.notes.get(about);
            if known == Some(blobs) {
                continue;
            }
            let mut own = HashSet::new();
            for blob in known.into_iter().flatten() {
                own.extend(lines(&objects::read(repo, *blob)?.data));
            }
            let mut there = HashSet::new();
            for blob in blobs {
                let (kind, length) = objects::header(repo, *blob)?;
                if kind != Kind::Blob || length > NOTE {
                    news.left_out += 1;
                    continue;
                }
                for line in lines(&objects::read(repo, *blob)?.data) {
                    let text = std::str::from_utf8(&line).ok().filter(|_| is_line(&line));
                    match text {
                        None if own.contains(&line) => {}
                        None => news.left_out += 1,
                        Some(text) if !own.contains(&line) && !there.contains(&line) => {
                            size += line.len();
                            news.lines.push((*about, text.to_owned()));
                        }
                        Some(_) => {}
                    }
                    there.insert(line);
                }
                if size > NEW {
                    return Err(Error::Malformed("it has too much text".to_owned()));
                }
            }
            news.lacks |= own.iter().any(|line| !there.contains(line));
        }
        Ok(news)
    }
}

/// The lines of a note; empty ones, by which git parts what it appends, say nothing.
fn lines(note: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lines = note.lines().filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
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

    /// Adds lines to the note whose remaining name is `hex`; tells whether one was missing.
    fn add(&mut self, repo: &Repo, hex: &[u8], lines: &[&str], new: &mut Vec<Object>) -> Result<bool> {
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
                    Some(below) => below.add(repo, &hex[2..], lines, new),
                    None => Ok(false),
                };
            }
        }
        let mut note = match self.entries.get(&whole) {
            Some((_, id)) => objects::read(repo, *id)?.data,
            None => Vec::new(),
        };
        let mut known: HashSet<Vec<u8>> = self::lines(&note).collect();
        let before = note.len();
        for line in lines {
            if known.insert(line.as_bytes().to_vec()) {
                if !note.is_empty() && !note.ends_with(b"\n") {
                    note.push(b'\n');
                }
                note.extend_from_slice(line.as_bytes());
                note.push(b'\n');
            }
        }
        if note.len() == before {
            return Ok(false);
        }
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
