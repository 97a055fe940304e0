//! What is said to somebody whose command line can't be read.

use crate::on_one_format;
use crate::sandbox::Sandbox;

/// What is said of a command line: two lines, the error and the hint.
fn said(sandbox: &Sandbox, line: &str) -> (String, String) {
    let run = sandbox.session(line);
    run.exits(129);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let [error, hint] = lines[..] else { panic!("{run}") };
    let without = |line: &str, head: &str| line.strip_prefix(head).expect(line).to_owned();
    (without(error, "error: "), without(hint, "hint: "))
}

on_one_format! {
    fn a_command_without_its_dashes_is_shown_with_them(sandbox: &Sandbox) {
        for (typed, meant) in [
            ("run echo hi", "run -- echo hi"),
            ("run -t echo echo hi", "run -t echo -- echo hi"),
            ("new make -j4", "new -- make -j4"),
            ("exec x ls -l", "exec x -- ls -l"),
            ("note x hello world", "note x -m 'hello world'"),
        ] {
            let (_, hint) = said(sandbox, typed);
            assert!(hint.ends_with(&format!(": git session {meant}")), "{typed}: {hint}");
        }
    }

    fn a_slip_in_a_verb_is_told_by_the_verb_that_was_meant(sandbox: &Sandbox) {
        for (typed, verb, meant) in [
            ("runn -- true", "runn", "run"),
            ("runn --title x -- true", "runn", "run"),
            ("help runn", "runn", "run"),
            ("stp fix", "stp", "stop"),
            ("lits", "lits", "list"),
            ("termniate x y", "termniate", "terminate"),
        ] {
            let (error, hint) = said(sandbox, typed);
            assert_eq!(error, format!("no verb '{verb}'"), "{typed}");
            assert_eq!(hint, format!("did you mean '{meant}'?"), "{typed}");
        }
        let (error, hint) = said(sandbox, "spawn --fast -- true");
        assert_eq!(error, "no verb 'spawn'");
        assert_eq!(hint, "'git session -h' shows the verbs");
        sandbox.session("nothing").fails(1).says("no session 'nothing'");
    }

    fn a_session_that_is_called_almost_like_a_verb_is_listed(sandbox: &Sandbox) {
        sandbox.session("new --id runn -- true").ok();
        sandbox.session("runn").ok().prints("runn");
    }

    fn what_is_wrong_is_one_line_for_programs_too(sandbox: &Sandbox) {
        for line in ["new --nonsense -- true", "note x", "list --state odd", "show a b", "diff --staat"] {
            let (error, _) = said(sandbox, line);
            let json = sandbox.session(&line.replacen(' ', " --json ", 1)).exits(129).json();
            assert_eq!(json["error"]["message"], error.as_str(), "{line}");
        }
        let (error, _) = said(sandbox, "list --state odd");
        assert!(error.ends_with("pending, running, suspended, terminated"), "{error}");
        let (error, _) = said(sandbox, "run --timeout soon -- true");
        assert!(error.contains("seconds like 90"), "{error}");
        assert_eq!(said(sandbox, "diff --staat").1, "did you mean '--stat'?");
        let (error, _) = said(sandbox, "show x \u{1b}[1m");
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    fn a_text_may_begin_with_a_dash(sandbox: &Sandbox) {
        sandbox.session("new --id dashes --title -dash --issue -7 -- true").ok();
        assert_eq!(sandbox.trailer("dashes", "Title"), "-dash");
        sandbox.session("new --branch -x -- true").fails(129).says("'-x' is not a legal branch name");
        sandbox.session("new --base -x -- true").fails(1).says("-x");
        assert!(said(sandbox, "new --retries -1 -- true").0.contains("'-1' for '--retries <N>'"));
    }

    fn help_has_help(sandbox: &Sandbox) {
        let help = sandbox.session("help").ok().text();
        assert_eq!(sandbox.session("help -h").ok().text(), help);
        assert_eq!(sandbox.session("help --help").ok().text(), help);
    }
}
