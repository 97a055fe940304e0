//! The reftable backend: all through git, which alone knows the format; retries on contention are ours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::{Change, Expected, Outcome, Reference, Target, abandoned};
use crate::git::command::{Cmd, refused};
use crate::git::repo::parse_oid;
use crate::git::{Durability, Error, Repo, Result};

/// How long a lock of others is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn get(repo: &Repo, name: &str) -> Result<Option<Target>> {
    // The pattern also matches what is below the name.
    Ok(for_each(repo, name)?
        .into_iter()
        .find(|found| found.name == name)
        .map(|found| found.target))
}

/// Whether a reference is a symbolic one, also to one that doesn't exist: git neither lists such a one nor minds
/// replacing it.
fn is_symbolic(repo: &Repo, name: &str) -> Result<bool> {
    let output = repo.git()?.args(["symbolic-ref", "--quiet", name]).output()?;
    Ok(output.status.success())
}

pub fn list(repo: &Repo, prefix: &str) -> Result<Vec<Reference>> {
    for_each(repo, prefix)
}

fn for_each(repo: &Repo, pattern: &str) -> Result<Vec<Reference>> {
    let output = repo
        .git()?
        .args(["for-each-ref", "--format=%(refname)%00%(objectname)%00%(symref)"])
        .arg(pattern)
        .run()?;
    let mut found = Vec::new();
    for line in output.lines() {
        let mut parts = line.split(|byte| *byte == 0);
        let (Some(name), Some(oid), Some(symref)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let target = match (symref.is_empty(), parse_oid(oid)) {
            (false, _) => Target::Symbolic(symref.into()),
            (true, Some(oid)) if !oid.is_null() => Target::Object(oid),
            _ => Target::Broken,
        };
        found.push(Reference {
            name: name.into(),
            target,
        });
    }
    Ok(found)
}

pub fn detach(repo: &Repo, git_dir: &Path, at: ObjectId, why: &str) -> Result<()> {
    repo.git_in(git_dir)?
        .apart()
        .arg("--git-dir")
        .arg(git_dir)
        .args(["update-ref", "--no-deref", "-m", why, "HEAD"])
        .arg(at.to_string())
        .run()
        .map(|_| ())
}

pub fn update(
    repo: &Repo,
    name: &str,
    new: Option<ObjectId>,
    expected: Expected,
    durability: Durability,
) -> Result<Outcome> {
    if expected == Expected::Absent && is_symbolic(repo, name)? {
        return Ok(Outcome::Moved(None));
    }
    let command = command(repo, name, new, expected);
    let start = Instant::now();
    let (lock, mut watch) = (abandoned::lock(repo), abandoned::Watch::default());
    let mut pause = Duration::from_millis(2);
    loop {
        let output = fsync(repo, durability)?
            .args(["update-ref", "--no-deref", "--stdin", "-z"])
            .input(command.clone())
            .output()?;
        if output.status.success() {
            return Ok(Outcome::Done);
        }
        let actual = match get(repo, name)? {
            Some(Target::Object(oid)) => Some(oid),
            _ => None,
        };
        let as_expected = match expected {
            Expected::Absent => actual.is_none(),
            Expected::At(oid) => actual == Some(oid),
        };
        if !as_expected {
            return Ok(Outcome::Moved(actual));
        }
        let error = refused("update-ref".to_owned(), &output);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.contains("cannot create")
            || text.contains("conflict")
            || text.contains("there are still refs under")
        {
            return Err(Error::RefConflict(name.to_owned()));
        }
        // What is wrong by itself stays so; all else may be others at work on the tables.
        if let Some(id) = new.filter(|_| text.contains("nonexistent object")) {
            let name = name.to_owned();
            return Err(Error::NoSuchObject { name, id });
        }
        if text.contains("non-commit object") {
            return Err(error);
        }
        if start.elapsed() >= PATIENCE {
            return Err(match lock.exists() {
                true => Error::Locked {
                    name: name.to_owned(),
                    path: lock,
                },
                false => error,
            });
        }
        watch.look(&lock);
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// One update, as `git update-ref --stdin -z` reads it.
fn command(repo: &Repo, name: &str, new: Option<ObjectId>, expected: Expected) -> String {
    let old = match expected {
        Expected::Absent => repo.object_hash().null(),
        Expected::At(oid) => oid,
    };
    match new {
        Some(new) => format!("update {name}\0{new}\0{old}\0"),
        None => format!("delete {name}\0{old}\0"),
    }
}

/// Makes the updates at these places in as few transactions as there can be; what is left for [`update`] has no
/// outcome.
///
/// A transaction is made whole or not at all, so what is not as expected is sorted out first, and one that fails
/// all the same is tried in halves.
pub fn update_all(
    repo: &Repo,
    changes: &[Change],
    places: &[usize],
    durability: Durability,
    outcomes: &mut [Option<Result<Outcome>>],
) -> Result<()> {
    let now: HashMap<_, _> = for_each(repo, "refs/")?
        .into_iter()
        .map(|found| (found.name, found.target))
        .collect();
    let mut fit = Vec::with_capacity(places.len());
    for place in places {
        let change = &changes[*place];
        let actual = now.get(change.name.as_bytes().as_bstr());
        match (actual, change.expected) {
            (None, Expected::Absent) => fit.push(*place),
            (Some(Target::Object(actual)), Expected::At(oid)) if *actual == oid => fit.push(*place),
            (Some(Target::Object(actual)), _) => outcomes[*place] = Some(Ok(Outcome::Moved(Some(*actual)))),
            _ => outcomes[*place] = Some(Ok(Outcome::Moved(None))),
        }
    }
    let mut batches = vec![fit];
    // There is one lock for all.
    let mut locked: Option<PathBuf> = None;
    while let Some(batch) = batches.pop() {
        let Some((first, _)) = batch.split_first() else {
            continue;
        };
        if let Some(path) = &locked {
            for place in batch {
                let (name, path) = (changes[place].name.clone(), path.clone());
                outcomes[place] = Some(Err(Error::Locked { name, path }));
            }
            continue;
        }
        if batch.len() == 1 {
            let Change { name, new, expected } = &changes[*first];
            let outcome = update(repo, name, *new, *expected, durability);
            if let Err(Error::Locked { path, .. }) = &outcome {
                locked = Some(path.clone());
            }
            outcomes[*first] = Some(outcome);
            continue;
        }
        let all: String = batch
            .iter()
            .map(|place| &changes[*place])
            .map(|change| command(repo, &change.name, change.new, change.expected))
            .collect();
        let output = fsync(repo, durability)?
            .args(["update-ref", "--no-deref", "--stdin", "-z"])
            .input(all)
            .output()?;
        if output.status.success() {
            for place in batch {
                outcomes[place] = Some(Ok(Outcome::Done));
            }
        } else {
            let (one, two) = batch.split_at(batch.len() / 2);
            batches.extend([two.to_vec(), one.to_vec()]);
        }
    }
    Ok(())
}

/// git for a change, which is as durable as that.
fn fsync(repo: &Repo, durability: Durability) -> Result<Cmd> {
    let components = match durability {
        Durability::Durable => "loose-object,pack,pack-metadata,reference",
        Durability::Relaxed => "none",
    };
    Ok(repo.git_with(&[("core.fsync", components)])?.apart())
}
