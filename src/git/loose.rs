//! Loose objects, written without compression: an event fits a disk block either way, and a compressor's buffers cost
//! more time than all the rest.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gix::zlib::{Compression, Inflate, Status};
use tempfile::NamedTempFile;

use super::objects::Object;
use super::{Error, Result};

/// Content from this size on is compressed after all.
const LARGE: usize = 16 * 1024;
/// What is read by ourselves is smaller than this, both as it is stored and as it is, with its header.
const SMALL: usize = 8 * 1024;
/// The most that one stored block holds (RFC 1951, 3.2.4).
const BLOCK: usize = 0xffff;

/// Writes an object that isn't there yet, under its name from its first moment; tells whether its directory is new.
pub fn write(path: &Path, object: &Object) -> Result<bool> {
    let io = || Error::io(format!("cannot write '{}'", path.display()));
    let header = format!("{} {}\0", object.kind, object.data.len());
    let content = [header.as_bytes(), &object.data].concat();
    let (mut temp, is_new) = temporary(path.parent().unwrap_or(path)).map_err(io())?;
    if content.len() < LARGE {
        temp.write_all(&stored(&content)).map_err(io())?;
    } else {
        let mut deflate = gix::zlib::stream::deflate::Write::new(&mut temp, Compression::BEST_SPEED);
        deflate
            .write_all(&content)
            .and_then(|()| deflate.flush())
            .map_err(io())?;
    }
    temp.persist(path).map_err(|error| io()(error.error))?;
    Ok(is_new)
}

/// Makes a file in an object's directory, and that directory where it is missing.
fn temporary(dir: &Path) -> io::Result<(NamedTempFile, bool)> {
    let make = || {
        tempfile::Builder::new()
            // git removes leftovers of that name.
            .prefix("tmp_obj_")
            .permissions(fs::Permissions::from_mode(0o444))
            .tempfile_in(dir)
    };
    match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::create_dir(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok((make()?, true)),
        },
        made => Ok((made?, false)),
    }
}

/// Reads a small object; none if it isn't there, or is anything that gix has to look at.
pub fn read(path: &Path) -> Option<Object> {
    let mut file = [0; SMALL];
    let length = File::open(path).ok()?.read(&mut file).ok()?;
    let stream = file.get(..length).filter(|_| length < SMALL)?;
    let mut content = [0; SMALL];
    // One decompressor serves many objects; making it takes longer than one of them.
    let length = INFLATE.with_borrow_mut(|inflate| {
        inflate.reset();
        match inflate.once(stream, &mut content) {
            Ok((Status::StreamEnd, _, length)) => Some(length),
            _ => None,
        }
    })?;
    let content = &content[..length];
    let (kind, size, header) = gix::objs::decode::loose_header(content).ok()?;
    let data = content.get(header..)?;
    (data.len() as u64 == size).then(|| Object {
        kind,
        data: data.to_owned(),
    })
}

thread_local! {
    static INFLATE: RefCell<Inflate> = RefCell::default();
}

/// A zlib stream of stored blocks (RFC 1950 and 1951).
fn stored(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    out.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = content.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        // A block is at most 0xffff long.
        let length = (block.len() as u16).to_le_bytes();
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length);
        out.extend_from_slice(&length.map(|byte| !byte));
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler32(content).to_be_bytes());
    out
}

fn adler32(content: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    use super::*;
    use gix::objs::Kind;

    #[test]
    fn what_is_written_is_read_back_by_gix() {
        let dir = tempfile::tempdir().unwrap();
        let hash = gix::hash::Kind::Sha1;
        let store = gix::odb::loose::Store::at(dir.path(), hash);
        for size in [0, 1, 700, LARGE - 20, LARGE, 200_000] {
            let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let object = Object {
                kind: Kind::Blob,
                data,
            };
            let id = super::super::objects::hash(hash, &object).unwrap();
            write(&store.object_path(&id), &object).unwrap();
            let mut buffer = Vec::new();
            let found = store.try_find(&id, &mut buffer).unwrap().unwrap();
            assert_eq!(found.data, object.data, "{size}");
            match read(&store.object_path(&id)) {
                Some(found) => assert!(found.data == object.data && found.kind == object.kind, "{size}"),
                None => assert!(size >= SMALL - 20, "{size}"),
            }
            let mut head = [0; 2];
            fs::File::open(store.object_path(&id))
                .unwrap()
                .read_exact(&mut head)
                .unwrap();
            assert_eq!(u16::from_be_bytes(head) % 31, 0);
        }
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_left_to_gix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        assert!(read(&path).is_none());
        let whole = stored(b"blob 4\0text");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).is_none(), "{cut}");
        }
        for wrong in [&b"blob 5\0text"[..], b"blob 3\0text", b"blob text", b""] {
            fs::write(&path, stored(wrong)).unwrap();
            assert!(read(&path).is_none(), "{wrong:?}");
        }
        let mut changed = whole.clone();
        changed[15] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(read(&path).is_none());
    }
}
