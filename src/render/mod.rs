//! Values as text: JSON, tables, lines for scripts. The only place that escapes for a terminal.
//!
//! [`fields`] gives the names and values that JSON, `--format` and `--porcelain` share.

pub mod card;
pub mod fields;
pub mod format;
pub mod history;
pub mod paint;
pub mod porcelain;
pub mod table;
pub mod time;

pub use crate::session::text::escape;
