//! A worktree that is looked at but once is captured as one at which git has looked as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git_session::git::{
    Durability::Relaxed,
    Repo,
    snapshot::{Capture, Captured, capture},
    worktree,
};

use gix::index::{File, decode, entry::Stat, write};

use crate::git_repo::{Sandbox, every_format, formats, git, sh, signature};
use crate::sandbox::{Format, in_time};

const BASE: &str = r"
mkdir -p dir/sub deep/er/still build
for name in a b 'n e w' dir/c dir/sub/d deep/er/still/e; do printf 'first\n' >$name; done
cp a run; chmod +x run; ln -s a link
printf '*.o\n!kept.o\n/build/\n' >.gitignore
printf 'k*\n!known\n' >dir/.gitignore
printf x >build/tracked; git add -f build/tracked
git add . && git commit -qm base
";

/// Makes the files older than the index, which then tells for sure that they are as they were.
const SETTLE: &str = r"
git ls-files -z | xargs -0 touch -h -d @1600000000
git update-index -q --refresh
";

const NAMES: [&str; 20] = [
    "a",
    "n e w",
    "dir",
    "dir/c",
    "dir/sub",
    "dir/sub/d",
    "deep",
    "deep/er/still/e",
    "run",
    "link",
    "x.o",
    "kept.o",
    "build",
    "build/y",
    "dir/key",
    "dir/known",
    "fresh/in/here",
    "fresh/in/z.o",
    ":(top)odd",
    "dir/-q",
];

fn edit(number: u8, name: u8) -> String {
    let name = NAMES[usize::from(name) % NAMES.len()];
    let make = format!("rm -rf './{name}'; mkdir -p \"$(dirname './{name}')\"");
    let edit = match number % 14 {
        0 | 1 => format!("{make}; printf 'changed\\n' >'./{name}'"),
        2 => format!("test -f './{name}' && printf 'more\\n' >>'./{name}'"),
        3 => format!("rm -rf './{name}'"),
        4 => format!("{make}; ln -s nowhere './{name}'"),
        5 => format!("{make}; mkdir './{name}'; printf 'in\\n' >'./{name}/in'"),
        6 => format!("{make}; mkdir './{name}'"),
        7 => format!("test -L './{name}' || chmod 700 './{name}'"),
        8 => format!("test -L './{name}' || chmod 640 './{name}'"),
        9 => format!("touch -h './{name}'"),
        10 => format!("{make}; mkfifo './{name}'"),
        11 => "git commit -qam edited".to_owned(),
        12 => format!(
            "test -f './{name}' && printf 'same size\\n' >'./{name}'; touch -d @1700000000 './{name}'"
        ),
        _ => format!("git add -f -- './{name}'"),
    };
    // Many of them make no sense, and do nothing then.
    format!("{{ {edit}; }} >/dev/null 2>&1 || true\n")
}

/// A worktree whose files are older than its index.
fn settled(sandbox: &Sandbox) -> PathBuf {
    sh(&sandbox.root(), BASE);
    let path = sandbox.beside("linked");
    sandbox.git(["worktree", "add", "-q", "-b", "side", path.to_str().unwrap()]);
    sh(&path, SETTLE);
    path
}

fn take(repo: &Repo, path: &Path) -> Captured {
    try_take(repo, path).unwrap()
}

fn try_take(repo: &Repo, path: &Path) -> git_session::git::Result<Captured> {
    let found = worktree::at(repo, path).unwrap().unwrap();
    let what = Capture {
        worktree: path,
        git_dir: &found.git_dir,
        base: None,
        previous: None,
        state_dir: None,
        extra: None,
        signature: &signature(),
        message: "work",
        durability: Relaxed,
    };
    capture(repo, &what)
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 60, failure_persistence: None, max_shrink_iters: 40, ..Default::default()
    })]

    #[test]
    fn one_look_sees_what_two_do(
        edits in proptest::collection::vec((0u8..14, 0u8..20), 1..8),
        format in proptest::sample::select(every_format()),
        modes in proptest::bool::ANY,
    ) {
        let sandbox = Sandbox::new(format);
        let path = settled(&sandbox);
        sandbox.git(["config", "core.fileMode", if modes { "true" } else { "false" }]);
        let script: String = edits.iter().map(|(number, name)| edit(*number, *name)).collect();
        sh(&path, &script);
        let one = take(&sandbox.repo(), &path);
        // A setting for another system, by which git looks at everything here and sees nothing else.
        sandbox.git(["config", "core.precomposeUnicode", "true"]);
        let two = take(&sandbox.repo(), &path);
        assert_eq!(one.unsaved, two.unsaved, "{script}");
        assert_eq!(one.work, two.work, "{script}");
    }
}

/// Has the index say of a changed file that it is what it was, at the time at which the file was changed, and lets the
/// index be that much younger.
fn vouch(
    sandbox: &Sandbox,
    worktree: &Path,
    name: &str,
    git_says: impl FnOnce(&mut Stat),
    younger: Duration,
) {
    let repo = sandbox.repo();
    let place = worktree::at(&repo, worktree)
        .unwrap()
        .unwrap()
        .git_dir
        .join("index");
    let mut index = File::at(&place, repo.object_hash(), false, decode::Options::default()).unwrap();
    let meta = gix::index::fs::Metadata::from_path_no_follow(&worktree.join(name)).unwrap();
    let at = index.entry_index_by_path(name.into()).unwrap();
    let stat = &mut index.entries_mut()[at].stat;
    *stat = Stat::from_fs(&meta).unwrap();
    git_says(stat);
    index.write(write::Options::default()).unwrap();
    let changed = fs::metadata(worktree.join(name)).unwrap().modified().unwrap();
    let index = fs::File::open(place).unwrap();
    index.set_modified(changed + younger).unwrap();
}

#[test]
fn a_file_that_was_emptied_in_the_moment_it_was_added_is_saved_empty() {
    formats(|sandbox| {
        let path = settled(sandbox);
        fs::write(path.join("dir/c"), "").unwrap();
        // As git marks it when it writes the index later.
        vouch(
            sandbox,
            &path,
            "dir/c",
            |stat| stat.size = 0,
            Duration::from_secs(5),
        );
        let saved = take(&sandbox.repo(), &path).snapshot;
        assert_eq!(sandbox.git(["cat-file", "-s", &format!("{saved}:dir/c")]), "0");
    });
}

#[test]
fn a_file_that_was_changed_in_the_second_of_its_index_is_looked_at_where_times_are_whole_seconds() {
    formats(|sandbox| {
        let path = settled(sandbox);
        sh(&path, "printf 'FIRST\n' >dir/c; touch -d @1700000000 dir/c");
        vouch(sandbox, &path, "dir/c", |_| (), Duration::from_millis(500));
        let saved = take(&sandbox.repo(), &path).snapshot;
        assert_eq!(sandbox.git(["show", &format!("{saved}:dir/c")]), "FIRST");
    });
}

#[test]
fn a_file_that_git_takes_for_unmodified_since_it_was_changed_in_the_same_second_is_saved() {
    formats(|sandbox| {
        let path = settled(sandbox);
        // With something staged git looks at everything.
        for staged in ["", "printf 'staged\n' >a; git add a"] {
            sh(&path, staged);
            sh(
                &path,
                "printf 'FIRST\n' >dir/c; printf 'FIRST\n' >'n e w'; rm link; ln -s b link",
            );
            for name in ["link", "dir/c", "n e w"] {
                let git_says = |stat: &mut Stat| stat.ctime.nsecs ^= 1;
                vouch(sandbox, &path, name, git_says, Duration::from_secs(5));
            }
            assert_eq!(git(&path, ["diff", "--name-only"]), "");
            let saved = take(&sandbox.repo(), &path).snapshot;
            for (name, content) in [("dir/c", "FIRST"), ("n e w", "FIRST"), ("link", "b")] {
                assert_eq!(
                    sandbox.git(["show", &format!("{saved}:{name}")]),
                    content,
                    "{name}"
                );
            }
        }
    });
}

#[test]
fn a_file_of_other_times_is_still_what_its_filter_makes_of_it() {
    formats(|sandbox| {
        let path = settled(sandbox);
        sandbox.git(["config", "filter.up.clean", "tr a-z A-Z"]);
        sandbox.git(["config", "filter.up.smudge", "tr A-Z a-z"]);
        sh(
            &path,
            "echo '*.up filter=up' >.gitattributes; echo text >a.up; git add . && git commit -qm up",
        );
        let git_says = |stat: &mut Stat| stat.ctime.nsecs ^= 1;
        vouch(sandbox, &path, "a.up", git_says, Duration::from_secs(5));
        let saved = take(&sandbox.repo(), &path).snapshot;
        assert_eq!(sandbox.git(["show", &format!("{saved}:a.up")]), "TEXT");
    });
}

#[test]
fn git_looks_only_at_what_has_changed() {
    let sandbox = crate::sandbox::Sandbox::new(Format::PLAIN);
    let trace = sandbox.file("trace");
    sandbox.session("run -d --id looked -- sleep 1000").ok();
    fs::write(sandbox.worktree("looked").join("new"), "text").unwrap();
    let checkpoint = sandbox
        .session_command("checkpoint looked")
        .env("GIT_TRACE", &trace);
    checkpoint.run().ok();
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("git check-ignore"), "{trace}");
    assert!(!trace.contains("--untracked-files=all"), "{trace}");
    sandbox.end("looked");
}

#[test]
fn a_file_at_which_git_would_wait_is_named_at_once() {
    let sandbox = Sandbox::new(crate::git_repo::Format::PLAIN);
    let path = settled(&sandbox);
    for script in [
        "rm dir/.gitignore; mkfifo dir/.gitignore",
        "rm .gitignore; mkfifo .gitignore",
        "mkfifo .gitattributes",
        "mkdir -p fresh/er; mkfifo fresh/er/.gitignore",
        "printf 'staged\n' >a; git add a; mkfifo dir/sub/.gitattributes",
    ] {
        sh(&path, script);
        let (repo, tree) = (sandbox.repo(), path.clone());
        let taken = in_time(script, move || try_take(&repo, &tree).map(|taken| taken.work));
        let refused = taken.unwrap_err().to_string();
        assert!(
            refused.starts_with("git would wait for ever at '"),
            "{script}: {refused}"
        );
        sh(
            &path,
            "find . -type p -delete; git reset -q --hard; git clean -qfd",
        );
    }
}
