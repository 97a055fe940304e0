//! One session, told in full; a failed one with its autopsy.

use jiff::Timestamp;

use super::harmless;
use super::paint::Paint;
use super::time::{age, moment};
use crate::ops::autopsy::Autopsy;
use crate::ops::trust::Standing;
use crate::ops::view::{Astray, Origin, View};
use crate::session::State;
use crate::session::text::escape;

/// Writes what is known of a session.
pub fn card(view: &View, autopsy: Option<&Autopsy>, now: Timestamp, paint: Paint) -> String {
    let event = &view.session.event;
    let summary = &event.summary;
    let mut out = format!("{}\n", paint.heading(&format!("session {}", summary.id)));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push_str(&format!("  {name:<10}{value}\n"));
        }
    };
    let mut state = paint.state(summary.state, summary.state.word());
    if let (State::Terminated, Some(outcome)) = (summary.state, &summary.outcome) {
        state.push_str(&format!(", {}", escape(&outcome.to_string())));
    }
    if summary.frozen {
        state.push_str(", frozen: its processes are kept in memory");
    }
    if view.stale == Some(true) {
        state.push_str(&paint.alarm(match view.unsupervised {
            true => ", unsupervised: its worker lives on without its supervisor",
            false => ", stale: nobody supervises it any more",
        }));
    }
    if let Some(ended) = &view.ended {
        let ended = format!(
            ", its worker ended with {}, which is not recorded yet",
            escape(ended)
        );
        state.push_str(&paint.alarm(&ended));
    }
    if view.overdue {
        state.push_str(&paint.alarm(", overdue"));
    }
    line("state", Some(state));
    let ago = |at| format!("{} ({} ago)", moment(at), age(at, now));
    line("since", view.since.map(ago));
    let updated = Some(event.at).filter(|at| Some(*at) != view.since);
    line("updated", updated.map(ago));
    line("reason", summary.reason.as_deref().map(super::reason));
    line("title", summary.title.as_deref().map(escape));
    line("issue", summary.issue.as_deref().map(escape));
    line("worker", summary.worker.as_deref().map(escape));
    line("command", view.spec.as_ref().map(|spec| spec.command_line()));
    let astray = match view.astray {
        None => String::new(),
        Some(Astray::Absent) => " (not here)".to_owned(),
        Some(Astray::At(tip)) => format!(" (here at {}, not the session's head)", tip.to_hex_with_len(12)),
    };
    let branch = summary.branch.as_deref().map(escape);
    line("branch", branch.map(|branch| branch + &astray));
    line(
        "base",
        summary.base.map(|oid| oid.to_hex_with_len(12).to_string()),
    );
    line(
        "head",
        summary.head.map(|oid| oid.to_hex_with_len(12).to_string()),
    );
    let elsewhere = if view.work_elsewhere { " (not here)" } else { "" };
    let work = summary
        .work
        .map(|oid| format!("{}{elsewhere}", oid.to_hex_with_len(12)));
    line(
        "work",
        work.or_else(|| view.forgotten.then(|| "forgotten".to_owned())),
    );
    let changed = view.changed.map(|changed| match changed.files {
        0 => "nothing".to_owned(),
        _ => changed.to_string(),
    });
    line("changed", changed);
    line(
        "worktree",
        match &view.worktree {
            Some(path) if view.outdated => Some(format!(
                "{} (from before it went on elsewhere)",
                escape(&path.to_string_lossy())
            )),
            Some(path) => Some(escape(&path.to_string_lossy())),
            // Its worker has nowhere to be, and what it did there is lost unless it was saved.
            None if view.stale == Some(false) && summary.state == State::Running => Some("gone".to_owned()),
            None => None,
        },
    );
    for what in &view.aside {
        line("aside", Some(escape(&format!("{}: {}", what.path, what.why))));
    }
    let labels: Vec<String> = summary
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    line("labels", (!labels.is_empty()).then(|| escape(&labels.join(", "))));
    line("parent", summary.parent.as_ref().map(|parent| parent.to_string()));
    line("deadline", summary.deadline.map(moment));
    let whose = if view.here { "this clone" } else { "another clone" };
    line("owner", Some(format!("{whose}, on {}", escape(&summary.host))));
    line("home", summary.home.as_deref().map(escape));
    if let Some(origin) = view.origin {
        line("trusted", Some(trusted(origin, paint)));
    }
    for what in &summary.unsaved {
        line("unsaved", Some(escape(what)));
    }
    if let Some(autopsy) = autopsy {
        out.push_str(&post_mortem(autopsy, paint));
    }
    out
}

fn trusted(origin: Origin, paint: Paint) -> String {
    let signed = match origin.signature {
        None => "",
        Some(Standing::Good) => ", all of it signed",
        Some(Standing::Unknown) => ", some of it signed by somebody unknown",
        Some(Standing::Missing) => ", some of it not signed",
    };
    let refused = !origin.trusted || matches!(origin.signature, Some(Standing::Unknown | Standing::Missing));
    let text = match origin.trusted {
        true => format!("yes: it came from elsewhere, and was approved as it is{signed}"),
        false => format!("no: it came from elsewhere, and does not run here unless it is approved{signed}"),
    };
    if refused { paint.alarm(&text) } else { text }
}

fn post_mortem(autopsy: &Autopsy, paint: Paint) -> String {
    let mut out = String::new();
    if let Some(commit) = &autopsy.last_commit {
        out.push_str(&format!(
            "{}\n  {}\n",
            paint.heading("last commit"),
            escape(commit)
        ));
    }
    if !autopsy.changed.is_empty() {
        out.push_str(&format!("{}\n", paint.heading("changed since its base")));
        for line in &autopsy.changed {
            out.push_str(&format!("  {}\n", harmless(line.trim_end())));
        }
    }
    out.push_str(&format!("{}\n", paint.heading("last output")));
    match autopsy.output.as_deref() {
        None => out.push_str("  (not here)\n"),
        Some([]) => out.push_str("  (none)\n"),
        Some(lines) => {
            for line in lines {
                out.push_str(&format!("  {}\n", harmless(line.trim_end())));
            }
        }
    }
    out
}
