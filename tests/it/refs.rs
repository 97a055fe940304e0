//! References: compare-and-swap beside stock git, in both formats.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use git_session::git::{
    Durability::{Durable, Relaxed},
    Error, RefFormat, Repo, objects,
    refs::{Change, Expected, Outcome, Target},
};
use gix::ObjectId;

use crate::git_repo::{
    Numbers, Sandbox, again, beside, files, formats, git, git_command, given, kill_after, oid, point, put,
    run, signature, text, until_heard,
};

const NAME: &str = "refs/things/a";

#[test]
fn a_reference_moves_only_from_where_it_is_expected() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let refs = repo.refs();
        let (one, two) = (sandbox.head(), sandbox.loose_commit("two"));
        let update = |new, expected| refs.update(NAME, new, expected, Durable).unwrap();
        assert_eq!(refs.get(NAME).unwrap(), None);
        assert_eq!(update(Some(two), Expected::At(one)), Outcome::Moved(None));
        assert_eq!(update(Some(one), Expected::Absent), Outcome::Done);
        assert_eq!(refs.get(NAME).unwrap(), Some(Target::Object(one)));
        assert_eq!(update(Some(two), Expected::Absent), Outcome::Moved(Some(one)));
        assert_eq!(update(Some(two), Expected::At(two)), Outcome::Moved(Some(one)));
        assert_eq!(update(Some(two), Expected::At(one)), Outcome::Done);
        assert_eq!(sandbox.git(["rev-parse", NAME]), two.to_string());
        assert_eq!(update(None, Expected::At(one)), Outcome::Moved(Some(two)));
        assert_eq!(update(None, Expected::At(two)), Outcome::Done);
        assert_eq!(refs.get(NAME).unwrap(), None);
        assert_eq!(update(None, Expected::At(two)), Outcome::Moved(None));
        assert_eq!(sandbox.git(["for-each-ref", "refs/things"]), "");
        // Packed, and with one of a name that begins alike.
        for name in [NAME, "refs/things/a-b", "refs/things/ab"] {
            point(&repo, name, one);
        }
        sandbox.git(["pack-refs", "--all"]);
        assert_eq!(refs.get(NAME).unwrap(), Some(Target::Object(one)));
        assert_eq!(update(Some(two), Expected::At(one)), Outcome::Done);
        assert_eq!(update(None, Expected::At(two)), Outcome::Done);
        assert_eq!(refs.get(NAME).unwrap(), None, "the packed one doesn't come back");
        let names: Vec<_> = refs
            .list("refs/things/")
            .unwrap()
            .into_iter()
            .map(|r| r.name)
            .collect();
        assert_eq!(names, ["refs/things/a-b", "refs/things/ab"]);
        sandbox.assert_sound();
    });
}

#[test]
fn a_list_has_loose_and_packed_references_in_the_order_of_git() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let (one, two) = (sandbox.head(), sandbox.loose_commit("two"));
        let names = ["b", "a/b", "a.b", "a-c", "a/b2", "ab", "c/d/e"];
        for name in names {
            point(&repo, &format!("refs/things/{name}"), one);
        }
        point(&repo, "refs/thingsx/y", one);
        sandbox.git(["tag", "-a", "-m", "a tag", "tag"]);
        sandbox.git(["pack-refs", "--all"]);
        for name in ["b", "a/b", "aa"] {
            point(&repo, &format!("refs/things/{name}"), two);
        }
        for prefix in ["refs/", "refs/things/", "refs/things/a/", "refs/none/"] {
            let list = repo.refs().list(prefix).unwrap().into_iter();
            let list: Vec<String> = list
                .map(|found| match found.target {
                    Target::Object(oid) => format!("{oid} {}", found.name),
                    other => format!("{other:?}"),
                })
                .collect();
            let format = "--format=%(objectname) %(refname)";
            assert_eq!(list.join("\n"), sandbox.git(["for-each-ref", format, prefix]));
        }
    });
}

#[test]
fn parallel_appends_lose_none_while_references_are_packed() {
    formats(|sandbox| {
        const THREADS: usize = 8;
        // Each of them costs several children where git alone knows the format.
        let appends = if sandbox.format.refs == "files" { 50 } else { 6 };
        point(&sandbox.repo(), NAME, sandbox.head());
        let pack = || {
            // It loses against others at times; that is its own business.
            run(git_command(&sandbox.root()).args(["pack-refs", "--all"]));
        };
        beside(pack, || {
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    scope.spawn(move || {
                        let repo = sandbox.repo();
                        for number in 0..appends {
                            append(&repo, &format!("{thread} {number}"));
                        }
                    });
                }
            });
        });
        let count = sandbox.git(["rev-list", "--count", &format!("HEAD..{NAME}")]);
        assert_eq!(count, (THREADS * appends).to_string());
        let left = fs::read_dir(sandbox.git_dir()).unwrap().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().starts_with("tmp_"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// Adds a commit to the reference, however often others come first.
fn append(repo: &Repo, message: &str) {
    loop {
        let Some(Target::Object(tip)) = repo.refs().get(NAME).unwrap() else {
            panic!("it is gone");
        };
        let tree = objects::tree_of(repo, tip).unwrap();
        let commit = objects::commit(tree, &[tip], &signature(), &signature(), message.as_bytes());
        let id = objects::id_of(repo, &commit).unwrap();
        objects::write_loose(repo, &[commit], Relaxed).unwrap();
        match repo
            .refs()
            .update(NAME, Some(id), Expected::At(tip), Relaxed)
            .unwrap()
        {
            Outcome::Done => return,
            Outcome::Moved(now) => assert!(now.is_some(), "it was there all the time"),
        }
    }
}

#[test]
#[ignore = "is run, and killed, by another test"]
fn updates_without_end() {
    let Some(dir) = given() else { return };
    let repo = Repo::open(&dir).unwrap();
    let created = "refs/things/made";
    let (one, two) = ends(&dir);
    println!("ready");
    loop {
        flip(&repo, one, two);
        // The one before was killed anywhere, so it is there or not.
        let (new, expected) = match repo.refs().get(created).unwrap() {
            Some(Target::Object(at)) => (None, Expected::At(at)),
            _ => (Some(one), Expected::Absent),
        };
        let _: Outcome = repo.refs().update(created, new, expected, Durable).unwrap();
    }
}

fn ends(dir: &Path) -> (ObjectId, ObjectId) {
    (
        oid(&git(dir, ["rev-parse", "HEAD"])),
        oid(&git(dir, ["rev-parse", "refs/other/two"])),
    )
}

/// Moves the reference to the other end; a git that a killed process had started may come first, once.
fn flip(repo: &Repo, one: ObjectId, two: ObjectId) {
    for _ in 0..2 {
        let Some(Target::Object(at)) = repo.refs().get(NAME).unwrap() else {
            panic!("it is gone");
        };
        let to = if at == one { two } else { one };
        let outcome = repo.refs().update(NAME, Some(to), Expected::At(at), Durable);
        match outcome.unwrap() {
            Outcome::Done => return,
            Outcome::Moved(_) => assert_eq!(repo.ref_format(), RefFormat::Reftable),
        }
    }
    panic!("it moves by itself");
}

#[test]
fn an_updater_killed_at_any_moment_leaves_nothing_in_the_way() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        point(&repo, NAME, one);
        point(&repo, "refs/other/two", sandbox.loose_commit("two"));
        sandbox.git(["pack-refs", "--all"]);
        let (one, two) = ends(&sandbox.root());
        let mut numbers = Numbers(0x5eed + one.as_slice().len() as u64);
        let kills = if sandbox.format.refs == "files" { 50 } else { 10 };
        for _ in 0..kills {
            let mut command = again(module_path!(), "updates_without_end", &sandbox.root());
            command.stderr(Stdio::null());
            let mut child = until_heard(command);
            kill_after(&mut child, Duration::from_micros(numbers.below(8_000)));
            flip(&repo, one, two);
            flip(&repo, one, two);
        }
        // Stock git finds nothing in its way either.
        flip(&repo, one, two);
        sandbox.git(["update-ref", NAME, &two.to_string()]);
        sandbox.assert_sound();
    });
}

#[test]
fn a_lock_of_another_program_is_respected_and_named() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        point(&repo, NAME, one);
        let lock = sandbox.git_dir().join(format!("{NAME}.lock"));
        fs::write(&lock, "").unwrap();
        let error = repo
            .refs()
            .update(NAME, None, Expected::At(one), Relaxed)
            .unwrap_err();
        let Error::Locked { name, path } = &error else {
            panic!("{error}");
        };
        assert_eq!(
            (name.as_str(), path.canonicalize().unwrap()),
            (NAME, lock.canonicalize().unwrap())
        );
        assert!(lock.exists());
        fs::remove_file(&lock).unwrap();
        // The lock of packed-refs stands in the way of a removal only.
        let lock = sandbox.git_dir().join("packed-refs.lock");
        fs::write(&lock, "").unwrap();
        let error = repo
            .refs()
            .update(NAME, None, Expected::At(one), Relaxed)
            .unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        assert_eq!(repo.refs().get(NAME).unwrap(), Some(Target::Object(one)));
        assert!(!sandbox.git_dir().join(format!("{NAME}.lock")).exists());
    });
}

#[test]
fn git_waits_for_a_lock_of_ours() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        point(&repo, NAME, one);
        // What stands here is what a process of ours that is alive holds.
        let lock = sandbox.git_dir().join(format!("{NAME}.lock"));
        fs::hard_link(sandbox.git_dir().join("git-session.refs"), &lock).unwrap();
        let held = fs::File::open(&lock).unwrap();
        held.lock().unwrap();
        let update = ["-c", "core.filesRefLockTimeout=0", "update-ref", "-d", NAME];
        assert!(!run(git_command(&sandbox.root()).args(update)).status.success());
        assert!(matches!(
            repo.refs().update(NAME, None, Expected::At(one), Relaxed),
            Err(Error::Locked { .. })
        ));
        // Its holder is gone: whoever comes next clears it away.
        drop(held);
        assert_eq!(
            repo.refs()
                .update(NAME, None, Expected::At(one), Relaxed)
                .unwrap(),
            Outcome::Done
        );
        assert!(!lock.exists());
    });
}

/// The files that references had before.
fn spares(sandbox: &Sandbox) -> Vec<PathBuf> {
    let all = fs::read_dir(sandbox.git_dir().join("git-session.spare")).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_spare_file_is_one_references_and_what_lies_beside_it_stays() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let (one, two) = (sandbox.head(), sandbox.loose_commit("two"));
        for name in ["refs/things/a", "refs/things/b"] {
            for value in [one, two, one, two] {
                point(&repo, name, value);
            }
            assert_eq!(spares(sandbox).len(), 1, "{name}");
        }
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let (a, b) = (
            sandbox.git_dir().join("refs/things/a"),
            sandbox.git_dir().join("refs/things/b"),
        );
        let both = [inode(&b), inode(&spares(sandbox)[0])];
        point(&repo, "refs/things/b", one);
        assert_eq!(
            [inode(&spares(sandbox)[0]), inode(&b)],
            both,
            "they change places"
        );
        point(&repo, "refs/things/a", one);
        assert!(!both.contains(&inode(&a)), "what was another's is not written to");
        // Nobody but us has files there; whoever has is left alone.
        let directory = sandbox.git_dir().join("git-session.spare");
        fs::write(directory.join("a note"), "mine").unwrap();
        point(&repo, "refs/things/b", two);
        assert!(directory.join("a note").exists());
        let elsewhere = sandbox.root().join("elsewhere");
        fs::rename(&directory, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &directory).unwrap();
        let before = fs::read_dir(&elsewhere).unwrap().count();
        point(&repo, "refs/things/a", two);
        point(&repo, "refs/things/b", one);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), before);
        assert_eq!(
            repo.refs().get("refs/things/b").unwrap(),
            Some(Target::Object(one))
        );
    });
}

#[test]
fn what_else_has_the_name_of_the_spare_file_is_neither_waited_for_nor_written_to() {
    files(|sandbox| {
        let (one, two) = (sandbox.head(), sandbox.loose_commit("two"));
        for value in [one, two, one] {
            point(&sandbox.repo(), NAME, value);
        }
        let spares = spares(sandbox);
        let (spare, other) = (&spares[0], sandbox.root().join("other"));
        let value = format!("{}\n", ObjectId::null(one.kind()));
        let things: [&dyn Fn(); 3] = [
            &|| rustix::fs::mkfifoat(rustix::fs::CWD, spare, 0o600.into()).unwrap(),
            &|| std::os::unix::fs::symlink(&other, spare).unwrap(),
            &|| fs::hard_link(&other, spare).unwrap(),
        ];
        fs::write(&other, &value).unwrap();
        let mut at = [one, two].into_iter().cycle();
        let mut now = at.next().unwrap();
        for make in things {
            let _ = fs::remove_file(spare);
            make();
            let next = at.next().unwrap();
            // The repository is opened by its thread, which nobody waits for should it hang.
            let (done, outcome) = std::sync::mpsc::channel();
            let root = sandbox.root();
            thread::spawn(move || {
                let repo = Repo::open(&root).unwrap();
                let outcome = repo.refs().update(NAME, Some(next), Expected::At(now), Relaxed);
                done.send(outcome.unwrap())
            });
            let outcome = outcome.recv_timeout(Duration::from_secs(60));
            assert_eq!(outcome.expect("an update that waits for no one"), Outcome::Done);
            assert_eq!(
                sandbox.repo().refs().get(NAME).unwrap(),
                Some(Target::Object(next))
            );
            assert_eq!(fs::read_to_string(&other).unwrap(), value);
            now = next;
        }
    });
}

#[test]
fn a_name_that_stands_in_the_way_of_another_is_a_conflict() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        let create = |name: &str| repo.refs().update(name, Some(one), Expected::Absent, Relaxed);
        for pack in [false, true] {
            assert_eq!(create("refs/things/a/b").unwrap(), Outcome::Done);
            if pack {
                sandbox.git(["pack-refs", "--all", "--prune"]);
            }
            for name in ["refs/things/a", "refs/things/a/b/c", "refs/things/a/b/c/d"] {
                let error = create(name).unwrap_err();
                assert!(matches!(error, Error::RefConflict(_)), "{name}: {error}");
                assert_eq!(repo.refs().get(name).unwrap(), None);
            }
            let removed = repo
                .refs()
                .update("refs/things/a/b", None, Expected::At(one), Relaxed);
            assert_eq!(removed.unwrap(), Outcome::Done);
            assert_eq!(
                create("refs/things/a").unwrap(),
                Outcome::Done,
                "only empty directories are left"
            );
            let removed = repo
                .refs()
                .update("refs/things/a", None, Expected::At(one), Relaxed);
            assert_eq!(removed.unwrap(), Outcome::Done);
        }
        sandbox.assert_sound();
    });
}

#[test]
fn a_broken_reference_hides_no_good_one() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        for name in ["a", "b", "c", "packed"] {
            point(&repo, &format!("refs/things/{name}"), one);
        }
        sandbox.git(["pack-refs", "--all"]);
        let at = |name: &str| sandbox.git_dir().join("refs/things").join(name);
        put(&at("b"), "no object\n");
        put(&at("empty"), "");
        put(&at("null"), format!("{}\n", repo.object_hash().null()));
        put(&at("link"), "ref: refs/heads/main\n");
        put(&at("c.lock"), "");
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let list = repo.refs().list("refs/things/").unwrap();
        let list: Vec<_> = list
            .iter()
            .map(|found| {
                let what = match &found.target {
                    Target::Object(_) => "object",
                    Target::Symbolic(_) => "symbolic",
                    Target::Broken => "broken",
                };
                format!("{} {what}", &found.name.to_string()["refs/things/".len()..])
            })
            .collect();
        assert_eq!(
            list,
            [
                "a object",
                "b broken",
                "c object",
                "empty broken",
                "link symbolic",
                "null broken",
                "packed object"
            ]
        );
        // A symbolic one is never written through.
        let moved = repo
            .refs()
            .update("refs/things/link", Some(one), Expected::At(one), Relaxed);
        assert_eq!(moved.unwrap(), Outcome::Moved(None));
        let moved = repo
            .refs()
            .update("refs/things/b", Some(one), Expected::Absent, Relaxed);
        assert_eq!(moved.unwrap(), Outcome::Moved(None));
        assert_eq!(fs::read(at("b")).unwrap(), b"no object\n");
    });
}

#[test]
fn a_removal_leaves_the_rest_of_packed_refs_as_it_was() {
    files(|sandbox| {
        let repo = sandbox.repo();
        for tag in ["v1", "v2", "v3"] {
            sandbox.git(["tag", "-a", "-m", "a tag", tag]);
        }
        sandbox.git(["pack-refs", "--all"]);
        let before = sandbox.git(["for-each-ref"]);
        let v2 = oid(&sandbox.git(["rev-parse", "refs/tags/v2"]));
        let gone = repo
            .refs()
            .update("refs/tags/v2", None, Expected::At(v2), Durable);
        assert_eq!(gone.unwrap(), Outcome::Done);
        let wanted: Vec<&str> = before.lines().filter(|line| !line.ends_with("v2")).collect();
        assert_eq!(sandbox.git(["for-each-ref"]), wanted.join("\n"));
        let packed = text(&fs::read(sandbox.git_dir().join("packed-refs")).unwrap());
        assert_eq!(packed.lines().filter(|line| line.starts_with('^')).count(), 2);
        assert_eq!(
            packed.lines().next().map(|line| line.starts_with("# pack-refs")),
            Some(true)
        );
    });
}

/// A name of an object that needn't be there.
fn numbered(repo: &Repo, number: usize) -> ObjectId {
    oid(&format!(
        "{number:0width$x}",
        width = repo.object_hash().len_in_hex()
    ))
}

#[test]
fn who_reads_a_reference_sees_whole_values_in_their_order() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let path = sandbox.git_dir().join(NAME);
        point(&repo, NAME, numbered(&repo, 1));
        let length = repo.object_hash().len_in_hex() + 1;
        let last = 2000;
        thread::scope(|scope| {
            let readers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut seen = 1;
                    while seen < last {
                        let text = text(&fs::read(&path).unwrap());
                        assert_eq!(text.len(), length, "{text:?}");
                        let number = usize::from_str_radix(text.trim(), 16).unwrap();
                        assert!((seen..=last).contains(&number), "{number:x} after {seen:x}");
                        seen = number;
                    }
                })
            });
            for number in 2..=last {
                let (from, to) = (numbered(&repo, number - 1), numbered(&repo, number));
                let durability = if number % 50 == 0 { Durable } else { Relaxed };
                let moved = repo.refs().update(NAME, Some(to), Expected::At(from), durability);
                assert_eq!(moved.unwrap(), Outcome::Done);
            }
            for reader in readers {
                reader.join().unwrap();
            }
        });
    });
}

#[test]
fn a_reference_that_is_held_open_or_has_another_name_stays_there_as_it_was() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let path = sandbox.git_dir().join(NAME);
        let mut open = Vec::new();
        let mut linked = Vec::new();
        for number in 1..=12 {
            point(&repo, NAME, numbered(&repo, number));
            let value = text(&fs::read(&path).unwrap());
            if number % 3 == 0 {
                open.push((fs::File::open(&path).unwrap(), value));
            } else if number % 4 == 0 {
                let copy = sandbox.git_dir().join(format!("copy-{number}"));
                fs::hard_link(&path, &copy).unwrap();
                linked.push((copy, value));
            }
        }
        for (file, value) in open {
            assert_eq!(std::io::read_to_string(file).unwrap(), value);
        }
        for (copy, value) in linked {
            assert_eq!(text(&fs::read(copy).unwrap()), value);
        }
    });
}

#[test]
fn a_lock_that_can_not_be_read_is_another_programs() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        point(&repo, NAME, one);
        let lock = sandbox.git_dir().join(format!("{NAME}.lock"));
        std::os::unix::fs::symlink("nowhere", &lock).unwrap();
        let error = repo
            .refs()
            .update(NAME, None, Expected::At(one), Relaxed)
            .unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
    });
}

#[test]
fn a_removed_branch_leaves_no_log_in_the_way_of_others() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        for name in ["a", "b/c/d"] {
            sandbox.git(["branch", name]);
            let full = format!("refs/heads/{name}");
            let removed = repo.refs().update(&full, None, Expected::At(one), Relaxed);
            assert_eq!(removed.unwrap(), Outcome::Done);
        }
        for name in ["a/below", "b"] {
            sandbox.git(["branch", name]);
            let log = sandbox.git(["log", "-g", "--format=%gs", &format!("refs/heads/{name}")]);
            assert_eq!(log, "branch: Created from main");
        }
        sandbox.assert_sound();
    });
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_touched() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let one = sandbox.head();
        for name in [
            "refs/things/../../evil",
            "refs/things/a b",
            "refs/things/a.lock",
            "refs/things/a\nrefs/things/b",
            "refs/things/",
            "HEAD",
            "",
        ] {
            assert_eq!(repo.refs().get(name).unwrap(), None, "{name}");
            let error = repo
                .refs()
                .update(name, Some(one), Expected::Absent, Relaxed)
                .unwrap_err();
            assert!(matches!(error, Error::Malformed(_)), "{name}: {error}");
        }
        assert!(!sandbox.git_dir().join("evil").exists());
        assert_eq!(sandbox.git(["for-each-ref", "refs/things"]), "");
    });
}

#[test]
fn what_another_hash_would_name_is_broken() {
    files(|sandbox| {
        let repo = sandbox.repo();
        let hex = if sandbox.format.hash == "sha1" { 64 } else { 40 };
        put(&sandbox.git_dir().join(NAME), format!("{}\n", "a".repeat(hex)));
        assert_eq!(repo.refs().get(NAME).unwrap(), Some(Target::Broken));
    });
}

#[test]
fn no_update_goes_through_a_symbolic_reference() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let (one, two) = (sandbox.head(), sandbox.loose_commit("two"));
        sandbox.git(["symbolic-ref", NAME, "refs/heads/main"]);
        let _: Result<Outcome, Error> = repo.refs().update(NAME, Some(two), Expected::At(one), Relaxed);
        assert_eq!(sandbox.head(), one);
    });
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 64, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn a_prefix_is_found_in_packed_refs_as_by_reading_all_of_it(
        names in proptest::collection::btree_set("[a-c]{1,3}(/[a-c-]{1,3}){0,2}x", 0..40),
        peeled in proptest::collection::vec(proptest::bool::ANY, 40),
        prefixes in proptest::collection::vec("[a-c]{0,3}(/[a-c-]{1,3}){0,1}", 8),
        sorted in proptest::bool::ANY,
    ) {
        thread_local!(static SANDBOX: Sandbox = Sandbox::new(crate::git_repo::Format::PLAIN));
        SANDBOX.with(|sandbox| {
            let oid = sandbox.head();
            let header = if sorted { "# pack-refs with: peeled fully-peeled sorted \n" } else { "" };
            let mut names: Vec<String> = names.iter().map(|name| format!("refs/p/{name}")).collect();
            if !sorted {
                names.reverse();
            }
            let mut content = header.to_owned();
            for (name, peeled) in names.iter().zip(peeled) {
                content += &format!("{oid} {name}\n");
                if peeled {
                    content += &format!("^{oid}\n");
                }
            }
            fs::write(sandbox.git_dir().join("packed-refs"), content).unwrap();
            let repo = sandbox.repo();
            for prefix in &prefixes {
                let prefix = format!("refs/p/{prefix}");
                let whole = format!("{}/", prefix.trim_end_matches('/'));
                let found = repo.refs().list(&whole).unwrap().into_iter();
                let mut found: Vec<String> = found.map(|found| found.name.to_string()).collect();
                let mut wanted: Vec<String> = names
                    .iter()
                    .filter(|name| name.starts_with(&whole))
                    .cloned()
                    .collect();
                found.sort();
                wanted.sort();
                assert_eq!(found, wanted);
                let one = repo.refs().get(&prefix).unwrap();
                assert_eq!(one.is_some(), names.contains(&prefix), "{prefix}");
            }
            for name in &names {
                assert_eq!(repo.refs().get(name).unwrap(), Some(Target::Object(oid)));
            }
        });
    }
}

/// Changes that make references, each to a commit.
fn creations(names: impl Iterator<Item = String>, to: ObjectId) -> Vec<Change> {
    names
        .map(|name| Change {
            name,
            new: Some(to),
            expected: Expected::Absent,
        })
        .collect()
}

#[test]
fn many_updates_are_made_together_and_each_by_itself() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let refs = repo.refs();
        let (one, two) = (sandbox.head(), sandbox.loose_commit("two"));
        sandbox.git(["tag", "-a", "-m", "a tag", "tag"]);
        sandbox.git(["update-ref", "refs/things/000/nested", "HEAD"]);
        sandbox.git(["pack-refs", "--all"]);
        sandbox.git(["update-ref", "refs/things/001", "HEAD"]);
        let mut changes = creations((0..200).map(|n| format!("refs/things/{n:03}")), one);
        changes.push(changes[150].clone());
        changes.push(Change {
            name: "refs/tags/tag2".to_owned(),
            new: Some(oid(&sandbox.git(["rev-parse", "tag"]))),
            expected: Expected::Absent,
        });
        let mut outcomes = refs.update_all(&changes, Durable).unwrap().into_iter();
        assert!(
            matches!(outcomes.next(), Some(Err(Error::RefConflict(_)))),
            "000 is a directory"
        );
        assert_eq!(outcomes.next().unwrap().unwrap(), Outcome::Moved(Some(one)));
        let rest: Vec<Outcome> = outcomes.map(Result::unwrap).collect();
        assert!(rest[..148].iter().all(|outcome| *outcome == Outcome::Done));
        // Which of two equal ones comes first is no matter.
        let twice = [rest[148], rest[198]];
        assert!(twice.contains(&Outcome::Done) && twice.contains(&Outcome::Moved(Some(one))));
        assert_eq!(rest[199], Outcome::Done);
        assert_eq!(sandbox.git(["rev-parse", "refs/tags/tag2^{}"]), one.to_string());
        // Moved on, packed and loose; some removed; one isn't where it is expected.
        sandbox.git(["update-ref", "refs/things/005", &two.to_string()]);
        let changes: Vec<Change> = (2..150)
            .map(|n| Change {
                name: format!("refs/things/{n:03}"),
                new: (n % 10 != 0).then_some(two),
                expected: Expected::At(one),
            })
            .collect();
        let outcomes = refs.update_all(&changes, Durable).unwrap();
        for (change, outcome) in changes.iter().zip(outcomes) {
            let moved = change.name.ends_with("005");
            let expected = if moved {
                Outcome::Moved(Some(two))
            } else {
                Outcome::Done
            };
            assert_eq!(outcome.unwrap(), expected, "{change:?}");
            let now = change.new.map(Target::Object);
            assert_eq!(refs.get(&change.name).unwrap(), now, "{change:?}");
        }
        let listed = refs.list("refs/").unwrap().len();
        assert_eq!(sandbox.git(["for-each-ref"]).lines().count(), listed);
        sandbox.git(["pack-refs", "--all"]);
        assert_eq!(sandbox.git(["for-each-ref"]).lines().count(), listed);
        sandbox.assert_sound();
    });
}

/// A value that was to replace another.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: ObjectId,
    to: ObjectId,
    /// Whether it is known to have done so. One that was seen, and replaced before it was looked at again, is not.
    is_certain: bool,
}

/// Whether one value leads to another by all steps that are certain, and as many of the others as that takes.
fn leads(at: ObjectId, last: ObjectId, steps: &[Step]) -> bool {
    if at == last && !steps.iter().any(|step| step.is_certain) {
        return true;
    }
    let certain = steps.iter().filter(|step| step.is_certain && step.from == at);
    let is_certain = match certain.count() {
        0 => false,
        1 => true,
        _ => return false,
    };
    let next = steps.iter().enumerate();
    let mut next = next.filter(|(_, step)| step.from == at && step.is_certain == is_certain);
    next.any(|(place, step)| {
        let left = [&steps[..place], &steps[place + 1..]].concat();
        leads(step.to, last, &left)
    })
}

#[test]
fn many_updates_lose_none_of_others_while_references_are_packed() {
    files(|sandbox| {
        const ROUNDS: usize = 30;
        let one = sandbox.head();
        let name = |n: usize| format!("refs/things/{n:03}");
        for change in creations((0..100).map(name), one) {
            point(&sandbox.repo(), &change.name, one);
        }
        let pack = || {
            run(git_command(&sandbox.root()).args(["pack-refs", "--all"]));
        };
        let commits: Vec<ObjectId> = (0..2 * ROUNDS)
            .map(|n| sandbox.loose_commit(&n.to_string()))
            .collect();
        // Each moves all of them from whatever they are to a value of its own; the values form one chain of each.
        let together = || {
            let repo = sandbox.repo();
            let mut steps = Vec::new();
            for new in &commits[..ROUNDS] {
                let now = repo.refs().list("refs/things/").unwrap();
                let changes: Vec<Change> = now
                    .into_iter()
                    .filter_map(|found| match found.target {
                        Target::Object(at) => Some(Change {
                            name: text(&found.name),
                            new: Some(*new),
                            expected: Expected::At(at),
                        }),
                        _ => None,
                    })
                    .collect();
                let outcomes = repo.refs().update_all(&changes, Relaxed).unwrap();
                let done = changes.into_iter().zip(outcomes);
                steps.extend(done.filter_map(|(change, outcome)| {
                    let Expected::At(from) = change.expected else {
                        return None;
                    };
                    let is_certain = matches!(outcome, Ok(Outcome::Done));
                    Some((
                        change.name,
                        Step {
                            from,
                            to: *new,
                            is_certain,
                        },
                    ))
                }));
            }
            steps
        };
        let by_git = || {
            let mut steps = Vec::new();
            for (round, new) in commits[ROUNDS..].iter().enumerate() {
                let name = name(round % 5);
                let at = sandbox.git(["rev-parse", &name]);
                let moved =
                    run(git_command(&sandbox.root()).args(["update-ref", &name, &new.to_string(), &at]));
                if moved.status.success() {
                    let (from, to) = (oid(&at), *new);
                    steps.push((
                        name,
                        Step {
                            from,
                            to,
                            is_certain: true,
                        },
                    ));
                }
            }
            steps
        };
        let steps = beside(pack, || {
            thread::scope(|scope| {
                let ours = scope.spawn(together);
                let theirs = by_git();
                [ours.join().unwrap(), theirs].concat()
            })
        });
        // No value was replaced twice, and each that was replaced had been written: none was lost.
        for n in 0..100 {
            let mine = steps.iter().filter(|(named, _)| *named == name(n));
            let mine: Vec<Step> = mine.map(|(_, step)| *step).collect();
            let last = oid(&sandbox.git(["rev-parse", &name(n)]));
            assert!(leads(one, last, &mine), "{}: {mine:?} to {last}", name(n));
        }
    });
}
