//! Tables for people: columns as wide as needed, cut where the terminal ends.

use std::borrow::Cow;

use jiff::Timestamp;

use super::paint::Paint;
use super::time::age;
use super::width;
use crate::ops::view::View;
use crate::session::State;
use crate::session::text::escaped;

/// The narrowest that a column is cut to.
const NARROWEST: usize = 8;

/// Where the columns stand that may be narrowed, or left out.
const WORKER: usize = 3;
const TITLE: usize = 4;
const BRANCH: usize = 5;
const CHANGED: usize = 6;

/// How many columns there are.
const COLUMNS: usize = 7;

/// One row, with the state that gives it its colour.
struct Row<'v> {
    state: State,
    alarm: bool,
    cells: [Cell<'v>; COLUMNS],
}

/// What stands in a column, and how many of the terminal's that takes.
struct Cell<'v> {
    text: Cow<'v, str>,
    length: usize,
}

impl<'v> Cell<'v> {
    fn of(text: Cow<'v, str>) -> Cell<'v> {
        let length = width::width(&text);
        Cell { text, length }
    }

    /// As much of it as fits, and how much that is.
    fn cut(&self, columns: usize) -> (Cow<'_, str>, usize) {
        if self.length <= columns {
            return (Cow::Borrowed(&self.text), self.length);
        }
        let text = width::cut(&self.text, columns);
        let length = width::width(&text);
        (text, length)
    }
}

/// Writes the table of sessions, `width` columns wide at most; none means without a limit.
///
/// Columns that are empty in every row are left out.
pub fn sessions(views: &[View], now: Timestamp, width: Option<usize>, paint: Paint) -> String {
    let heads = [
        "SESSION", "STATE", "UPDATED", "WORKER", "TITLE", "BRANCH", "CHANGED",
    ];
    let rows: Vec<Row> = views.iter().map(|view| row(view, now)).collect();
    let mut keep: Vec<usize> = (0..COLUMNS)
        .filter(|at| *at < 3 || rows.iter().any(|row| row.cells[*at].length > 0))
        .collect();
    let length = |at: usize| {
        let widest = rows.iter().map(|row| row.cells[at].length).max();
        widest.unwrap_or(0).max(heads[at].len())
    };
    let mut widths: Vec<usize> = keep.iter().map(|at| length(*at)).collect();
    if let Some(width) = width {
        fit(&mut keep, &mut widths, width);
    }
    let mut out = String::with_capacity((rows.len() + 1) * (widths.iter().sum::<usize>() + 2 * keep.len()));
    let mut line = |cells: &[Cell; COLUMNS], dress: &dyn Fn(usize, &str) -> Option<String>| {
        let mut gap = 0;
        for (width, at) in widths.iter().zip(&keep) {
            let cell = &cells[*at];
            if cell.length > 0 {
                out.extend(std::iter::repeat_n(' ', gap));
                let (text, length) = cell.cut(*width);
                match dress(*at, &text) {
                    Some(dressed) => out.push_str(&dressed),
                    None => out.push_str(&text),
                }
                gap = width - length + 2;
            } else {
                gap += width + 2;
            }
        }
        out.push('\n');
    };
    line(&heads.map(|head| Cell::of(Cow::Borrowed(head))), &|_, text| {
        Some(paint.heading(text))
    });
    for row in &rows {
        line(&row.cells, &|at, text| match at {
            1 if row.alarm => Some(paint.alarm(text)),
            1 => Some(paint.state(row.state, text)),
            _ => None,
        });
    }
    out
}

fn row(view: &View, now: Timestamp) -> Row<'_> {
    let event = &view.session.event;
    let summary = &event.summary;
    let failed = summary
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.is_failure());
    // A branch that says nothing but the session's name needs no column.
    let branch = summary
        .branch
        .as_ref()
        .filter(|branch| branch.strip_prefix("session/") != Some(summary.id.as_str()));
    let changed = view.changed.filter(|changed| changed.files > 0);
    Row {
        state: summary.state,
        alarm: view.stale == Some(true)
            || view.unsaid
            || view.overdue
            || (summary.state == State::Terminated && failed),
        cells: [
            Cow::Borrowed(summary.id.as_str()),
            Cow::Owned(state(view)),
            Cow::Owned(age(event.at, now)),
            or_empty(summary.worker.as_ref()),
            or_empty(summary.title.as_ref()),
            or_empty(branch),
            changed.map_or(Cow::Borrowed(""), |changed| Cow::Owned(changed.to_string())),
        ]
        .map(Cell::of),
    }
}

fn or_empty(text: Option<&String>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |text| escaped(text))
}

/// The state or how it ended, what is wrong, and where it is if that isn't here.
fn state(view: &View) -> String {
    let summary = &view.session.event.summary;
    let mut state = match (&summary.outcome, summary.state) {
        (Some(outcome), State::Terminated) => escaped(&outcome.to_string()).into_owned(),
        (_, State::Suspended) if summary.frozen => "frozen".to_owned(),
        (_, state) => state.to_string(),
    };
    if view.stale == Some(true) {
        state.push_str(if view.unsupervised {
            ", unsupervised"
        } else {
            ", stale"
        });
    }
    if view.unsaid {
        state.push_str(", alive here");
    }
    if view.overdue {
        state.push_str(", overdue");
    }
    if !view.here {
        state.push_str(" @");
        state.push_str(&escaped(&summary.host));
    }
    state
}

/// Narrows the title first, then the widest of what else is text; where that isn't enough, whole columns go.
///
/// The id and the state are never cut, since they are what one types and acts on, nor are numbers, which say nothing
/// by half.
fn fit(keep: &mut Vec<usize>, widths: &mut Vec<usize>, width: usize) {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    while total(widths) > width {
        let texts = (0..widths.len())
            .filter(|column| [WORKER, TITLE, BRANCH].contains(&keep[*column]) && widths[*column] > NARROWEST);
        match texts.max_by_key(|column| (keep[*column] == TITLE, widths[*column])) {
            Some(column) => widths[column] -= 1,
            None => {
                let mut least = [TITLE, BRANCH, WORKER, CHANGED].into_iter();
                let Some(column) = least.find_map(|at| keep.iter().position(|kept| *kept == at)) else {
                    return;
                };
                keep.remove(column);
                widths.remove(column);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns that are left of all seven, and their widths.
    fn fitted(mut widths: Vec<usize>, width: usize) -> Vec<(usize, usize)> {
        let mut keep: Vec<usize> = (0..COLUMNS).collect();
        fit(&mut keep, &mut widths, width);
        keep.into_iter().zip(widths).collect()
    }

    #[test]
    fn what_changed_is_never_cut() {
        let widths = [23, 10, 3, 6, 40, 12, 13];
        for width in 0..150 {
            let fitted = fitted(widths.to_vec(), width);
            let lasts = fitted.iter().filter(|(at, _)| *at < WORKER || *at == CHANGED);
            assert!(
                lasts.clone().all(|(at, wide)| *wide == widths[*at]),
                "{width}: {fitted:?}"
            );
            let total: usize = fitted.iter().map(|(_, wide)| wide + 2).sum();
            assert!(total <= width + 2 || fitted.len() == 3, "{width}: {fitted:?}");
        }
    }

    #[test]
    fn the_title_gives_way_first() {
        let widths = vec![20, 7, 3, 6, 40, 12, 13];
        assert_eq!(fitted(widths.clone(), 90)[TITLE].1, 17);
        assert_eq!(fitted(widths.clone(), 90)[BRANCH].1, 12);
        let narrow = fitted(widths, 65);
        assert!(!narrow.iter().any(|(at, _)| *at == TITLE));
        assert_eq!(narrow.last(), Some(&(CHANGED, 13)));
    }
}
