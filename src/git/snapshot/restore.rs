//! Puts a snapshot back into a worktree that was made for it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::tree::{Entry, EntryKind};

use super::beside::{MIDST, NESTED, STATE, SUBMODULES};
use super::manifest::{Name, Odd};
use super::store::{Takes, Within, apply, contained, unescape, unstore, write_file};
use super::{Unsaved, Work, elsewhere, midst, modules, read};
use crate::git::objects;
use crate::git::repo::{RefFormat, parse_oid};
use crate::git::{Error, Repo, Result, worktree};

/// Whose work is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was saved in this repository.
    Here,
    /// It came from somebody else: nothing of it may tell git what to run.
    Elsewhere,
}

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
    for Name(raw) in &work.manifest.raw {
        if let Err(why) = write_raw(repo, &work, path, raw.as_ref())? {
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

/// Writes a nested repository out; of somebody else's, nothing comes that would tell git what to run.
fn bring_back_nested(
    repo: &Repo,
    work: &Work,
    number: usize,
    source: Source,
    to: &Path,
) -> Result<Vec<Unsaved>> {
    let name = format!("{NESTED}/{number}");
    if source == Source::Here {
        return bring_back(repo, work, &name, to, ALL);
    }
    let mut lost = bring_back(repo, work, &name, to, &elsewhere::takes_nested)?;
    let configs: Vec<BString> = lost
        .extract_if(.., |lost| elsewhere::is_config(lost.path.as_ref()))
        .map(|lost| lost.path)
        .collect();
    for path in configs {
        let file = to.join(OsStr::from_bytes(&path));
        let Some(entries) = entries(repo, blob_at(repo, work, &format!("{name}/{path}"))?)? else {
            lost.push(Unsaved::new(path, "it can't be read"));
            continue;
        };
        for (key, value) in entries {
            if elsewhere::takes_key(key.as_ref()) {
                repo.git()?
                    .args(["config", "--add", "--file"])
                    .arg(&file)
                    .arg(OsStr::from_bytes(&key))
                    .arg(OsStr::from_bytes(&value))
                    .run()?;
            } else {
                lost.push(Unsaved::new(format!("{path}: {key}"), FOREIGN_CONFIG));
            }
        }
    }
    Ok(lost)
}

/// Why configuration is left out.
const FOREIGN_CONFIG: &str = "configuration is not taken from a snapshot";

/// The keys and values of a configuration file; none where git can't read it.
pub(super) fn entries(repo: &Repo, config: Vec<u8>) -> Result<Option<Vec<(BString, BString)>>> {
    let listed = repo
        .git()?
        .args(["config", "--file", "-", "--list", "-z"])
        .input(config)
        .output()?;
    if !listed.status.success() {
        return Ok(None);
    }
    let entries = listed
        .stdout
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty());
    let entries = entries
        .map(|entry| entry.split_once_str("\n").unwrap_or((entry, b"true")))
        .map(|(key, value)| (key.into(), value.into()));
    Ok(Some(entries.collect()))
}

/// Writes a stored directory out; one that was empty or absent is made empty, except for git's own.
fn bring_back(repo: &Repo, work: &Work, name: &str, to: &Path, takes: Takes) -> Result<Vec<Unsaved>> {
    let mut tree = Some(work.stored);
    for part in name.split('/') {
        tree = match tree {
            Some(id) => objects::tree(repo, id)?
                .entries
                .iter()
                .find(|entry| entry.filename == part)
                .map(|entry| entry.oid),
            None => None,
        };
    }
    if tree.is_none() && name == MIDST {
        return Ok(Vec::new());
    }
    let none = Odd::default();
    unstore(
        repo,
        tree,
        work.manifest.directories.get(name).unwrap_or(&none),
        to,
        takes,
    )
}

/// Writes the state directory out, whole or not at all, unless it has anything: then it is newer than the snapshot.
fn bring_back_state(repo: &Repo, work: &Work, state: &Path) -> Result<Vec<Unsaved>> {
    if fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(Vec::new());
    }
    let mut part = state.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    // What a killed command had begun.
    match fs::remove_dir_all(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(format!("cannot remove '{}'", part.display()))(error));
        }
        _ => {}
    }
    let lost = bring_back(repo, work, STATE, part, ALL)?;
    let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    fs::set_permissions(part, private).map_err(Error::io(format!("'{}'", part.display())))?;
    fs::rename(part, state).map_err(Error::io(format!("cannot make '{}'", state.display())))?;
    Ok(lost)
}

const ALL: Takes = &|_, _| true;

/// Git's own files of what is half done, and how the checkout is sparse; nothing else gets into a git directory.
fn half_done(repo: &Repo, work: &Work, source: Source, path: &Path, git_dir: &Path) -> Result<Vec<Unsaved>> {
    let is_ours = source == Source::Here;
    let takes = |path: &BStr, kind| {
        kind != EntryKind::Link
            && path != CONFIG
            && midst::takes(path)
            && (is_ours || elsewhere::takes_half_done(path))
    };
    let mut lost = bring_back(repo, work, MIDST, git_dir, &takes)?;
    let todo = git_dir.join(elsewhere::TODO);
    if !is_ours && let Ok(content) = fs::read(&todo) {
        let (kept, commands) = elsewhere::without_commands(&content);
        let why = "it is somebody else's command";
        lost.extend(
            commands
                .iter()
                .map(|command| Unsaved::new(format!("{}: {command}", elsewhere::TODO), why)),
        );
        fs::write(&todo, kept).map_err(Error::io(format!("'{}'", todo.display())))?;
    }
    let Some(config) = lost.iter().position(|lost| lost.path == CONFIG) else {
        return Ok(lost);
    };
    // Of a configuration, which may say what is to be executed, only what is known to be harmless is taken.
    lost.remove(config);
    let Some(entries) = entries(repo, blob_at(repo, work, &format!("{MIDST}/{CONFIG}"))?)? else {
        lost.push(Unsaved::new(CONFIG, "it can't be read"));
        return Ok(lost);
    };
    let is_known = |key: &BString| SPARSE.iter().any(|known| key == known.as_bytes());
    let has_own = entries.iter().any(|(key, _)| is_known(key)) && have_own_config(repo, path)?;
    for (key, value) in entries {
        if !is_known(&key) {
            lost.push(Unsaved::new(format!("{CONFIG}: {key}"), FOREIGN_CONFIG));
        } else if !has_own {
            lost.push(Unsaved::new(format!("{CONFIG}: {key}"), SHARED_CONFIG));
        } else {
            repo.git_in(path)?
                .args(["config", "--worktree"])
                .arg(OsStr::from_bytes(&key))
                .arg(OsStr::from_bytes(&value))
                .run()?;
        }
    }
    Ok(lost)
}

/// Lets worktrees have configurations of their own, as git does for the first checkout that is made sparse; false where
/// the common one has what would hold for all of them then.
fn have_own_config(repo: &Repo, path: &Path) -> Result<bool> {
    const EXTENSION: &str = "extensions.worktreeConfig";
    if repo.config_bool(EXTENSION) == Some(true) {
        return Ok(true);
    }
    if repo.config_bool("core.bare") == Some(true) || repo.config("core.worktree").is_some() {
        return Ok(false);
    }
    repo.git_in(path)?.args(["config", EXTENSION, "true"]).run()?;
    Ok(true)
}

/// The worktree's own configuration.
const CONFIG: &str = "config.worktree";
const SHARED_CONFIG: &str = "this repository has one configuration for all worktrees";
const SPARSE: [&str; 3] = ["core.sparsecheckout", "core.sparsecheckoutcone", "index.sparse"];

/// The content of a file that is stored in a directory; nothing if it isn't there.
fn blob_at(repo: &Repo, work: &Work, path: &str) -> Result<Vec<u8>> {
    let mut oid = work.stored;
    for part in path.split('/') {
        let entries = objects::tree(repo, oid)?.entries;
        let is_it = |entry: &&Entry| unescape(entry.filename.as_bstr()) == part;
        match entries.iter().find(is_it) {
            Some(entry) => oid = entry.oid,
            None => return Ok(Vec::new()),
        }
    }
    Ok(objects::read(repo, oid)?.data)
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
fn write_raw(repo: &Repo, work: &Work, root: &Path, path: &BStr) -> Result<std::result::Result<(), String>> {
    let mut tree = work.tree;
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let entries = objects::tree(repo, tree)?.entries;
        let Some(entry) = entries.iter().find(|entry| entry.filename == part) else {
            return Ok(Err("it is not in the snapshot".to_owned()));
        };
        if parts.peek().is_some() {
            if entry.mode.kind() != EntryKind::Tree {
                return Ok(Err("it is not in the snapshot".to_owned()));
            }
            tree = entry.oid;
            continue;
        }
        let place = match contained(root, path, Within::Worktree) {
            Ok(place) => place,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let data = objects::read(repo, entry.oid)?.data;
        let written = place
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| write_file(&place, entry.mode.kind(), &data));
        return Ok(written.map_err(|error| error.to_string()));
    }
    Ok(Err("it has no name".to_owned()))
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
