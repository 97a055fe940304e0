//! Many new values at once in the files backend: one rewrite of `packed-refs`, without a file for each.
//!
//! The flock behind our locks keeps all other updates of ours away. Others lock each reference by itself, which would
//! cost as much as writing each by itself. So none is locked here. Instead each is looked at again when the new values
//! are visible: whoever read a reference before that still has its lock by then, or has written a loose file, which
//! counts before ours; whoever locks it later reads what we wrote.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::objs::Kind;

use super::files;
use super::lock::{Directories, HOLDER, Lock, PATIENCE, hold};
use super::packed::{PACKED, Packed, entry};
use super::temporary::temporary;
use super::{Change, Expected, Outcome, Target};
use crate::git::{Durability, Error, Repo, Result};

/// How a `packed-refs` begins whose entries have peeled values where they can have any, and are in order.
const HEADER: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";

/// Makes those of the updates at these places that can be made together; what is left for single updates has no
/// outcome.
pub fn update(
    repo: &Repo,
    changes: &[Change],
    places: &[usize],
    durability: Durability,
    outcomes: &mut [Option<Result<Outcome>>],
) -> Result<()> {
    let common = repo.common_dir();
    let _ours = hold(common, &common.join(HOLDER), PACKED)?;
    let packed_path = common.join(PACKED);
    let lock = Lock::take(common, &packed_path, PACKED)?;
    let packed = Packed::read(common)?;
    if !packed.sorted && !packed.content.is_empty() {
        return Ok(());
    }
    let mut fit: Vec<(&str, ObjectId, usize)> = Vec::with_capacity(places.len());
    for place in candidates(changes, places) {
        let Change { name, new, expected } = &changes[place];
        // What isn't a commit may need a peeled value beside it.
        let Some(new) = new.filter(|new| kind(repo, *new) == Some(Kind::Commit)) else {
            continue;
        };
        // A loose file would have to be removed, for which it has to be locked; a lock may be one that stays.
        let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
        if is_there(common.join(name)) || is_there(common.join(format!("{name}.lock"))) {
            continue;
        }
        let outcome = match (packed.find(name), expected) {
            (None, Expected::Absent) if packed.bars(name) || is_barred(common, name) => continue,
            (None, Expected::Absent) => {
                fit.push((name, new, place));
                continue;
            }
            (Some(Target::Object(actual)), Expected::At(oid)) if actual == *oid => {
                fit.push((name, new, place));
                continue;
            }
            (Some(Target::Object(actual)), _) => Outcome::Moved(Some(actual)),
            _ => Outcome::Moved(None),
        };
        outcomes[place] = Some(Ok(outcome));
    }
    if fit.is_empty() {
        return Ok(());
    }
    fit.sort_unstable();
    write(common, &packed_path, &packed, &fit, durability)?;
    drop(lock);
    for (name, new, place) in fit {
        outcomes[place] = Some(settled(common, repo.object_hash(), name, new));
    }
    Ok(())
}

/// The places of updates that none of the others gets in the way of.
fn candidates(changes: &[Change], places: &[usize]) -> Vec<usize> {
    let mut names = HashSet::with_capacity(places.len());
    let mut twice = HashSet::new();
    for place in places {
        let name = changes[*place].name.as_str();
        if !names.insert(name) {
            twice.insert(name);
        }
    }
    let is_alone = |place: &&usize| {
        let name = changes[**place].name.as_str();
        let mut above = name.match_indices('/').map(|(at, _)| &name[..at]);
        !twice.contains(name) && !above.any(|parent| names.contains(parent))
    };
    places.iter().filter(is_alone).copied().collect()
}

fn kind(repo: &Repo, id: ObjectId) -> Option<Kind> {
    Some(repo.gix().try_find_header(id).ok()??.kind())
}

/// Whether a loose reference is where a directory would have to be.
fn is_barred(common: &Path, name: &str) -> bool {
    let mut above = name.match_indices('/').map(|(at, _)| &name[..at]);
    above.any(|parent| common.join(parent).is_file())
}

/// Writes `packed-refs` with these values, which are in order.
fn write(
    common: &Path,
    path: &Path,
    packed: &Packed,
    values: &[(&str, ObjectId, usize)],
    durability: Durability,
) -> Result<()> {
    let mut content = Vec::with_capacity(packed.content.len() + 128 * values.len());
    if packed.content.is_empty() {
        content.extend_from_slice(HEADER);
    }
    let mut values = values.iter().peekable();
    let mut replaced = false;
    for line in packed.content.lines_with_terminator() {
        match entry(line.trim_end_with(|c| c == '\n')) {
            Some((name, _)) => {
                while let Some((new, oid, _)) = values.next_if(|(new, ..)| new.as_bytes() < name) {
                    content.extend_from_slice(format!("{oid} {new}\n").as_bytes());
                }
                // Its own turn comes before the next name's.
                replaced = values.peek().is_some_and(|(new, ..)| new.as_bytes() == name);
            }
            // A peeled value goes with the reference before it.
            None if line.starts_with(b"^") => {}
            None => replaced = false,
        }
        if !replaced {
            content.extend_from_slice(line);
        }
    }
    for (new, oid, _) in values {
        content.extend_from_slice(format!("{oid} {new}\n").as_bytes());
    }
    let io = || Error::io(format!("cannot write '{}'", path.display()));
    let mut temp = temporary(common)?;
    temp.write_all(&content).map_err(io())?;
    if durability == Durability::Durable {
        temp.as_file().sync_all().map_err(io())?;
    }
    temp.persist(path).map_err(|error| io()(error.error))?;
    files::sync_dirs(common, path, Directories::Old, durability)
}

/// What is true of a new value that is visible by now.
fn settled(common: &Path, hash: gix::hash::Kind, name: &str, new: ObjectId) -> Result<Outcome> {
    let path = common.join(name);
    let lock = common.join(format!("{name}.lock"));
    let start = Instant::now();
    // The lock first: it becomes the loose file in one step.
    while lock.symlink_metadata().is_ok() {
        if start.elapsed() >= PATIENCE {
            return Err(Error::Locked {
                name: name.to_owned(),
                path: lock,
            });
        }
        thread::sleep(Duration::from_millis(1));
    }
    if path.symlink_metadata().is_err() {
        return Ok(Outcome::Done);
    }
    match files::loose(&path, hash)? {
        // Somebody else made it, and would have lost against ours.
        Some(Target::Object(actual)) if actual != new => Ok(Outcome::Moved(Some(actual))),
        Some(Target::Symbolic(_) | Target::Broken) => Ok(Outcome::Moved(None)),
        _ => Ok(Outcome::Done),
    }
}
