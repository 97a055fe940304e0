//! What the log of a worktree's HEAD tells: which commits were made there, and not only moved to.

use std::collections::HashSet;
use std::fs;

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};

use super::repo::{RefFormat, parse_oid};
use super::worktree::Worktree;
use super::{Repo, Result, objects};

/// Steps of a rebase that make a commit, as git calls them in reflog messages.
const STEPS: [&[u8]; 7] = [
    b"pick",
    b"reword",
    b"edit",
    b"squash",
    b"fixup",
    b"continue",
    b"merge",
];

/// Whether a commit was made here rather than moved to, by the message that git writes into the reflog: what was run,
/// perhaps a step in parentheses, a colon, and what came of it.
fn is_made(message: &BStr) -> bool {
    let (what, outcome) = message.split_once_str(": ").unwrap_or((message, b""));
    let verb = what.split(|byte| *byte == b' ').next().unwrap_or_default();
    let step = what
        .strip_suffix(b")")
        .and_then(|what| Some(what.rsplit_once_str(" (")?.1));
    match (verb, step) {
        (b"commit", _) => true,
        (b"rebase" | b"pull", Some(step)) => STEPS.contains(&step) && outcome != b"fast-forward",
        (b"cherry-pick" | b"revert" | b"rebase", _) => what == verb && outcome != b"fast-forward",
        (b"am", _) => what == verb,
        (b"merge" | b"pull", _) => !outcome.starts_with(b"Fast-forward"),
        _ => false,
    }
}

/// The commits that were made in a worktree, oldest first, by the entries of its HEAD's reflog after the first `seen`;
/// with them the number of entries there are.
pub fn made_commits(repo: &Repo, worktree: &Worktree, seen: usize) -> Result<(Vec<ObjectId>, usize)> {
    let entries = head_log(repo, worktree)?;
    let count = entries.len();
    let mut made: Vec<ObjectId> = Vec::new();
    // A log that was cut is read from its beginning: a note that is there already isn't added again.
    let skip = if count < seen { 0 } else { seen };
    for (oid, message) in entries.into_iter().skip(skip) {
        let made_here = is_made(message.as_ref());
        if made_here && !oid.is_null() && !made.contains(&oid) && objects::exists(repo, oid) {
            made.push(oid);
        }
    }
    Ok((made, count))
}

/// The commits that were made on a detached HEAD, which it has left, and that nothing else leads to: `git switch` warns
/// of them, and they go with the worktree, of which only git's own directory has to be there.
pub fn left_behind(repo: &Repo, worktree: &Worktree) -> Result<Vec<ObjectId>> {
    let (mut made, mut left) = (HashSet::new(), Vec::new());
    for (oid, message) in head_log(repo, worktree)? {
        if is_made(message.as_ref()) {
            made.insert(oid);
        }
        let from = message.strip_prefix(b"checkout: moving from ");
        let from = from.and_then(|rest| parse_oid(rest.split(|byte| *byte == b' ').next()?));
        // A branch that begins there has it.
        let from = from.filter(|from| *from != oid);
        left.extend(from.filter(|oid| made.remove(oid) && objects::exists(repo, *oid)));
    }
    if left.is_empty() {
        return Ok(left);
    }
    let ids: String = left.iter().map(|oid| format!("{oid}\n")).collect();
    // HEADs of all worktrees are among them.
    let lost = repo
        .git()?
        .args(["--no-replace-objects", "rev-list", "--ignore-missing"])
        .args(["--stdin", "--not", "--all"])
        .input(ids)
        .output()?;
    if lost.status.success() {
        let lost: HashSet<ObjectId> = lost.stdout.lines().filter_map(parse_oid).collect();
        left.retain(|oid| lost.contains(oid));
    }
    Ok(left)
}

/// The entries of the HEAD's reflog, oldest first: where it came to, and why.
fn head_log(repo: &Repo, worktree: &Worktree) -> Result<Vec<(ObjectId, BString)>> {
    if repo.ref_format() == RefFormat::Files {
        let Ok(content) = fs::read(worktree.git_dir.join("logs/HEAD")) else {
            return Ok(Vec::new());
        };
        let entry = |line: &[u8]| {
            let (fields, message) = line.split_once_str("\t").unwrap_or((line, b""));
            let oid = parse_oid(fields.split(|byte| *byte == b' ').nth(1)?)?;
            Some((oid, BString::from(message)))
        };
        return Ok(content.lines().filter_map(entry).collect());
    }
    let output = repo
        .git_in(&worktree.git_dir)?
        .arg("--git-dir")
        .arg(&worktree.git_dir)
        .args(["log", "--walk-reflogs", "--format=%H%x00%gs", "HEAD", "--"])
        .output()?;
    let entry = |line: &[u8]| {
        let (oid, message) = line.split_once_str("\0")?;
        Some((parse_oid(oid)?, BString::from(message)))
    };
    let mut entries: Vec<_> = output.stdout.lines().filter_map(entry).collect();
    entries.reverse();
    Ok(entries)
}
