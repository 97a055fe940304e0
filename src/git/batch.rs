//! New objects gathered for one publication: a few are written loose, many go into one pack.
//!
//! Either way garbage collection can't take them: see [`Kept`].

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use gix::ObjectId;
use gix::objs::{Data, Find, Kind};

use super::objects::{self, Object};
use super::pack::{self, PackFile};
use super::packs::{self, collector};
use super::unsynced::Unsynced;
use super::{Durability, Error, Repo, Result};

/// How many objects are written loose at most.
const FEW: usize = 12;
/// How many bytes are held in memory at most.
const SMALL: usize = 4 << 20;
/// Files from this size on are streamed.
const LARGE: u64 = 16 << 20;

/// Objects that are being gathered.
pub struct Batch<'r> {
    repo: &'r Repo,
    durability: Durability,
    purpose: Purpose,
    known: HashSet<ObjectId>,
    held: Vec<Object>,
    held_bytes: usize,
    /// Trees, which later edits look up.
    trees: HashMap<ObjectId, Vec<u8>>,
    pack: Option<PackFile>,
}

/// What objects are gathered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Publication,
    /// Their names are compared, and nothing is written.
    Names,
}

impl<'r> Batch<'r> {
    /// Begins with nothing.
    pub fn new(repo: &'r Repo, durability: Durability) -> Batch<'r> {
        Batch::begin(repo, durability, Purpose::Publication)
    }

    /// Begins one that only tells what objects would be called.
    pub fn of_names(repo: &'r Repo) -> Batch<'r> {
        Batch::begin(repo, Durability::Relaxed, Purpose::Names)
    }

    fn begin(repo: &'r Repo, durability: Durability, purpose: Purpose) -> Batch<'r> {
        Batch {
            repo,
            durability,
            purpose,
            known: HashSet::new(),
            held: Vec::new(),
            held_bytes: 0,
            trees: HashMap::new(),
            pack: None,
        }
    }

    /// Tells of an object that is reachable already, so that it isn't written again.
    pub fn knows(&mut self, id: ObjectId) {
        self.known.insert(id);
    }

    /// The repository that it is for.
    pub fn repo(&self) -> &'r Repo {
        self.repo
    }

    /// The hash that names the objects.
    pub fn object_hash(&self) -> gix::hash::Kind {
        self.repo.object_hash()
    }

    /// Reads a tree, a new one too.
    pub fn tree(&self, id: ObjectId) -> Result<gix::objs::Tree> {
        match self.trees.get(&id) {
            Some(data) => objects::parse_tree(self.repo, data),
            None => objects::tree(self.repo, id),
        }
    }

    /// Adds an object and gives its id.
    pub fn add(&mut self, object: Object) -> Result<ObjectId> {
        let id = objects::id_of(self.repo, &object)?;
        if !self.known.insert(id) {
            return Ok(id);
        }
        if object.kind == Kind::Tree {
            self.trees.insert(id, object.data.clone());
        }
        if self.purpose == Purpose::Names {
            return Ok(id);
        }
        match &mut self.pack {
            Some(pack) => pack.put(&object)?,
            None => {
                self.held_bytes += object.data.len();
                self.held.push(object);
                if self.held.len() > FEW || self.held_bytes > SMALL {
                    self.spill()?;
                }
            }
        }
        Ok(id)
    }

    /// Adds a file's content as it is; a large one is streamed.
    pub fn add_file(&mut self, file: &mut File) -> std::result::Result<ObjectId, FileError> {
        let size = file.metadata().map_err(FileError::Read)?.len();
        if size >= LARGE {
            return self.add_large(file, size);
        }
        let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.read_to_end(&mut data).map_err(FileError::Read)?;
        self.add(Object::blob(data)).map_err(FileError::Git)
    }

    /// Reads a file twice: whether it is known has to be clear before it is written.
    fn add_large(&mut self, file: &mut File, size: u64) -> std::result::Result<ObjectId, FileError> {
        let id = pack::hash_file(file, size, self.object_hash())?;
        if self.known.contains(&id) || self.purpose == Purpose::Names {
            return Ok(id);
        }
        if self.pack.is_none() {
            self.spill().map_err(FileError::Git)?;
        }
        if let Some(pack) = &mut self.pack {
            pack.put_file(file, size, id)?;
        }
        self.known.insert(id);
        Ok(id)
    }

    fn spill(&mut self) -> Result<()> {
        let mut pack = PackFile::begin(self.repo)?;
        for object in self.held.drain(..) {
            pack.put(&object)?;
        }
        self.pack = Some(pack);
        Ok(())
    }

    /// Puts everything on disk, where it stays at least until it is released.
    pub fn finish(self) -> Result<Kept> {
        let repo = self.repo;
        let (mut kept, unsynced) = self.write()?;
        match unsynced.sync() {
            Err(error) if is_gone(&error) => kept.pack(repo)?,
            synced => synced?,
        }
        Ok(kept)
    }

    /// Writes everything; what is not on disk yet is to be there before a reference moves.
    fn write(mut self) -> Result<(Kept, Unsynced)> {
        if self.pack.is_none() && !self.held.is_empty() && collector(self.repo).exists() {
            self.spill()?;
        }
        let unsynced = match objects::write_loose(self.repo, &self.held, self.durability) {
            // A collection took a new file, or the directory around it, away: it leaves a kept pack alone.
            Err(error) if is_gone(&error) => {
                self.spill()?;
                Unsynced::default()
            }
            written => written?,
        };
        let keep = match self.pack {
            Some(pack) => Some(pack.finish(self.repo, self.durability)?),
            None => None,
        };
        let kept = Kept {
            keep,
            held: self.held,
            durability: self.durability,
        };
        Ok((kept, unsynced))
    }
}

/// Why a file could not be added.
#[derive(Debug)]
pub enum FileError {
    /// The file itself can't be read.
    Read(std::io::Error),
    Git(Error),
}

impl Find for Batch<'_> {
    fn try_find<'a>(
        &self,
        id: &gix::oid,
        buffer: &'a mut Vec<u8>,
    ) -> std::result::Result<Option<Data<'a>>, gix::Error> {
        match self.trees.get(id) {
            Some(tree) => {
                buffer.clear();
                buffer.extend_from_slice(tree);
                Ok(Some(Data::new(buffer, Kind::Tree, self.repo.object_hash())))
            }
            None => self.repo.gix().objects.try_find(id, buffer),
        }
    }
}

/// Objects that are on disk and that no reference reaches yet.
///
/// A pack is kept from garbage collection by its `.keep`. What is loose is new, which protects it from a collection
/// that respects age; one with `--prune=now` that was at work meanwhile is noticed by its `gc.pid` or by an object
/// that is gone, and then all is written again.
#[must_use = "the objects are safe only once the reference has moved and they were released"]
pub struct Kept {
    keep: Option<PathBuf>,
    held: Vec<Object>,
    durability: Durability,
}

impl Kept {
    /// Writes what was loose into a pack, which is kept.
    fn pack(&mut self, repo: &Repo) -> Result<()> {
        self.keep = Some(self.packed(repo)?);
        self.held.clear();
        Ok(())
    }

    fn packed(&self, repo: &Repo) -> Result<PathBuf> {
        let mut pack = PackFile::begin(repo)?;
        for object in &self.held {
            pack.put(object)?;
        }
        pack.finish(repo, self.durability)
    }

    /// Moves references onto the objects; tries once more, with all of them in a pack, should a collection have taken
    /// some away.
    pub fn moving<T>(&mut self, repo: &Repo, move_refs: impl Fn() -> Result<T>) -> Result<T> {
        match move_refs() {
            Err(error) if is_gone(&error) && !self.held.is_empty() => {
                self.pack(repo)?;
                move_refs()
            }
            moved => moved,
        }
    }

    /// Says that references reach the objects by now.
    pub fn release(self, repo: &Repo) -> Result<()> {
        let mut is_packed = self.keep.is_some();
        let mut lost = false;
        for object in &self.held {
            lost |= !objects::loose_path(repo, objects::id_of(repo, object)?).exists();
        }
        if !self.held.is_empty() && (lost || collector(repo).exists()) {
            let _ = fs::remove_file(self.packed(repo)?);
            is_packed = true;
        }
        if let Some(keep) = self.keep {
            // A leftover only keeps a pack from being repacked; the next release removes it.
            let _ = fs::remove_file(keep);
        }
        if is_packed {
            packs::tidy(repo, self.durability);
        }
        Ok(())
    }
}

/// Whether what was written was not there any more a moment later.
fn is_gone(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        // git looks before it moves a reference in a reftable.
        Error::NoSuchObject { .. } => true,
        _ => false,
    }
}

/// Writes objects and then makes them reachable by `move_refs`, so that no garbage collection takes them away.
///
/// What it is given has to be on disk before a reference moves; it is called once more should a collection have taken
/// that away.
pub fn publish<T>(
    repo: &Repo,
    objects: Vec<Object>,
    durability: Durability,
    move_refs: impl Fn(&Unsynced) -> Result<T>,
) -> Result<T> {
    let mut batch = Batch::new(repo, durability);
    for object in objects {
        batch.add(object)?;
    }
    let (mut kept, unsynced) = batch.write()?;
    let moved = match move_refs(&unsynced) {
        Err(error) if is_gone(&error) && !kept.held.is_empty() => {
            kept.pack(repo)?;
            move_refs(&Unsynced::default())?
        }
        moved => moved?,
    };
    kept.release(repo)?;
    Ok(moved)
}
