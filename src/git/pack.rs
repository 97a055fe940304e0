//! Packs that we write, kept from garbage collection while they are new.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;

use gix::ObjectId;
use gix::objs::Kind;
use tempfile::NamedTempFile;

use super::batch::FileError;
use super::objects::{self, Object, sync};
use super::packs::{KEEP, TEMPORARY, mark};
use super::{Durability, Error, Repo, Result};

/// A pack that is being written.
pub struct PackFile {
    sink: Rc<RefCell<Sink>>,
    /// One compressor for all objects: making one costs more than a small object does.
    deflate: gix::zlib::stream::deflate::Write<Shared>,
    hash: gix::hash::Kind,
    entries: Vec<Indexed>,
}

/// What an index says of an object.
struct Indexed {
    id: ObjectId,
    /// Of the object as it is in the pack.
    crc: u32,
    offset: u64,
}

/// The file, with what the index needs to know of the bytes that went into it.
struct Sink {
    file: BufWriter<NamedTempFile>,
    length: u64,
    crc: crc32fast::Hasher,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(bytes)?;
        self.crc.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// The compressor's way to the file, which headers take too.
struct Shared(Rc<RefCell<Sink>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.borrow_mut().flush()
    }
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
        let file = BufWriter::with_capacity(1 << 16, temp);
        let mut sink = Sink {
            file,
            length: 0,
            crc: crc32fast::Hasher::new(),
        };
        // The number of objects is filled in at the end.
        sink.write_all(b"PACK\0\0\0\x02\0\0\0\0").map_err(io())?;
        let sink = Rc::new(RefCell::new(sink));
        let inner = Shared(Rc::clone(&sink));
        let deflate = gix::zlib::stream::deflate::Write::new(inner, gix::zlib::Compression::BEST_SPEED);
        Ok(PackFile {
            sink,
            deflate,
            hash: repo.object_hash(),
            entries: Vec::new(),
        })
    }

    /// Adds an object.
    pub fn put(&mut self, object: &Object) -> Result<()> {
        let id = objects::hash(self.hash, object)?;
        let io = || Error::io("cannot write a pack");
        let offset = self
            .start(&header(object.kind, object.data.len() as u64))
            .map_err(io())?;
        self.deflate
            .write_all(&object.data)
            .and_then(|()| self.deflate.flush())
            .map_err(io())?;
        self.end(id, offset);
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
        let offset = self.start(&header(Kind::Blob, size)).map_err(io)?;
        let deflate = &mut self.deflate;
        each_chunk(file, size, |chunk| {
            hasher.update(chunk);
            deflate.write_all(chunk).map_err(io)
        })?;
        deflate.flush().map_err(io)?;
        let read = hasher
            .try_finalize()
            .map_err(|error| FileError::Read(std::io::Error::other(error)))?;
        self.end(read, offset);
        if read == id {
            return Ok(());
        }
        // The pack has another object now than the tree will name.
        Err(FileError::Git(Error::Malformed(
            "a file changed while it was saved".to_owned(),
        )))
    }

    /// Writes an object's header; gives the place where it begins.
    fn start(&mut self, header: &[u8]) -> std::io::Result<u64> {
        self.deflate.reset();
        let mut sink = self.sink.borrow_mut();
        sink.crc.reset();
        let offset = sink.length;
        sink.write_all(header)?;
        Ok(offset)
    }

    fn end(&mut self, id: ObjectId, offset: u64) {
        let crc = self.sink.borrow().crc.clone().finalize();
        self.entries.push(Indexed { id, crc, offset });
    }

    /// Completes the pack under its name and gives its `.keep`, which is there before the pack can be seen.
    pub fn finish(self, repo: &Repo, durability: Durability) -> Result<PathBuf> {
        let io = || Error::io("cannot write a pack");
        let PackFile {
            sink,
            deflate,
            hash,
            mut entries,
        } = self;
        drop(deflate);
        let sink =
            Rc::into_inner(sink).ok_or_else(|| Error::Malformed("a pack is still written to".to_owned()))?;
        let mut temp = sink
            .into_inner()
            .file
            .into_inner()
            .map_err(|error| io()(error.into_error()))?;
        let count =
            u32::try_from(entries.len()).map_err(|_| Error::Malformed("too many objects".to_owned()))?;
        temp.seek(SeekFrom::Start(8)).map_err(io())?;
        temp.write_all(&count.to_be_bytes()).map_err(io())?;
        let checksum = checksum(temp.as_file_mut(), hash)?;
        temp.seek(SeekFrom::End(0)).map_err(io())?;
        temp.write_all(checksum.as_slice()).map_err(io())?;
        let dir = repo.common_dir().join("objects/pack");
        entries.sort_by_key(|entry| entry.id);
        let mut index = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&dir)
            .map_err(io())?;
        index
            .write_all(&index_of(&entries, checksum, hash)?)
            .map_err(io())?;
        for file in [temp.as_file(), index.as_file()] {
            file.set_permissions(fs::Permissions::from_mode(0o444))
                .map_err(io())?;
            if durability == Durability::Durable {
                file.sync_all().map_err(io())?;
            }
        }
        let name = format!("pack-{checksum}");
        let keep = dir.join(format!("{name}.keep"));
        fs::write(&keep, KEEP).map_err(io())?;
        temp.persist(dir.join(format!("{name}.pack")))
            .map_err(|error| io()(error.error))?;
        // Until the index is there, git doesn't see the pack.
        index
            .persist(dir.join(format!("{name}.idx")))
            .map_err(|error| io()(error.error))?;
        mark(repo, &name)?;
        if durability == Durability::Durable {
            sync(&dir)?;
        }
        Ok(keep)
    }
}

/// The index of a pack in version 2, as in gitformat-pack(5); the entries are in order.
fn index_of(entries: &[Indexed], pack: ObjectId, hash: gix::hash::Kind) -> Result<Vec<u8>> {
    /// Offsets from here on are in a table of their own.
    const FAR: u64 = 1 << 31;
    let mut out = b"\xfftOc\0\0\0\x02".to_vec();
    let mut counts = [0u32; 256];
    for entry in entries {
        counts[usize::from(entry.id.first_byte())] += 1;
    }
    let mut sum = 0;
    for count in counts {
        sum += count;
        out.extend_from_slice(&sum.to_be_bytes());
    }
    entries
        .iter()
        .for_each(|entry| out.extend_from_slice(entry.id.as_slice()));
    entries
        .iter()
        .for_each(|entry| out.extend_from_slice(&entry.crc.to_be_bytes()));
    let mut far: Vec<u64> = Vec::new();
    for entry in entries {
        let place = if entry.offset < FAR {
            entry.offset as u32
        } else {
            far.push(entry.offset);
            FAR as u32 | (far.len() - 1) as u32
        };
        out.extend_from_slice(&place.to_be_bytes());
    }
    far.iter()
        .for_each(|offset| out.extend_from_slice(&offset.to_be_bytes()));
    out.extend_from_slice(pack.as_slice());
    let mut hasher = gix::hash::hasher(hash);
    hasher.update(&out);
    let checksum = hasher
        .try_finalize()
        .map_err(Error::gix("cannot hash an index"))?;
    out.extend_from_slice(checksum.as_slice());
    Ok(out)
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
