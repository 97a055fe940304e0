//! Tables for people: columns as wide as needed, cut where the terminal ends.

use jiff::Timestamp;

use super::paint::Paint;
use super::time::age;
use crate::ops::view::View;
use crate::session::State;
use crate::session::text::escape;

/// The narrowest that a column is cut to.
const NARROWEST: usize = 8;

/// One row, with the state that gives it its colour.
struct Row {
    state: State,
    alarm: bool,
    cells: Vec<String>,
}

/// Writes the table of sessions, `width` characters wide at most; none means without a limit.
///
/// Columns that are empty in every row are left out.
pub fn sessions(views: &[View], now: Timestamp, width: Option<usize>, paint: Paint) -> String {
    let heads = ["SESSION", "STATE", "AGE", "WORKER", "TITLE", "BRANCH", "CHANGED"];
    let rows: Vec<Row> = views.iter().map(|view| row(view, now)).collect();
    let mut keep: Vec<usize> = (0..heads.len())
        .filter(|at| *at < 3 || rows.iter().any(|row| !row.cells[*at].is_empty()))
        .collect();
    let length = |at: usize| {
        let widest = rows
            .iter()
            .map(|row| row.cells[at].chars().count())
            .max()
            .unwrap_or(0);
        widest.max(heads[at].len())
    };
    let mut widths: Vec<usize> = keep.iter().map(|at| length(*at)).collect();
    if let Some(width) = width {
        fit(&mut keep, &mut widths, width);
    }
    let mut out = String::new();
    let line = |cells: &dyn Fn(usize) -> String, dress: &dyn Fn(usize, String) -> String| {
        let mut line = String::new();
        for (column, at) in keep.iter().enumerate() {
            let text = cut(&cells(*at), widths[column]);
            let gap = if column + 1 < keep.len() {
                widths[column] - text.chars().count() + 2
            } else {
                0
            };
            line.push_str(&dress(*at, text));
            line.extend(std::iter::repeat_n(' ', gap));
        }
        line.trim_end().to_owned() + "\n"
    };
    out.push_str(&line(&|at| heads[at].to_owned(), &|_, text| paint.heading(&text)));
    for row in &rows {
        out.push_str(&line(&|at| row.cells[at].clone(), &|at, text| match at {
            1 if row.alarm => paint.alarm(&text),
            1 => paint.state(row.state, &text),
            _ => text,
        }));
    }
    out
}

fn row(view: &View, now: Timestamp) -> Row {
    let event = &view.session.event;
    let summary = &event.summary;
    let stale = view.stale == Some(true);
    let mut state = match (&summary.outcome, summary.state) {
        (Some(outcome), State::Terminated) => outcome.to_string(),
        (_, State::Suspended) if summary.frozen => "frozen".to_owned(),
        (_, state) => state.to_string(),
    };
    if stale {
        state.push_str(if view.unsupervised {
            ", unsupervised"
        } else {
            ", stale"
        });
    }
    if view.overdue {
        state.push_str(", overdue");
    }
    if !view.here {
        state.push_str(&format!(" @{}", summary.host));
    }
    let failed = summary
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.is_failure());
    // A branch that says nothing but the session's name needs no column.
    let branch = summary
        .branch
        .clone()
        .filter(|branch| branch.strip_prefix("session/") != Some(summary.id.as_str()));
    let cells = [
        summary.id.to_string(),
        state,
        age(event.at, now),
        summary.worker.clone().unwrap_or_default(),
        summary.title.clone().unwrap_or_default(),
        branch.unwrap_or_default(),
        view.changed
            .filter(|changed| changed.files > 0)
            .map(|changed| changed.to_string())
            .unwrap_or_default(),
    ];
    let alarm = stale || view.overdue || (summary.state == State::Terminated && failed);
    Row {
        state: summary.state,
        alarm,
        cells: cells.iter().map(|cell| escape(cell)).collect(),
    }
}

/// Narrows the widest columns first; the id and the state are never cut, since they are what one types and acts on.
fn fit(keep: &mut Vec<usize>, widths: &mut Vec<usize>, width: usize) {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    while total(widths) > width {
        let widest = (0..widths.len())
            .filter(|column| keep[*column] > 2 && widths[*column] > NARROWEST)
            .max_by_key(|column| widths[*column]);
        match widest {
            Some(column) => widths[column] -= 1,
            None => {
                // Nothing is left to be cut: the last column goes, as long as it is not one of the first three.
                if keep.last().is_none_or(|at| *at < 3) {
                    return;
                }
                keep.pop();
                widths.pop();
            }
        }
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
