//! What is not taken from somebody else's work: all that would tell git to run something, or to look elsewhere.
//!
//! A snapshot's plain files are as they are, and harmless to git. What is stored beside them goes into git
//! directories, where a hook or a line of configuration is a command that runs with the next `git status`.

use gix::bstr::{BStr, ByteSlice};
use gix::objs::tree::EntryKind;

use super::manifest::{Name, Odd};
use super::store::is_reserved;

/// What a nested repository's git directory may have, by the first part of the path in it. Not `modules` and
/// `worktrees`, which are git directories themselves.
const PARTS: [&str; 19] = [
    "HEAD",
    "ORIG_HEAD",
    "FETCH_HEAD",
    "MERGE_HEAD",
    "MERGE_MSG",
    "MERGE_MODE",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "COMMIT_EDITMSG",
    "branches",
    "description",
    "index",
    "info",
    "logs",
    "objects",
    "packed-refs",
    "refs",
    "reftable",
    "shallow",
];

/// Options of what is half done that name a program, or let it write elsewhere, and references that it would move.
const OPTIONS: [&str; 6] = [
    "rebase-merge/strategy",
    "rebase-merge/strategy_opts",
    "rebase-merge/update-refs",
    "rebase-merge/refs-to-delete",
    "rebase-apply/apply-opt",
    "sequencer/opts",
];

/// Commands that a rebase is still to carry out.
pub const TODO: &str = "rebase-merge/git-rebase-todo";

/// The name of a git directory in a nested repository.
const GIT: &[u8] = b".git";

/// Whether a file of what is half done may come from elsewhere.
pub fn takes_half_done(path: &BStr) -> bool {
    !OPTIONS.iter().any(|option| path == *option)
}

/// Whether a path in a nested repository may be written.
pub fn takes_nested(path: &BStr, kind: EntryKind) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    let Some(reserved) = parts.by_ref().find(|part| is_reserved(part.as_bstr())) else {
        return true;
    };
    let inner: Vec<&[u8]> = parts.collect();
    let Some(first) = inner.first() else {
        // A file there leads git to another place.
        return reserved == GIT && kind == EntryKind::Tree;
    };
    reserved == GIT
        && kind != EntryKind::Link
        && PARTS.iter().any(|part| *first == part.as_bytes())
        && !inner.iter().any(|part| is_reserved(part.as_bstr()))
        && inner[..] != [&b"objects"[..], b"info", b"alternates"]
        && inner[..] != [&b"objects"[..], b"info", b"http-alternates"]
}

/// Whether a path is the configuration of a nested repository.
pub fn is_config(path: &BStr) -> bool {
    path == ".git/config" || path.ends_with(b"/.git/config")
}

/// Whether a key of a nested repository's configuration says what the repository is, and nothing more.
pub fn takes_key(key: &BStr) -> bool {
    const KEYS: [&str; 8] = [
        "core.repositoryformatversion",
        "core.filemode",
        "core.bare",
        "core.logallrefupdates",
        "core.ignorecase",
        "core.symlinks",
        "extensions.objectformat",
        "extensions.refstorage",
    ];
    let of = |section: &str, names: &[&str]| {
        key.strip_prefix(section.as_bytes())
            .and_then(|rest| rest.rsplit_once_str("."))
            .is_some_and(|(_, name)| names.iter().any(|known| name == known.as_bytes()))
    };
    KEYS.iter().any(|known| key == *known)
        || of("remote.", &["url", "fetch"])
        || of("branch.", &["remote", "merge"])
}

/// What a rebase is still to do, with its commands turned into comments; they are given too.
pub fn without_commands(todo: &[u8]) -> (Vec<u8>, Vec<String>) {
    let (mut kept, mut commands) = (Vec::with_capacity(todo.len()), Vec::new());
    for line in todo.split_inclusive(|byte| *byte == b'\n') {
        let word = line
            .trim_start()
            .split(|byte| byte.is_ascii_whitespace())
            .next()
            .unwrap_or_default();
        if matches!(word, b"exec" | b"x" | b"u" | b"update-ref") {
            kept.extend_from_slice(b"# ");
            commands.push(line.trim().to_str_lossy().into_owned());
        }
        kept.extend_from_slice(line);
    }
    (kept, commands)
}

/// Permissions without those by which others would become this user.
pub fn tame(odd: &mut Odd) {
    let modes = std::mem::take(&mut odd.modes);
    for (mode, paths) in modes {
        let plain = u32::from_str_radix(&mode, 8).map_or(mode, |mode| format!("{:04o}", mode & 0o1777));
        let known: &mut Vec<Name> = odd.modes.entry(plain).or_default();
        known.extend(paths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_nested_repository_comes_what_it_holds_and_nothing_that_git_would_run() {
        let takes = |path: &str, kind| takes_nested(path.into(), kind);
        for path in [
            "src/main.rs",
            "config",
            "hooks/x",
            ".git/HEAD",
            "a/.git/objects/pack/p",
            ".git/index",
        ] {
            assert!(takes(path, EntryKind::Blob), "{path}");
        }
        for path in [
            ".git",
            ".git/config",
            ".git/config.worktree",
            ".git/commondir",
            ".git/hooks/post-checkout",
            ".GIT/HEAD",
            "a/git~1/HEAD",
            "a/.git/modules/x/config",
            ".git/worktrees/x/HEAD",
            ".git/objects/info/alternates",
            ".git/refs/.git/config",
        ] {
            assert!(!takes(path, EntryKind::Blob), "{path}");
        }
        assert!(takes(".git", EntryKind::Tree));
        assert!(!takes(".git", EntryKind::Link));
        assert!(!takes(".git/objects", EntryKind::Link));
        assert!(takes("link", EntryKind::Link));
    }

    #[test]
    fn of_a_configuration_comes_what_is_known_to_be_harmless() {
        for key in [
            "core.bare",
            "remote.a.b.url",
            "remote.x.fetch",
            "branch.session/x.merge",
        ] {
            assert!(takes_key(key.into()), "{key}");
        }
        for key in [
            "core.fsmonitor",
            "core.sshcommand",
            "core.hookspath",
            "core.worktree",
            "include.path",
            "remote.x.uploadpack",
            "remote.x.vcs",
            "filter.url",
            "alias.remote.x.url",
            "diff.x.command",
        ] {
            assert!(!takes_key(key.into()), "{key}");
        }
    }

    #[test]
    fn a_rebase_goes_on_without_the_commands_of_others() {
        let (kept, commands) = without_commands(b"pick 1 one\nexec rm -rf x\n  x y\n# exec z\nedit 2 two");
        assert_eq!(
            kept.as_bstr(),
            "pick 1 one\n# exec rm -rf x\n#   x y\n# exec z\nedit 2 two"
        );
        assert_eq!(commands, ["exec rm -rf x", "x y"]);
    }
}
