//! Objects: read in process, and published so that no garbage collection takes them away.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use gix::ObjectId;
use gix::actor::Signature;
use gix::objs::{Kind, WriteTo};

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
    gix::objs::compute_hash(repo.object_hash(), object.kind, &object.data)
        .map_err(Error::gix("cannot hash an object"))
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

/// Whether the object is here.
pub fn exists(repo: &Repo, id: ObjectId) -> bool {
    repo.gix().has_object(id)
}

/// The parents of a commit.
pub fn parents(repo: &Repo, commit: ObjectId) -> Result<Vec<ObjectId>> {
    let object = read(repo, commit)?;
    let parsed = gix::objs::CommitRef::from_bytes(&object.data, repo.object_hash())
        .map_err(Error::gix(format!("commit {commit}")))?;
    Ok(parsed.parents().collect())
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

/// Writes objects and then makes them reachable.
///
/// They are on disk before `move_refs` runs. A `git gc` that is at work, before or after, may have decided by then
/// that they are garbage, so in that case they are written as a pack that it leaves alone.
pub fn publish<T>(
    repo: &Repo,
    objects: &[Object],
    durability: Durability,
    move_refs: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let collector = repo.common_dir().join("gc.pid");
    let ids = write_loose(repo, objects, durability)?;
    let before = if collector.exists() {
        Some(keep_as_pack(repo, &ids)?)
    } else {
        None
    };
    let moved = move_refs()?;
    let lost = before.is_none() && (collector.exists() || !ids.iter().all(|(_, path)| path.exists()));
    if lost {
        let ids = write_loose(repo, objects, durability)?;
        keep_as_pack(repo, &ids)?.release();
    }
    if let Some(kept) = before {
        kept.release();
    }
    Ok(moved)
}

/// Writes objects loose, or makes those that are there as young as if they were new.
fn write_loose(
    repo: &Repo,
    objects: &[Object],
    durability: Durability,
) -> Result<Vec<(ObjectId, std::path::PathBuf)>> {
    let dir = repo.common_dir().join("objects");
    let store = gix::odb::loose::Store::at(&dir, repo.object_hash());
    let mut written = Vec::with_capacity(objects.len());
    for object in objects {
        let id = id_of(repo, object)?;
        let path = store.object_path(&id);
        let fresh = File::open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .is_ok();
        if !fresh {
            gix::objs::Write::write_buf(&store, object.kind, &object.data)
                .map_err(Error::gix(format!("cannot write object {id}")))?;
        }
        if durability == Durability::Durable {
            sync(&path)?;
            if let Some(fan_out) = path.parent() {
                sync(fan_out)?;
            }
        }
        written.push((id, path));
    }
    if durability == Durability::Durable && !objects.is_empty() {
        sync(&dir)?;
    }
    Ok(written)
}

/// Presses a file or directory to disk.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(format!("cannot sync '{}'", path.display())))
}

/// A pack that garbage collection leaves alone until it is released.
pub struct Kept {
    keep: std::path::PathBuf,
}

impl Kept {
    /// Gives the pack to garbage collection, whose objects are reachable by now.
    pub fn release(self) {
        // A leftover only keeps a pack from being repacked.
        let _ = fs::remove_file(self.keep);
    }
}

fn keep_as_pack(repo: &Repo, ids: &[(ObjectId, std::path::PathBuf)]) -> Result<Kept> {
    let list: String = ids.iter().map(|(id, _)| format!("{id}\n")).collect();
    let pack = repo
        .git()?
        .args(["pack-objects", "--stdout", "-q"])
        .input(list)
        .run()?;
    let said = repo
        .git()?
        .args(["index-pack", "--stdin", "--keep=git-session"])
        .input(pack)
        .run()?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let name = said.rsplit('\t').next().unwrap_or_default().to_owned();
    Ok(Kept {
        keep: repo.common_dir().join(format!("objects/pack/pack-{name}.keep")),
    })
}
