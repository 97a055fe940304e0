//! Newest events kept together in one file, so that a list opens one file rather than one a session.
//!
//! It is filled by whoever writes an event, never by readers, and may be deleted at any time. What is in it are the
//! commits themselves, each with a checksum, so that what a crash left half written is not believed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::hashtable::HashMap;

use crate::git::{self, Repo};

/// How much the file may grow beyond twice what was in it when it was last tidied, in bytes.
const SLACK: u64 = 4 << 20;
/// From how many bytes on the file is large.
const LARGE: u64 = 256 << 10;
/// About how long a record is, in bytes.
const USUAL: usize = 700;
const HEADER: &str = "newest events: ";

/// What the file holds.
#[derive(Default)]
pub struct Cache {
    content: Vec<u8>,
    commits: HashMap<ObjectId, (Range<usize>, u32)>,
}

fn path(repo: &Repo) -> PathBuf {
    repo.local_dir().join("cache/events")
}

impl Cache {
    /// Whether reading it is worth a thread of its own.
    pub fn is_large(repo: &Repo) -> bool {
        fs::metadata(path(repo)).is_ok_and(|file| file.len() > LARGE)
    }

    /// Reads it; one that isn't there, or is damaged, holds less or nothing.
    pub fn read(repo: &Repo) -> Cache {
        let Ok(content) = fs::read(path(repo)) else {
            return Cache::default();
        };
        let mut commits = HashMap::default();
        commits.reserve(content.len() / USUAL);
        let mut at = content.find_byte(b'\n').map_or(content.len(), |end| end + 1);
        // A record is a line with id, length and checksum, then as many bytes and a newline.
        while let Some(end) = content[at..].find_byte(b'\n').map(|end| at + end) {
            let mut words = content[at..end].split(|byte| *byte == b' ');
            let id = words.next().and_then(|hex| ObjectId::from_hex(hex).ok());
            let length = words
                .next()
                .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
            let crc = words
                .next()
                .and_then(|crc| crc.to_str().ok()?.parse::<u32>().ok());
            let (Some(id), Some(length), Some(crc)) = (id, length, crc) else {
                break;
            };
            let next = length.checked_add(2).and_then(|length| end.checked_add(length));
            let Some(next) = next.filter(|next| *next <= content.len()) else {
                break;
            };
            commits.insert(id, (end + 1..end + 1 + length, crc));
            at = next;
        }
        Cache { content, commits }
    }

    /// Where a commit stands in the order in which they were written here.
    pub fn place(&self, id: &ObjectId) -> Option<usize> {
        Some(self.commits.get(id)?.0.start)
    }

    /// Gives a commit's content, if it is here whole.
    pub fn get(&self, id: &ObjectId) -> Option<&[u8]> {
        let (range, crc) = self.commits.get(id)?;
        let data = self.content.get(range.clone())?;
        (crc32fast::hash(data) == *crc).then_some(data)
    }
}

/// Adds commits. That they can't be written only makes a list slower.
pub fn add(repo: &Repo, commits: &[(ObjectId, Vec<u8>)], tips: impl FnOnce() -> Vec<ObjectId>) {
    let path = path(repo);
    if commits.is_empty() || !path.parent().is_some_and(Path::is_dir) {
        return;
    }
    let append = || -> std::io::Result<u64> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        let mut bytes = Vec::new();
        if file.metadata()?.len() == 0 {
            bytes.extend_from_slice(format!("{HEADER}0\n").as_bytes());
        }
        for (id, commit) in commits {
            bytes.extend_from_slice(&record(*id, commit));
        }
        file.write_all(&bytes)?;
        Ok(file.metadata()?.len())
    };
    if let Ok(length) = append()
        && length > SLACK
    {
        tidy(repo, &path, length, tips);
    }
}

fn record(id: ObjectId, commit: &[u8]) -> Vec<u8> {
    let head = format!("{id} {} {}\n", commit.len(), crc32fast::hash(commit));
    [head.as_bytes(), commit, b"\n"].concat()
}

/// Writes the file anew with the newest events alone, once it has grown enough.
fn tidy(repo: &Repo, path: &Path, length: u64, tips: impl FnOnce() -> Vec<ObjectId>) {
    let tidied = tidied(path).unwrap_or(0);
    if length <= tidied.saturating_mul(2).saturating_add(SLACK) {
        return;
    }
    let cache = Cache::read(repo);
    // What stands on a remote, too, is often the same.
    let mut tips = tips();
    tips.sort_unstable_by_key(|id| (cache.place(id), *id));
    tips.dedup();
    let records: Vec<u8> = tips
        .into_iter()
        .filter_map(|id| Some(record(id, cache.get(&id)?)))
        .flatten()
        .collect();
    // As above: nothing but time is lost.
    let _ = replace(path, &records);
}

/// How long the file was when it was tidied, by its first line.
fn tidied(path: &Path) -> Option<u64> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(64).read_to_end(&mut start).ok()?;
    let header = start.lines().next()?;
    header
        .strip_prefix(HEADER.as_bytes())?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn replace(path: &Path, records: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temp = tempfile::NamedTempFile::new_in(dir)?;
    temp.write_all(format!("{HEADER}{}\n", records.len()).as_bytes())?;
    temp.write_all(records)?;
    temp.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Names the commits whose content in the file is another one's: the checksums only tell what a crash did.
pub fn false_ones(repo: &Repo) -> Vec<ObjectId> {
    let cache = Cache::read(repo);
    let is_false = |id: &ObjectId| {
        let content = cache.get(id)?;
        let right = gix::objs::compute_hash(id.kind(), gix::objs::Kind::Commit, content).ok()?;
        (right != *id).then_some(())
    };
    let mut found: Vec<ObjectId> = cache.commits.keys().copied().collect();
    found.retain(|id| is_false(id).is_some());
    found.sort();
    found
}

/// Writes the file anew with these commits.
pub fn rebuild(repo: &Repo, commits: &[(ObjectId, Vec<u8>)]) -> git::Result<()> {
    let path = path(repo);
    if !path.parent().is_some_and(Path::is_dir) {
        return Ok(());
    }
    let records: Vec<u8> = commits
        .iter()
        .flat_map(|(id, commit)| record(*id, commit))
        .collect();
    replace(&path, &records).map_err(git::Error::io(format!("cannot write '{}'", path.display())))
}
