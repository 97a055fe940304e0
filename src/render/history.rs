//! A session's log as a story.

use gix::ObjectId;
use jiff::Timestamp;

use super::paint::Paint;
use super::time::moment;
use crate::session::duration::brief;
use crate::session::log::spans;
use crate::session::text::escape;
use crate::session::{Event, State};

/// Writes one paragraph an event, oldest first, then how long each state lasted.
///
/// Who wrote an event is said where that is somebody else than before.
pub fn story(events: &[(ObjectId, Event)], now: Timestamp, paint: Paint) -> String {
    let mut out = String::new();
    let mut writer = String::new();
    for (commit, event) in events {
        let summary = &event.summary;
        let step = match event.from {
            Some(from) if from != summary.state => format!("{from} -> {}", summary.state),
            _ => summary.state.to_string(),
        };
        out.push_str(&format!(
            "{:>3}  {}  {}  {}\n",
            event.seq,
            moment(event.at),
            paint.heading(&format!("{:<10}", event.kind.word())),
            paint.state(summary.state, &step),
        ));
        let mut detail = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push_str(&format!("     {name:<9}{}\n", escape(&value)));
            }
        };
        let by = format!("{} on {}", event.by, summary.host);
        if by != writer {
            detail("by", Some(by.clone()));
            writer = by;
        }
        if event.kind.is_transition() {
            detail(
                "outcome",
                summary.outcome.as_ref().map(|outcome| outcome.to_string()),
            );
            detail("reason", summary.reason.as_deref().map(super::reason));
        }
        detail("note", event.note.clone());
        detail("request", event.request.clone());
        detail(
            "work",
            summary.work.map(|work| work.to_hex_with_len(12).to_string()),
        );
        detail("commit", Some(commit.to_hex_with_len(12).to_string()));
    }
    let only: Vec<Event> = events.iter().map(|(_, event)| event.clone()).collect();
    let lasted: Vec<String> = spans(&only, now)
        .into_iter()
        .filter(|(state, _)| *state != State::Terminated)
        .map(|(state, time)| format!("{state} {}", brief(time)))
        .collect();
    if !lasted.is_empty() {
        out.push_str(&format!("in all: {}\n", lasted.join(", ")));
    }
    out
}
