//! The named values of sessions and events, in the one form that all machine-readable output is made of.

use gix::ObjectId;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::ops::view::View;
use crate::session::{Event, State};

/// Names with values, in the order they are shown; absent means not applicable, null means unknown.
pub type Fields = Map<String, Value>;

/// The values of a session.
pub fn session(view: &View) -> Fields {
    let event = &view.session.event;
    let summary = &event.summary;
    let mut fields = Fields::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("id", json!(summary.id.as_str()));
    put("state", json!(summary.state.word()));
    put("here", json!(view.here));
    if view.here && matches!(summary.state, State::Pending | State::Running) {
        put("stale", json!(view.stale));
    }
    if !view.here {
        put("overdue", json!(view.overdue));
    }
    put("frozen", json!(summary.frozen));
    put("seq", json!(event.seq));
    put("epoch", json!(summary.epoch));
    put("owner", json!(summary.owner));
    put("host", json!(summary.host));
    let mut maybe = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    maybe("home", summary.home.as_ref().map(|home| json!(home)));
    maybe("created", Some(at(summary.created)));
    maybe("updated", Some(at(event.at)));
    maybe("branch", summary.branch.as_ref().map(|branch| json!(branch)));
    maybe("base", summary.base.map(oid));
    maybe("head", summary.head.map(oid));
    maybe("work", summary.work.map(oid));
    maybe("title", summary.title.as_ref().map(|title| json!(title)));
    maybe("worker", summary.worker.as_ref().map(|worker| json!(worker)));
    maybe("issue", summary.issue.as_ref().map(|issue| json!(issue)));
    maybe(
        "parent",
        summary.parent.as_ref().map(|parent| json!(parent.as_str())),
    );
    maybe("deadline", summary.deadline.map(at));
    maybe(
        "outcome",
        summary.outcome.as_ref().map(|outcome| json!(outcome.to_string())),
    );
    maybe("reason", summary.reason.as_ref().map(|reason| json!(reason)));
    maybe(
        "worktree",
        view.worktree.as_ref().map(|path| path_value(path.as_os_str())),
    );
    let labels: Map<String, Value> = summary
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    maybe("labels", Some(Value::Object(labels)));
    let command = view
        .spec
        .as_ref()
        .map(|spec| serde_json::to_value(&spec.command).unwrap_or_default());
    maybe("command", Some(command.unwrap_or(Value::Null)));
    if let Some(origin) = view.origin {
        maybe("trusted", Some(json!(origin.trusted)));
        maybe(
            "signature",
            origin.signature.map(|standing| json!(standing.word())),
        );
    }
    maybe("unsaved", Some(json!(summary.unsaved)));
    let aside = view.aside.iter();
    let aside: Vec<String> = aside.map(|what| format!("{}: {}", what.path, what.why)).collect();
    maybe("aside", (!aside.is_empty()).then(|| json!(aside)));
    maybe("ended", view.ended.as_ref().map(|ended| json!(ended)));
    fields
}

/// The values of an event.
pub fn event(commit: ObjectId, event: &Event) -> Fields {
    let summary = &event.summary;
    let mut fields = Fields::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    put("seq", Some(json!(event.seq)));
    put("event", Some(json!(event.kind.word())));
    put("from", event.from.map(|from| json!(from.word())));
    put("state", Some(json!(summary.state.word())));
    put("at", Some(at(event.at)));
    put("by", Some(json!(event.by)));
    put("owner", Some(json!(summary.owner)));
    put("host", Some(json!(summary.host)));
    put("epoch", Some(json!(summary.epoch)));
    put("commit", Some(oid(commit)));
    // What merely adds to a state carries the last step's outcome on, which isn't its own.
    if event.kind.is_transition() {
        put("reason", summary.reason.as_ref().map(|reason| json!(reason)));
        put(
            "outcome",
            summary.outcome.as_ref().map(|outcome| json!(outcome.to_string())),
        );
    }
    put("note", event.note.as_ref().map(|note| json!(note)));
    put("work", summary.work.map(oid));
    put("request", event.request.as_ref().map(|request| json!(request)));
    fields
}

/// A value as one piece: lists are joined by commas, pairs by `=`.
pub fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) => {
            raw(items).unwrap_or_else(|| items.iter().map(bytes).collect::<Vec<_>>().join(&b','))
        }
        Value::Object(pairs) => pairs.iter().map(pair).collect::<Vec<_>>().join(&b','),
        Value::Bool(_) | Value::Number(_) => value.to_string().into_bytes(),
    }
}

/// A value as its items, if it is a list or a map; else it is its only one.
pub fn items(value: &Value) -> Vec<Vec<u8>> {
    match value {
        Value::Array(items) if raw(items).is_none() => items.iter().map(bytes).collect(),
        Value::Object(pairs) => pairs.iter().map(pair).collect(),
        value => vec![bytes(value)],
    }
}

fn pair((key, value): (&String, &Value)) -> Vec<u8> {
    [key.as_bytes(), b"=", &bytes(value)].concat()
}

/// The bytes of a path or argument that is not UTF-8.
fn raw(items: &[Value]) -> Option<Vec<u8>> {
    let byte = |item: &Value| u8::try_from(item.as_u64()?).ok();
    let bytes: Option<Vec<u8>> = items.iter().map(byte).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}

/// A path or argument: a string where it is UTF-8, else an array of its bytes.
pub fn path_value(path: &std::ffi::OsStr) -> Value {
    serde_json::to_value(crate::session::Arg::from(path.to_owned())).unwrap_or_default()
}

/// A moment, as RFC 3339 in UTC.
pub fn at(time: Timestamp) -> Value {
    json!(time.to_string())
}

fn oid(oid: ObjectId) -> Value {
    json!(oid.to_string())
}

/// Every name that [`session`] may give.
pub const SESSION: [&str; 32] = [
    "id",
    "state",
    "here",
    "stale",
    "overdue",
    "frozen",
    "seq",
    "epoch",
    "owner",
    "host",
    "home",
    "created",
    "updated",
    "branch",
    "base",
    "head",
    "work",
    "title",
    "worker",
    "issue",
    "parent",
    "deadline",
    "outcome",
    "reason",
    "worktree",
    "labels",
    "command",
    "trusted",
    "signature",
    "unsaved",
    "aside",
    "ended",
];

/// Every name that [`event`] may give.
pub const EVENT: [&str; 15] = [
    "seq", "event", "from", "state", "at", "by", "owner", "host", "epoch", "commit", "reason", "outcome",
    "note", "work", "request",
];
