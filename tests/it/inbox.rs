//! What others put in a session's inbox.

use git_session::{
    git::refs::Outcome,
    session::{Ask, Kind, Request, event::FORMAT},
    store::{
        Error, Store,
        inbox::{Entry, Inbox},
        names,
    },
};

use crate::git_repo::{formats, point};
use crate::logs::{claim, create, id, signed, stamp, step};

fn request(ask: Ask, nonce: &str) -> Request {
    let stamp = stamp(5, nonce);
    Request {
        format: FORMAT,
        id: id("one"),
        ask,
        epoch: 1,
        seq: 1,
        owner: "there".to_owned(),
        host: "a host\u{202e}".to_owned(),
        nonce: nonce.to_owned(),
        reason: Some("because\nSession-Request: note".to_owned()),
        note: (ask == Ask::Note).then(|| "a note of\ntwo lines \\ with a backslash".to_owned()),
        at: stamp.at,
        by: stamp.by,
    }
}

fn requested(entry: &Entry) -> &Request {
    match &entry.inbox {
        Inbox::Request { request, .. } => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_comes_back_as_it_was_made_and_costs_one_object() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let seen = create(&repo, &id("one"), "first");
        let before = sandbox.git(["count-objects"]);
        let count = |text: String| text.split(' ').next().unwrap().parse::<u64>().unwrap();
        for (number, ask) in Ask::ALL.into_iter().enumerate() {
            let mut request = request(ask, &format!("nonce{number}"));
            // The last one was made first, whatever its name.
            request.at = stamp(9 - number as i64, "").at;
            let by = signed(9 - number as i64);
            let (entry, outcome) = store.ask(&seen, &request, [&by, &by]).unwrap();
            assert_eq!(outcome, Outcome::Done);
            assert_eq!(entry.name, format!("refs/session-inbox/one/nonce{number}"));
            assert_eq!(
                requested(&store.read_inbox(&entry.name, entry.tip).unwrap()),
                &request
            );
            // It stands on the log that was seen, so that it needs nothing else.
            let commit = entry.tip.to_string();
            assert_eq!(
                sandbox.git(["rev-parse", &format!("{commit}^")]),
                seen.tip.to_string()
            );
            let trailers = sandbox.git([
                "show",
                "-s",
                "--format=%(trailers:key=Session-Request,valueonly)",
                &commit,
            ]);
            assert_eq!(trailers.trim(), ask.word());
            // A nonce is used once.
            let other = Request {
                reason: None,
                ..request
            };
            let (_, outcome) = store.ask(&seen, &other, [&by, &by]).unwrap();
            assert_eq!(outcome, Outcome::Moved(Some(entry.tip)));
        }
        assert_eq!(count(sandbox.git(["count-objects"])) - count(before), 6);
        let inbox = store.inbox(Some(&id("one"))).unwrap();
        let asked: Vec<Ask> = inbox.entries.iter().map(|entry| requested(entry).ask).collect();
        let mut by_time = Ask::ALL;
        by_time.reverse();
        assert_eq!(asked, by_time);
        assert!(store.inbox(Some(&id("on"))).unwrap().entries.is_empty());
        assert_eq!(store.clear(&inbox.entries[0]).unwrap(), Outcome::Done);
        assert_eq!(store.clear(&inbox.entries[0]).unwrap(), Outcome::Moved(None));
        assert_eq!(store.inbox(None).unwrap().entries.len(), 2);
        // The log has heard of nothing.
        assert_eq!(store.load(&id("one")).unwrap().unwrap().tip, seen.tip);
        sandbox.assert_sound();
    });
}

#[test]
fn a_request_is_outdated_once_ownership_was_taken() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let seen = create(&repo, &id("one"), "first");
        let request = request(Ask::Suspend, "nonce");
        let noted = step(&repo, &seen, Kind::Note, 1, "note").unwrap();
        assert!(!request.is_outdated(&noted.event.summary));
        let claimed = claim(&repo, &noted, "there", 2, "claim").unwrap();
        assert!(request.is_outdated(&claimed.event.summary));
    });
}

#[test]
fn a_superseded_log_lies_in_the_inbox_under_its_own_name() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let ours = step(&repo, &root, Kind::Start, 1, "start").unwrap();
        let entry = store.supersede(&ours).unwrap();
        assert_eq!(store.supersede(&ours).unwrap().name, entry.name, "twice is once");
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let inbox = store.inbox(None).unwrap();
        assert_eq!(inbox.skipped, []);
        let [
            Entry {
                name,
                tip,
                inbox: Inbox::Superseded(found),
            },
        ] = &inbox.entries[..]
        else {
            panic!("{inbox:?}")
        };
        assert_eq!((name, tip, &found.event), (&entry.name, &ours.tip, &ours.event));
    });
}

#[test]
fn what_is_no_request_of_ours_is_set_aside_by_name() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let seen = create(&repo, &id("one"), "first");
        let other = create(&repo, &id("two"), "second");
        let by = signed(5);
        let (good, _) = store.ask(&seen, &request(Ask::Note, "good"), [&by, &by]).unwrap();
        let tree = seen.tree.to_string();
        let forge = |trailers: &str| {
            let message = format!("subject\n\n{trailers}");
            crate::git_repo::oid(&sandbox.git(["commit-tree", "-m", &message, &tree]))
        };
        let whole = "Session-Format: 1\nSession-Id: one\nSession-Request: note\nSession-Epoch: 1\n\
                     Session-Seq: 1\nSession-Owner: there\nSession-Nonce: ";
        let bad = [
            ("code", sandbox.head(), "no 'Session-Format' trailer"),
            ("renamed", good.tip, "not what an inbox has under that name"),
            ("others", other.tip, "not what an inbox has under that name"),
            ("ne/sted", good.tip, "not what an inbox has under that name"),
            (
                "lacking",
                forge("Session-Format: 1\nSession-Id: one"),
                "no 'Session-Request' trailer",
            ),
            (
                "odd",
                forge(&format!("{}odd", whole.replace("note", "resume"))),
                "'Session-Request' trailer says 'resume'",
            ),
            (
                "huge",
                forge(&format!("{}huge", whole.replace("Epoch: 1", "Epoch: -1"))),
                "'Session-Epoch' trailer says '-1'",
            ),
        ];
        for (name, tip, _) in &bad {
            point(&repo, &names::inbox(&id("one"), name), *tip);
        }
        point(
            &repo,
            &names::inbox(&id("one"), "plain"),
            forge(&format!("{whole}plain")),
        );
        let inbox = store.inbox(None).unwrap();
        let names: Vec<&str> = inbox.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            ["refs/session-inbox/one/plain", "refs/session-inbox/one/good"]
        );
        assert_eq!(inbox.skipped.len(), bad.len());
        for (name, tip, why) in bad {
            let name = names::inbox(&id("one"), name);
            let refused = store.read_inbox(&name, tip).unwrap_err();
            assert!(matches!(refused, Error::NotOurs { .. }));
            assert!(refused.to_string().contains(why), "{refused}");
        }
    });
}
