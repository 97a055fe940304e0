//! Objects, read and written in process.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::BString;
use gix::objs::{FindExt, Kind, WriteTo};

use super::unsynced::Unsynced;
use super::{Durability, Error, Repo, Result};

/// An object that is not written yet.
#[derive(Debug, Clone)]
pub struct Object {
    pub kind: Kind,
    pub data: Vec<u8>,
}

impl Object {
    /// A blob with this content.
    pub fn blob(data: Vec<u8>) -> Object {
        Object {
            kind: Kind::Blob,
            data,
        }
    }
}

/// The id that an object has, or will have.
pub fn id_of(repo: &Repo, object: &Object) -> Result<ObjectId> {
    hash(repo.object_hash(), object)
}

/// The id that an object has in repositories of that hash.
pub fn hash(hash: gix::hash::Kind, object: &Object) -> Result<ObjectId> {
    gix::objs::compute_hash(hash, object.kind, &object.data).map_err(Error::gix("cannot hash an object"))
}

/// A commit without an encoding header, whatever `i18n.commitEncoding` says.
pub fn commit(
    tree: ObjectId,
    parents: &[ObjectId],
    author: &Signature,
    committer: &Signature,
    message: &[u8],
) -> Object {
    let commit = gix::objs::Commit {
        tree,
        parents: parents.iter().copied().collect(),
        author: author.clone(),
        committer: committer.clone(),
        encoding: None,
        message: message.into(),
        extra_headers: Vec::new(),
    };
    let mut data = Vec::new();
    // Writing to memory can't fail, and the signature's parts have no character that a header can't hold.
    let _ = commit.write_to(&mut data);
    Object {
        kind: Kind::Commit,
        data,
    }
}

/// A tree that holds one file.
pub fn tree_of_one(name: &str, blob: ObjectId) -> Object {
    let entry = gix::objs::tree::Entry {
        mode: gix::objs::tree::EntryKind::Blob.into(),
        filename: name.into(),
        oid: blob,
    };
    let mut data = Vec::new();
    // As above.
    let _ = gix::objs::Tree { entries: vec![entry] }.write_to(&mut data);
    Object {
        kind: Kind::Tree,
        data,
    }
}

/// Reads an object.
pub fn read(repo: &Repo, id: ObjectId) -> Result<Object> {
    let object = repo
        .gix()
        .find_object(id)
        .map_err(Error::gix(format!("object {id}")))?;
    Ok(Object {
        kind: object.kind,
        data: object.detach().data,
    })
}

/// Reads the object of that very name, also where another one is to be seen in its place (git-replace(1)).
pub fn read_unreplaced(repo: &Repo, id: ObjectId) -> Result<Object> {
    let mut objects = repo.gix().objects.clone();
    objects.ignore_replacements = true;
    let mut data = Vec::new();
    let found = objects.find(&id, &mut data);
    let kind = found.map_err(Error::gix(format!("object {id}")))?.kind;
    Ok(Object { kind, data })
}

/// What kind of object it is and how large, without reading all of it.
pub fn header(repo: &Repo, id: ObjectId) -> Result<(Kind, u64)> {
    let header = repo
        .gix()
        .find_header(id)
        .map_err(Error::gix(format!("object {id}")))?;
    Ok((header.kind(), header.size()))
}

/// Reads many objects that are likely to be small and loose, on any thread.
#[derive(Clone)]
pub struct Reader {
    loose: gix::odb::loose::Store,
    all: gix::OdbHandle,
    /// Whether every object so far was loose.
    is_loose: Cell<bool>,
}

impl Reader {
    /// A reader of its own for one thread.
    pub fn of(repo: &Repo) -> Reader {
        Reader {
            loose: loose_store(repo),
            all: repo.gix().objects.clone(),
            is_loose: Cell::new(true),
        }
    }

    /// Reads an object.
    pub fn read(&self, id: ObjectId) -> Result<Object> {
        // Looking into every pack first, as gix does, costs more than a loose object itself. But where one is packed
        // the others are, too.
        if self.is_loose.get() {
            if let Some(object) = super::loose::read(&self.loose.object_path(&id)) {
                return Ok(object);
            }
            self.is_loose.set(false);
        }
        let mut data = Vec::new();
        let kind = self
            .all
            .find(&id, &mut data)
            .map_err(Error::gix(format!("object {id}")))?
            .kind;
        Ok(Object { kind, data })
    }
}

/// Whether the object is here.
pub fn exists(repo: &Repo, id: ObjectId) -> bool {
    repo.gix().has_object(id)
}

/// Whether a commit is another one, or in its history.
///
/// # Errors
/// [`Error::Command`] if one of them isn't there.
pub fn is_ancestor(repo: &Repo, old: ObjectId, new: ObjectId) -> Result<bool> {
    if old == new {
        return Ok(true);
    }
    match repo.gix().merge_base(old, new) {
        Ok(base) => Ok(base.is_some_and(|base| base == old)),
        // git knows where a shallow history ends.
        Err(_) => is_ancestor_by_git(repo, old, new),
    }
}

fn is_ancestor_by_git(repo: &Repo, old: ObjectId, new: ObjectId) -> Result<bool> {
    let ids = [old.to_string(), new.to_string()];
    let git = repo.git()?.args(["merge-base", "--is-ancestor"]).args(ids);
    let output = git.output()?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(super::command::refused("merge-base".to_owned(), &output)),
    }
}

/// The parents of a commit.
pub fn parents(repo: &Repo, commit: ObjectId) -> Result<Vec<ObjectId>> {
    let object = read(repo, commit)?;
    let parsed = gix::objs::CommitRef::from_bytes(&object.data, repo.object_hash())
        .map_err(Error::gix(format!("commit {commit}")))?;
    Ok(parsed.parents().collect())
}

/// The tree of a commit.
pub fn tree_of(repo: &Repo, commit: ObjectId) -> Result<ObjectId> {
    let object = read(repo, commit)?;
    let parsed = gix::objs::CommitRef::from_bytes(&object.data, repo.object_hash())
        .map_err(Error::gix(format!("commit {commit}")))?;
    Ok(parsed.tree())
}

/// The message of a commit.
pub fn message(repo: &Repo, commit: ObjectId) -> Result<BString> {
    let object = read(repo, commit)?;
    let parsed = gix::objs::CommitRef::from_bytes(&object.data, repo.object_hash())
        .map_err(Error::gix(format!("commit {commit}")))?;
    Ok(parsed.message.to_owned())
}

/// Reads a tree.
pub fn tree(repo: &Repo, id: ObjectId) -> Result<gix::objs::Tree> {
    parse_tree(repo, &read(repo, id)?.data)
}

/// Reads a tree from its content.
pub fn parse_tree(repo: &Repo, data: &[u8]) -> Result<gix::objs::Tree> {
    let parsed = gix::objs::TreeRef::from_bytes(data, repo.object_hash()).map_err(Error::gix("a tree"))?;
    Ok(parsed.into())
}

/// The content of a file at the top of a tree; none if there is no such file.
pub fn blob_in_tree(repo: &Repo, tree: ObjectId, name: &str) -> Result<Option<Vec<u8>>> {
    let object = read(repo, tree)?;
    let parsed = gix::objs::TreeRef::from_bytes(&object.data, repo.object_hash())
        .map_err(Error::gix(format!("tree {tree}")))?;
    match parsed.entries.iter().find(|entry| entry.filename == name) {
        Some(entry) => Ok(Some(read(repo, entry.oid.to_owned())?.data)),
        None => Ok(None),
    }
}

/// Writes objects loose, or makes those that are there as young as if they were new; gives what is to be on disk before
/// anybody may count on them.
pub fn write_loose(repo: &Repo, objects: &[Object], durability: Durability) -> Result<Unsynced> {
    let dir = repo.common_dir().join("objects");
    let mut directories: Vec<PathBuf> = Vec::new();
    let mut unsynced = Unsynced::default();
    for object in objects {
        let id = id_of(repo, object)?;
        let path = loose_path(repo, id);
        let is_there = File::open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .is_ok();
        let is_new_directory = !is_there && super::loose::write(&path, object)?;
        // A new directory lasts once the one above it is on disk.
        if is_new_directory && !directories.contains(&dir) {
            directories.push(dir.clone());
        }
        if let Some(fan_out) = path.parent()
            && !directories.iter().any(|known| known == fan_out)
        {
            directories.push(fan_out.to_owned());
        }
        if durability == Durability::Durable {
            unsynced.add(path);
        }
    }
    if durability == Durability::Durable {
        directories.into_iter().for_each(|dir| unsynced.add(dir));
    }
    Ok(unsynced)
}

/// Where an object is when it is loose.
pub fn loose_path(repo: &Repo, id: ObjectId) -> PathBuf {
    loose_store(repo).object_path(&id)
}

fn loose_store(repo: &Repo) -> gix::odb::loose::Store {
    gix::odb::loose::Store::at(repo.common_dir().join("objects"), repo.object_hash())
}

/// Presses a file or directory to disk.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(format!("cannot sync '{}'", path.display())))
}
