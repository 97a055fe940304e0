//! Logs as they were seen elsewhere, and how the ones here move onto them.

use git_session::{
    git::refs::Expected,
    session::Kind,
    store::{Append, Error, Session, Store, names},
};

use crate::git_repo::{formats, point};
use crate::logs::{claim, create, id, step};
use crate::on_one_format;

/// Names that git takes for a remote, or that somebody could write into a configuration.
const REMOTES: [&str; 16] = [
    "origin",
    "a/b",
    "ü",
    "x%y",
    ".hidden",
    "a.lock",
    "a.lock/b.lock",
    "a..b",
    "end.",
    "@{",
    "@",
    "~^:?*[\\ ",
    "-dash",
    "a\nb\u{1b}",
    "ssh://host:22/path",
    "a%2Fb",
];

#[test]
fn what_was_seen_at_a_remote_is_found_again_whatever_its_name() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        for remote in REMOTES {
            let name = names::tracking(remote, &id("one"));
            assert_eq!(sandbox.git(["check-ref-format", "--normalize", &name]), name);
            sandbox.git(["update-ref", &name, &root.tip.to_string()]);
            assert_eq!(names::tracked(&name), Some((remote.to_owned(), id("one"))));
        }
        let mut remotes = store.tracked_remotes().unwrap();
        let mut expected = REMOTES.map(str::to_owned);
        expected.sort();
        remotes.sort();
        assert_eq!(remotes, expected);
        for remote in REMOTES {
            let listing = store.list_tracking(remote).unwrap();
            let tips: Vec<_> = listing.sessions.iter().map(|session| session.tip).collect();
            assert_eq!((tips, listing.skipped), (vec![root.tip], vec![]), "{remote}");
            let seen = store.load_tracking(remote, &id("one")).unwrap().unwrap();
            assert_eq!(seen.event, root.event);
        }
        assert!(store.load_tracking("nowhere", &id("one")).unwrap().is_none());
        assert!(store.list_tracking("nowhere").unwrap().sessions.is_empty());
        // What was seen elsewhere is no session here.
        assert_eq!(store.list().unwrap().sessions.len(), 1);
    });
}

#[test]
fn a_bad_tracking_ref_hides_no_good_one() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let code = sandbox.head();
        for (name, tip) in [
            ("one", root.tip),
            ("two", root.tip),
            ("code", code),
            ("ne/sted", root.tip),
        ] {
            point(&repo, &format!("refs/session-remotes/origin/{name}"), tip);
        }
        let listing = store.list_tracking("origin").unwrap();
        assert_eq!(listing.sessions.len(), 1);
        let skipped: Vec<_> = listing.skipped.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(
            skipped,
            ["code", "ne/sted", "two"].map(|name| format!("refs/session-remotes/origin/{name}"))
        );
        assert!(matches!(
            store.load_tracking("origin", &id("two")),
            Err(Error::NotOurs { .. })
        ));
    });
}

#[test]
fn a_session_and_its_history_are_read_at_any_of_its_events() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let started = step(&repo, &root, Kind::Start, 1, "start").unwrap();
        let claimed = claim(&repo, &started, "there", 2, "claim").unwrap();
        let seen = store.at(&id("one"), claimed.tip).unwrap();
        assert_eq!((&seen.event, seen.tree), (&claimed.event, root.tree));
        let kinds = |session: &Session| -> Vec<Kind> {
            let history = store.history(session).unwrap();
            history.into_iter().map(|(_, event)| event.kind).collect()
        };
        assert_eq!(kinds(&seen), [Kind::Create, Kind::Start, Kind::Claim]);
        assert_eq!(
            kinds(&store.at(&id("one"), started.tip).unwrap()),
            [Kind::Create, Kind::Start]
        );
        assert_eq!(store.root(&seen).unwrap(), root.tip);
        // The log itself is where it was.
        assert_eq!(store.load(&id("one")).unwrap().unwrap().tip, root.tip);
    });
}

#[test]
fn logs_move_onto_what_was_seen_each_for_itself() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let mut moves = Vec::new();
        for name in ["one", "two", "three"] {
            let root = create(&repo, &id(name), "first");
            let next = step(&repo, &root, Kind::Note, 1, "note").unwrap();
            point(&repo, &names::tracking("origin", &id(name)), next.tip);
            moves.push((next, Expected::At(root.tip)));
        }
        // One is new here, and one was moved by somebody else.
        sandbox.git(["update-ref", "-d", "refs/sessions/one"]);
        moves[0].1 = Expected::Absent;
        let (two, other) = (moves[1].0.clone(), Expected::At(moves[1].0.tip));
        moves[1].1 = other;
        let moved = store.advance_all(&moves).unwrap();
        assert!(matches!(&moved[0], Ok(Append::Done(session)) if session.tip == moves[0].0.tip));
        assert!(matches!(&moved[1], Ok(Append::Moved(Some(at))) if *at != two.tip));
        assert!(matches!(&moved[2], Ok(Append::Done(_))));
        for (name, seq) in [("one", 2), ("two", 1), ("three", 2)] {
            assert_eq!(store.load(&id(name)).unwrap().unwrap().event.seq, seq, "{name}");
        }
        // A lock in one's way is nothing to the others.
        if sandbox.format.refs == "files" {
            let lock = sandbox.git_dir().join("refs/sessions/two.lock");
            std::fs::write(&lock, "").unwrap();
            let three = step(&repo, &moves[2].0, Kind::Note, 1, "again").unwrap();
            moves[1].1 = Expected::At(store.load(&id("two")).unwrap().unwrap().tip);
            let moved = store
                .advance_all(&[moves[1].clone(), (three, Expected::At(moves[2].0.tip))])
                .unwrap();
            assert!(
                moved[0].is_err() && matches!(moved[1], Ok(Append::Done(_))),
                "{moved:?}"
            );
            std::fs::remove_file(lock).unwrap();
        }
        sandbox.assert_sound();
    });
}

#[test]
fn an_event_can_be_written_and_sent_before_the_log_moves() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let by = crate::logs::signed(1);
        let write = |onto: &Session, kind| {
            let stamp = crate::logs::stamp(1, "nonce");
            let event = onto
                .event
                .step(kind, git_session::session::Claim::Plain, stamp)
                .unwrap();
            store.write_event(onto, &event, [&by, &by]).unwrap()
        };
        let home = write(&root, Kind::Home);
        let start = write(&home.session, Kind::Start);
        assert_eq!(store.load(&id("one")).unwrap().unwrap().tip, root.tip);
        let remote = sandbox.beside("remote.git");
        let hash = format!("--object-format={}", sandbox.format.hash);
        sandbox.git(["init", "-q", "--bare", &hash, remote.to_str().unwrap()]);
        let refspec = format!("{}:refs/sessions/one", start.session.tip);
        sandbox.git(["push", "-q", remote.to_str().unwrap(), &refspec]);
        // It may be taken away meanwhile; what was sent is written again.
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let tip = start.session.tip;
        let written = start.on(home);
        let lost = store.advance(&written, Expected::Absent).unwrap();
        assert!(matches!(lost, Append::Moved(Some(at)) if at == root.tip));
        let won = store.advance(&written, Expected::At(root.tip)).unwrap();
        assert!(matches!(won, Append::Done(session) if session.tip == tip));
        sandbox.assert_sound();
        assert_eq!(
            store
                .history(&store.load(&id("one")).unwrap().unwrap())
                .unwrap()
                .len(),
            3
        );
    });
}

on_one_format! {
    fn what_the_program_writes_is_a_legal_log(sandbox: &Sandbox) {
        sandbox.config("session.fsync", "false");
        let mut held = sandbox.hold("--id whole");
        sandbox.session("note whole -m 'so far'").ok();
        sandbox.session("checkpoint whole").ok();
        sandbox.session("suspend whole").ok();
        sandbox.resume(&mut held);
        sandbox.let_end(&held, 3);
        sandbox.run_script("--id tried --retries 1", "exit 1");
        sandbox.new_session("--id never -- true");
        sandbox.session("terminate never").ok();
        let repo = git_session::git::Repo::open(&sandbox.repo()).unwrap();
        let store = Store::new(&repo);
        let listing = store.list().unwrap();
        assert_eq!((listing.sessions.len(), listing.skipped.len()), (3, 0));
        for session in listing.sessions {
            store.check(&session, None).unwrap();
        }
    }
}
