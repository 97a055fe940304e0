//! New objects gathered for one publication: a few are written loose, many go into one pack.
//!
//! Either way garbage collection can't take them: see [`Kept`].

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use gix::ObjectId;
use gix::objs::{Data, Find, Kind};
use tempfile::NamedTempFile;

use super::objects::{self, Object, sync};
use super::repo::parse_oid;
use super::{Durability, Error, Repo, Result};

/// How many objects are written loose at most.
const FEW: usize = 12;
/// How many bytes are held in memory at most.
const SMALL: usize = 4 << 20;
/// Blobs from this size on are handed to git, which streams them.
const LARGE: u64 = 64 << 20;
/// What a `.keep` of ours says.
const KEEP: &[u8] = b"git-session: kept until the snapshot is published\n";

/// Objects that are being gathered.
pub struct Batch<'r> {
    repo: &'r Repo,
    durability: Durability,
    known: HashSet<ObjectId>,
    held: Vec<Object>,
    held_bytes: usize,
    /// Trees, which later edits look up.
    trees: HashMap<ObjectId, Vec<u8>>,
    pack: Option<PackFile>,
    /// Blobs that git has written loose.
    large: Vec<ObjectId>,
}

impl<'r> Batch<'r> {
    /// Begins with nothing.
    pub fn new(repo: &'r Repo, durability: Durability) -> Batch<'r> {
        Batch {
            repo,
            durability,
            known: HashSet::new(),
            held: Vec::new(),
            held_bytes: 0,
            trees: HashMap::new(),
            pack: None,
            large: Vec::new(),
        }
    }

    /// Tells of an object that is reachable already, so that it isn't written again.
    pub fn knows(&mut self, id: ObjectId) {
        self.known.insert(id);
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
            let input = file.try_clone().map_err(FileError::Read)?;
            let git = self.repo.git().map_err(FileError::Git)?;
            let output = git
                .args(["hash-object", "-w", "--stdin", "--no-filters"])
                .run_on(input);
            let id = parse_oid(output.map_err(FileError::Git)?.trim_ascii())
                .ok_or_else(|| FileError::Git(Error::Malformed("git gave no object id".to_owned())))?;
            self.known.insert(id);
            self.large.push(id);
            return Ok(id);
        }
        let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.read_to_end(&mut data).map_err(FileError::Read)?;
        self.add(Object::blob(data)).map_err(FileError::Git)
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
    pub fn finish(mut self) -> Result<Kept> {
        if self.pack.is_none() && !self.held.is_empty() && collector(self.repo).exists() {
            self.spill()?;
        }
        let keep = match self.pack {
            Some(pack) => Some(pack.finish(self.repo, self.durability)?),
            None => None,
        };
        objects::write_loose(self.repo, &self.held, self.durability)?;
        Ok(Kept {
            keep,
            held: self.held,
            large: self.large,
            durability: self.durability,
        })
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
    large: Vec<ObjectId>,
    durability: Durability,
}

impl Kept {
    /// Says that references reach the objects by now.
    pub fn release(self, repo: &Repo) -> Result<()> {
        let mut lost = false;
        for object in &self.held {
            lost |= !objects::loose_path(repo, objects::id_of(repo, object)?).exists();
        }
        if !self.held.is_empty() && (lost || collector(repo).exists()) {
            objects::write_loose(repo, &self.held, self.durability)?;
            let mut pack = PackFile::begin(repo)?;
            for object in &self.held {
                pack.put(object)?;
            }
            let keep = pack.finish(repo, self.durability)?;
            let _ = fs::remove_file(keep);
        }
        if let Some(gone) = self.large.iter().find(|id| !objects::exists(repo, **id)) {
            return Err(Error::Malformed(format!(
                "blob {gone} was garbage collected while it was saved"
            )));
        }
        if let Some(keep) = self.keep {
            // A leftover only keeps a pack from being repacked; the next release removes it.
            let _ = fs::remove_file(keep);
        }
        release_stale(repo);
        Ok(())
    }
}

/// Removes `.keep` files that killed processes of ours left, once they are an hour old.
fn release_stale(repo: &Repo) {
    let Ok(entries) = fs::read_dir(repo.common_dir().join("objects/pack")) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_keep = path.extension().is_some_and(|extension| extension == "keep");
        let old = || {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 3600))
        };
        if is_keep && old() && fs::read(&path).is_ok_and(|content| content == KEEP) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The file that says that a garbage collection is at work.
fn collector(repo: &Repo) -> PathBuf {
    repo.common_dir().join("gc.pid")
}

/// A pack that is being written; its name begins so that git removes what a killed process left.
struct PackFile {
    file: BufWriter<NamedTempFile>,
    count: u32,
}

impl PackFile {
    fn begin(repo: &Repo) -> Result<PackFile> {
        let dir = repo.common_dir().join("objects/pack");
        let io = || Error::io(format!("cannot write to '{}'", dir.display()));
        fs::create_dir_all(&dir).map_err(io())?;
        let temp = tempfile::Builder::new()
            .prefix("tmp_pack_")
            .tempfile_in(&dir)
            .map_err(io())?;
        let mut file = BufWriter::with_capacity(1 << 16, temp);
        // The number of objects is filled in at the end.
        file.write_all(b"PACK\0\0\0\x02\0\0\0\0").map_err(io())?;
        Ok(PackFile { file, count: 0 })
    }

    fn put(&mut self, object: &Object) -> Result<()> {
        let kind: u8 = match object.kind {
            Kind::Commit => 1,
            Kind::Tree => 2,
            Kind::Blob => 3,
            Kind::Tag => 4,
        };
        let mut size = object.data.len();
        let mut header = vec![(kind << 4) | (size & 0x0f) as u8];
        size >>= 4;
        while size > 0 {
            if let Some(last) = header.last_mut() {
                *last |= 0x80;
            }
            header.push((size & 0x7f) as u8);
            size >>= 7;
        }
        let write = |file: &mut BufWriter<NamedTempFile>| -> std::io::Result<()> {
            file.write_all(&header)?;
            let mut deflate =
                gix::zlib::stream::deflate::Write::new(file, gix::zlib::Compression::BEST_SPEED);
            deflate.write_all(&object.data)?;
            deflate.flush()
        };
        write(&mut self.file).map_err(Error::io("cannot write a pack"))?;
        self.count += 1;
        Ok(())
    }

    /// Completes the pack under its name and gives its `.keep`, which is there before the pack can be seen.
    fn finish(self, repo: &Repo, durability: Durability) -> Result<PathBuf> {
        let io = || Error::io("cannot write a pack");
        let mut temp = self.file.into_inner().map_err(|error| io()(error.into_error()))?;
        temp.seek(SeekFrom::Start(8)).map_err(io())?;
        temp.write_all(&self.count.to_be_bytes()).map_err(io())?;
        let checksum = checksum(temp.as_file_mut(), repo.object_hash())?;
        temp.seek(SeekFrom::End(0)).map_err(io())?;
        temp.write_all(checksum.as_slice()).map_err(io())?;
        temp.as_file()
            .set_permissions(fs::Permissions::from_mode(0o444))
            .map_err(io())?;
        if durability == Durability::Durable {
            temp.as_file().sync_all().map_err(io())?;
        }
        let dir = repo.common_dir().join("objects/pack");
        let keep = dir.join(format!("pack-{checksum}.keep"));
        fs::write(&keep, KEEP).map_err(io())?;
        let pack = dir.join(format!("pack-{checksum}.pack"));
        temp.persist(&pack).map_err(|error| io()(error.error))?;
        // Until the index is there, git doesn't see the pack.
        repo.git()?.arg("index-pack").arg(&pack).run()?;
        if durability == Durability::Durable {
            sync(&dir)?;
        }
        Ok(keep)
    }
}

fn checksum(file: &mut File, hash: gix::hash::Kind) -> Result<ObjectId> {
    let io = || Error::io("cannot read a pack");
    file.seek(SeekFrom::Start(0)).map_err(io())?;
    let mut hasher = gix::hash::hasher(hash);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(io())?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    hasher.try_finalize().map_err(Error::gix("cannot hash a pack"))
}

/// Writes objects and then makes them reachable by `move_refs`, so that no garbage collection takes them away.
pub fn publish<T>(
    repo: &Repo,
    objects: Vec<Object>,
    durability: Durability,
    move_refs: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut batch = Batch::new(repo, durability);
    for object in objects {
        batch.add(object)?;
    }
    let kept = batch.finish()?;
    let moved = move_refs()?;
    kept.release(repo)?;
    Ok(moved)
}
