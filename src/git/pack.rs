//! Packs that we write: kept from garbage collection while they are new, and merged when there are many.

use std::fs::{self, DirBuilder, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::objs::Kind;
use rustix::fs::FlockOperation;
use tempfile::NamedTempFile;

use super::batch::FileError;
use super::objects::{Object, sync};
use super::{Durability, Error, Repo, Result};

/// What a `.keep` of ours says.
const KEEP: &[u8] = b"git-session: kept until the snapshot is published\n";
/// The beginning of the name of a pack that is being written. Not `tmp_`: such files are taken away by `git prune`.
const TEMPORARY: &str = "git-session_pack_";
/// How often git is asked to index a pack.
const TRIES: usize = 10;
/// How many small packs of ours are merged; `git gc --auto` begins at 50 of anybody's.
const MANY: usize = 16;
/// Packs from this size on are left alone.
const LARGE: u64 = 32 << 20;

/// A pack that is being written.
pub struct PackFile {
    file: BufWriter<NamedTempFile>,
    count: u32,
}

impl PackFile {
    /// Begins without an object.
    pub fn begin(repo: &Repo) -> Result<PackFile> {
        let dir = repo.common_dir().join("objects/pack");
        let io = || Error::io(format!("cannot write to '{}'", dir.display()));
        fs::create_dir_all(&dir).map_err(io())?;
        let temp = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&dir)
            .map_err(io())?;
        let mut file = BufWriter::with_capacity(1 << 16, temp);
        // The number of objects is filled in at the end.
        file.write_all(b"PACK\0\0\0\x02\0\0\0\0").map_err(io())?;
        Ok(PackFile { file, count: 0 })
    }

    /// Adds an object.
    pub fn put(&mut self, object: &Object) -> Result<()> {
        let header = header(object.kind, object.data.len() as u64);
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

    /// Adds a blob from a file whose size and id are known, without holding it in memory.
    pub fn put_file(
        &mut self,
        file: &mut File,
        size: u64,
        id: ObjectId,
    ) -> std::result::Result<(), FileError> {
        let io = |error| FileError::Git(Error::io("cannot write a pack")(error));
        let mut hasher = blob_hasher(size, id.kind());
        self.file.write_all(&header(Kind::Blob, size)).map_err(io)?;
        let mut deflate =
            gix::zlib::stream::deflate::Write::new(&mut self.file, gix::zlib::Compression::BEST_SPEED);
        each_chunk(file, size, |chunk| {
            hasher.update(chunk);
            deflate.write_all(chunk).map_err(io)
        })?;
        deflate.flush().map_err(io)?;
        self.count += 1;
        let read = hasher
            .try_finalize()
            .map_err(|error| FileError::Read(std::io::Error::other(error)))?;
        if read == id {
            return Ok(());
        }
        // The pack has another object now than the tree will name.
        Err(FileError::Git(Error::Malformed(
            "a file changed while it was saved".to_owned(),
        )))
    }

    /// Completes the pack under its name and gives its `.keep`, which is there before the pack can be seen.
    pub fn finish(self, repo: &Repo, durability: Durability) -> Result<PathBuf> {
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
        index(repo, &pack)?;
        let name = format!("pack-{checksum}");
        mark(repo, &name)?;
        if durability == Durability::Durable {
            sync(&dir)?;
        }
        Ok(keep)
    }
}

/// Makes the index of a pack. A collection beside may take git's temporary files away, so it is tried again.
fn index(repo: &Repo, pack: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        // Large blobs are streamed here too.
        let git = repo.git_with(&[("core.bigFileThreshold", "16m")])?;
        match git.arg("index-pack").arg(pack).run() {
            Err(_) if tries < TRIES => tries += 1,
            done => return done.map(|_| ()),
        }
    }
}

/// The beginning of an object in a pack: its kind and size.
fn header(kind: Kind, mut size: u64) -> Vec<u8> {
    let kind: u8 = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut header = vec![(kind << 4) | (size & 0x0f) as u8];
    size >>= 4;
    while size > 0 {
        if let Some(last) = header.last_mut() {
            *last |= 0x80;
        }
        header.push((size & 0x7f) as u8);
        size >>= 7;
    }
    header
}

fn blob_hasher(size: u64, hash: gix::hash::Kind) -> gix::hash::Hasher {
    let mut hasher = gix::hash::hasher(hash);
    hasher.update(format!("blob {size}\0").as_bytes());
    hasher
}

/// The id that a file of that size has as a blob.
pub fn hash_file(
    file: &mut File,
    size: u64,
    hash: gix::hash::Kind,
) -> std::result::Result<ObjectId, FileError> {
    let mut hasher = blob_hasher(size, hash);
    each_chunk(file, size, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    hasher
        .try_finalize()
        .map_err(|error| FileError::Read(std::io::Error::other(error)))
}

/// Reads a file from its beginning to its end, which must be where it was.
fn each_chunk(
    file: &mut File,
    size: u64,
    mut act: impl FnMut(&[u8]) -> std::result::Result<(), FileError>,
) -> std::result::Result<(), FileError> {
    let changed = || FileError::Git(Error::Malformed("a file changed while it was saved".to_owned()));
    file.seek(SeekFrom::Start(0)).map_err(FileError::Read)?;
    let mut buffer = vec![0; 1 << 16];
    let mut left = size;
    loop {
        let count = file.read(&mut buffer).map_err(FileError::Read)?;
        if count == 0 {
            return if left == 0 { Ok(()) } else { Err(changed()) };
        }
        left = left.checked_sub(count as u64).ok_or_else(changed)?;
        act(&buffer[..count])?;
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

/// Where the packs that are ours are known by empty files of their names. Beside the packs, git would take such files
/// for garbage.
fn marks(repo: &Repo) -> PathBuf {
    repo.local_dir().join("packs")
}

fn mark(repo: &Repo, name: &str) -> Result<()> {
    let dir = marks(repo);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.and_then(|()| File::create(dir.join(name)))
        .map(|_| ())
        .map_err(Error::io(format!("cannot write to '{}'", dir.display())))
}

/// Cleans up behind killed processes of ours, and merges our small packs once there are many.
///
/// Neither has to succeed: the next one tries again.
pub fn tidy(repo: &Repo) {
    let dir = repo.common_dir().join("objects/pack");
    remove_leftovers(&dir);
    let mut small: Vec<String> = Vec::new();
    let Ok(marks) = fs::read_dir(marks(repo)) else {
        return;
    };
    for mark in marks.flatten() {
        let name = mark.file_name().to_string_lossy().into_owned();
        if !name.starts_with("pack-") {
            continue;
        }
        match fs::metadata(dir.join(format!("{name}.pack"))) {
            Ok(meta) if meta.len() < LARGE && !dir.join(format!("{name}.keep")).exists() => small.push(name),
            Ok(_) => {}
            Err(_) => drop(fs::remove_file(mark.path())),
        }
    }
    if small.len() >= MANY {
        let _ = merge(repo, &dir, &small);
    }
}

/// Makes one pack of several, and removes these only when it is there.
fn merge(repo: &Repo, dir: &Path, names: &[String]) -> Result<()> {
    let lock = marks(repo).join("lock");
    let lock = File::create(&lock).map_err(Error::io(format!("'{}'", lock.display())))?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let input: String = names.iter().map(|name| format!("{name}.pack\n")).collect();
    // If a collection takes one of the packs away meanwhile, git says so and nothing is changed.
    let output = repo
        .git()?
        .args(["pack-objects", "--quiet", "--stdin-packs"])
        .arg(dir.join("pack"))
        .input(input)
        .run()?;
    let merged = format!("pack-{}", String::from_utf8_lossy(&output).trim());
    if !dir.join(format!("{merged}.idx")).exists() {
        return Ok(());
    }
    mark(repo, &merged)?;
    for name in names.iter().filter(|name| **name != merged) {
        // The index first: without it git doesn't see the pack.
        for extension in ["idx", "pack", "rev"] {
            let _ = fs::remove_file(dir.join(format!("{name}.{extension}")));
        }
        let _ = fs::remove_file(marks(repo).join(name));
    }
    Ok(())
}

/// Removes `.keep` files and unfinished packs that killed processes of ours left, once they are an hour old.
fn remove_leftovers(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_keep = path.extension().is_some_and(|extension| extension == "keep");
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let old = || {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 3600))
        };
        let ours = || is_unfinished || fs::read(&path).is_ok_and(|content| content == KEEP);
        if (is_keep || is_unfinished) && old() && ours() {
            let _ = fs::remove_file(path);
        }
    }
}
