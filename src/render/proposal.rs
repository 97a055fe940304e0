//! What would run of a session that came from elsewhere, told to who is to approve it.

use std::path::Path;

use super::escape;
use super::paint::Paint;
use crate::ops::trust::Subject;

/// What a person goes by, beside what is in the subject itself.
pub struct Facts<'a> {
    pub place: &'a Path,
    /// What the work changes, as `git diff --stat` shows it, or why that can't be told.
    pub stat: &'a str,
    /// Repositories within it.
    pub nested: &'a [String],
    /// The branch that its work is on, if that is another than the session's.
    pub branch: Option<&'a str>,
}

/// Writes what would run, where, and on what.
pub fn proposal(subject: &Subject, facts: &Facts<'_>, paint: Paint) -> String {
    let Subject {
        id, spec, foreign, ..
    } = subject;
    let what = match subject.derived {
        true => "runs again what came from elsewhere",
        false => "came from elsewhere",
    };
    let mut out = format!("{}\n", paint.heading(&format!("session {id} {what}")));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {name:<14}{value}\n"));
        }
    };
    // A command may have them as arguments.
    line("title", &escape(spec.title.as_deref().unwrap_or_default()));
    line("issue", &escape(spec.issue.as_deref().unwrap_or_default()));
    line("command", &spec.command_line());
    line("on resume", &spec.resume_line());
    line("directory", &escape(&facts.place.to_string_lossy()));
    line("branch", &escape(spec.branch.as_deref().unwrap_or_default()));
    line("work is on", &escape(facts.branch.unwrap_or_default()));
    line("worker", &escape(spec.worker.as_deref().unwrap_or_default()));
    line("environment", &escape(&spec.environment.join(" ")));
    if let Some(foreign) = foreign {
        line("written by", &escape(&foreign.event.by));
        line("host", &escape(&foreign.event.summary.host));
    }
    line("repositories", &escape(&facts.nested.join(" ")));
    if facts.stat.trim().is_empty() {
        line("changes", "nothing");
    } else {
        out.push_str("  changes\n");
        for stat in facts.stat.lines() {
            out.push_str(&format!("   {}\n", escape(stat)));
        }
    }
    out
}
