//! Puts a snapshot back into a worktree that was made for it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use gix::bstr::{BStr, ByteSlice};

use super::bring_back::{ALL, bring_back, bring_back_nested, bring_back_state, half_done};
use super::find::Finder;
use super::manifest::{Name, SUBMODULES};
use super::store::{Within, apply, contained, write_file};
use super::{Source, Unsaved, Work, elsewhere, midst, modules, read};
use crate::git::objects;
use crate::git::repo::{RefFormat, parse_oid};
use crate::git::{Repo, Result, worktree};

/// What was put back.
#[derive(Debug, Default)]
pub struct Restored {
    /// What could not be, by name.
    pub unrestored: Vec<Unsaved>,
}

/// Puts a work commit back: index, files, what was half done, and the state directory.
///
/// The worktree is new, made at the work's HEAD without files. Tracked files that were unmodified go through git's
/// filters as with any checkout; all others are written byte for byte.
pub fn restore(
    repo: &Repo,
    work: gix::ObjectId,
    source: Source,
    path: &Path,
    state_dir: Option<&Path>,
) -> Result<Restored> {
    let mut work = read(repo, work)?;
    if source == Source::Elsewhere {
        let manifest = &mut work.manifest;
        manifest
            .directories
            .values_mut()
            .chain([&mut manifest.odd])
            .for_each(elsewhere::tame);
    }
    let mut lost = Vec::new();
    let found = worktree::at(repo, path)?;
    if let Some(found) = &found {
        lost.extend(half_done(repo, &work, source, path, &found.git_dir)?);
    }
    lost.extend(checkout(repo, &work, path)?);
    for Name(gone) in &work.manifest.deleted {
        match contained(path, gone.as_ref(), Within::Worktree) {
            Ok(place) => remove(path, &place),
            Err(error) => lost.push(Unsaved::new(gone.clone(), error)),
        }
    }
    let mut finder = Finder::of(repo);
    for Name(raw) in &work.manifest.raw {
        if let Err(why) = write_raw(repo, &work, &mut finder, path, raw.as_ref())? {
            lost.push(Unsaved::new(raw.clone(), why));
        }
    }
    for (number, Name(nested)) in work.manifest.nested.iter().enumerate() {
        match contained(path, nested.as_ref(), Within::Worktree) {
            Ok(place) => {
                let left = bring_back_nested(repo, &work, number, source, &place)?;
                lost.extend(left.into_iter().map(|left| Unsaved {
                    path: format!("{nested}/{}", left.path).into(),
                    why: left.why,
                }));
            }
            Err(error) => lost.push(Unsaved::new(nested.clone(), error)),
        }
    }
    let own = found.as_ref().map(|found| found.git_dir.as_path());
    let own = own.filter(|_| source == Source::Here);
    lost.extend(modules::put_back(
        repo,
        path,
        own,
        &work.manifest.submodules,
        &|number, to| bring_back(repo, &work, &format!("{SUBMODULES}/{number}"), to, ALL),
    )?);
    flags(repo, &work, path)?;
    if let Some(found) = &found {
        lost.extend(references(repo, &work, path, &found.git_dir)?);
    }
    lost.extend(apply(&work.manifest.odd, path, Within::Worktree));
    if let Some(state) = state_dir {
        lost.extend(bring_back_state(repo, &work, state)?);
    }
    // What was written has times of its own; git looks at it once here rather than with every later command.
    repo.git_in(path)?
        .args(["update-index", "-q", "--refresh"])
        .output()?;
    Ok(Restored { unrestored: lost })
}

fn checkout(repo: &Repo, work: &Work, path: &Path) -> Result<Vec<Unsaved>> {
    repo.git_in(path)?
        .arg("read-tree")
        .arg(work.index_tree.to_string())
        .run()?;
    if !work.manifest.skip_worktree.is_empty() {
        let names = lines(&work.manifest.skip_worktree);
        repo.git_in(path)?
            .args(["update-index", "-z", "--skip-worktree", "--stdin"])
            .input(names)
            .run()?;
    }
    let all = repo
        .git_in(path)?
        .args(["checkout-index", "--all", "--force", "--quiet"])
        .run();
    if let Err(refused) = all {
        filtered(repo, work, path).map_err(|_| refused)?;
    }
    intents(repo, work, path)
}

/// Checks out only what is not written raw after that, which needs no filter that may fail.
fn filtered(repo: &Repo, work: &Work, path: &Path) -> Result<()> {
    let manifest = &work.manifest;
    let later = [&manifest.raw, &manifest.deleted, &manifest.skip_worktree];
    let later: HashSet<&[u8]> = later
        .into_iter()
        .flatten()
        .map(|Name(name)| name.as_slice())
        .collect();
    let listed = repo.git_in(path)?.args(["ls-files", "-z"]).run()?;
    let names = listed.split_inclusive(|byte| *byte == 0);
    let now = names.filter(|name| !later.contains(name.trim_end_with(|c| c == '\0')));
    repo.git_in(path)?
        .args(["checkout-index", "--force", "--quiet", "-z", "--stdin"])
        .input(now.collect::<Vec<_>>().concat())
        .run()
        .map(|_| ())
}

/// Adds what was only intended to be added, by files that stand in for the real ones: these may be gone, or be of
/// another kind by now.
fn intents(repo: &Repo, work: &Work, path: &Path) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    let mut names = Vec::new();
    let mut places = Vec::new();
    for name in &work.manifest.intent_to_add {
        let kind = work.manifest.kind_of_intent(name);
        let made = contained(path, name.0.as_ref(), Within::Worktree).and_then(|place| {
            place.parent().map_or(Ok(()), fs::create_dir_all)?;
            write_file(&place, kind, b"nothing")?;
            Ok(place)
        });
        match made {
            Ok(place) => {
                places.push(place);
                names.push(name.clone());
            }
            Err(error) => lost.push(Unsaved::new(name.0.clone(), error)),
        }
    }
    if !names.is_empty() {
        repo.git_in(path)?
            .env("GIT_LITERAL_PATHSPECS", "1")
            .args(["add", "--intent-to-add", "--force", "--sparse"])
            .args(["--pathspec-from-file=-", "--pathspec-file-nul"])
            .input(lines(&names))
            .run()?;
    }
    for place in places {
        remove(path, &place);
    }
    Ok(lost)
}

fn lines(names: &[Name]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|Name(name)| [name.as_slice(), b"\0"].concat())
        .collect()
}

/// Removes a file, or the directory that git makes for a submodule, and the directories that become empty by it.
fn remove(root: &Path, place: &Path) {
    // A file that a filter kept from appearing is gone already.
    let _ = fs::remove_file(place).or_else(|_| fs::remove_dir(place));
    let mut dir = place.parent();
    while let Some(at) = dir.filter(|at| *at != root && at.starts_with(root)) {
        if fs::remove_dir(at).is_err() {
            return;
        }
        dir = at.parent();
    }
}

/// Writes one file of the snapshot as it was; says why not, where that isn't possible.
fn write_raw(
    repo: &Repo,
    work: &Work,
    finder: &mut Finder<'_>,
    root: &Path,
    path: &BStr,
) -> Result<std::result::Result<(), String>> {
    let Some(entry) = finder.find(work.tree, path)? else {
        return Ok(Err("it is not in the snapshot".to_owned()));
    };
    let place = match contained(root, path, Within::Worktree) {
        Ok(place) => place,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let data = objects::read(repo, entry.oid)?.data;
    let written = place
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| write_file(&place, entry.mode.kind(), &data));
    Ok(written.map_err(|error| error.to_string()))
}

/// Conflicts and flags of the index.
fn flags(repo: &Repo, work: &Work, path: &Path) -> Result<()> {
    let manifest = &work.manifest;
    if !manifest.conflicts.is_empty() {
        let null = repo.object_hash().null();
        let mut input = Vec::new();
        for conflict in &manifest.conflicts {
            input.extend_from_slice(format!("0 {null}\t").as_bytes());
            input.extend_from_slice(&conflict.path.0);
            input.push(0);
        }
        for conflict in &manifest.conflicts {
            input.extend_from_slice(
                format!("{} {} {}\t", conflict.mode, conflict.oid, conflict.stage).as_bytes(),
            );
            input.extend_from_slice(&conflict.path.0);
            input.push(0);
        }
        repo.git_in(path)?
            .args(["update-index", "-z", "--index-info"])
            .input(input)
            .run()?;
    }
    if !manifest.assume_unchanged.is_empty() {
        let names = lines(&manifest.assume_unchanged);
        repo.git_in(path)?
            .args(["update-index", "-z", "--assume-unchanged", "--stdin"])
            .input(names)
            .run()?;
    }
    Ok(())
}

/// References that only the worktree has.
fn references(repo: &Repo, work: &Work, path: &Path, git_dir: &Path) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    for (name, oid) in &work.manifest.references {
        let is_pseudo = !name.contains('/');
        if is_pseudo && !midst::PSEUDO.contains(&name.as_str()) || parse_oid(oid.as_bytes()).is_none() {
            lost.push(Unsaved::new(name.as_str(), "no reference of a worktree's own"));
            continue;
        }
        if is_pseudo && repo.ref_format() == RefFormat::Files {
            let written = fs::write(git_dir.join(name), format!("{oid}\n"));
            lost.extend(written.err().map(|error| Unsaved::new(name.as_str(), error)));
            continue;
        }
        let own = ["refs/bisect/", "refs/worktree/", "refs/rewritten/"];
        if !is_pseudo && !own.iter().any(|prefix| name.starts_with(prefix)) {
            lost.push(Unsaved::new(name.as_str(), "no reference of a worktree's own"));
            continue;
        }
        let git = repo.git_in(path)?.args(["update-ref", "--no-deref", name, oid]);
        if let Err(error) = git.run() {
            lost.push(Unsaved::new(name.as_str(), error));
        }
    }
    Ok(lost)
}
