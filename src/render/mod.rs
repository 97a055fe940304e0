//! Values as text: JSON, tables, lines for scripts. The only place that escapes for a terminal.
//!
//! [`fields`] gives the names and values that JSON, `--format` and `--porcelain` share.

pub mod card;
pub mod fields;
pub mod format;
pub mod history;
pub mod paint;
pub mod porcelain;
pub mod proposal;
pub mod table;
pub mod time;
pub mod width;

use crate::session::log::UNOBSERVED;
pub use crate::session::text::{escape, is_deceptive, quote};

/// A reason as a person reads it: the words that the format has for what nobody saw are said in full.
pub fn reason(reason: &str) -> String {
    match reason {
        UNOBSERVED => "taken over; old worker not confirmed stopped".to_owned(),
        "lost" => "lost: nobody supervised it any more".to_owned(),
        reason => escape(reason),
    }
}

/// Lines of speech in which nothing steers the terminal, should something be in them that was not escaped.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\\' => out.push(c),
            c => out.push_str(&escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}
