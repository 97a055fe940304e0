//! How many columns text takes on a terminal, where a character may take two, or none.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Tells how many columns escaped text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Shortens escaped text to a number of columns, with an ellipsis in the last one.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let end = text.char_indices().find(|(_, c)| {
        let needed = alone(*c);
        let fits = needed <= left;
        left -= needed.min(left);
        !fits
    });
    let begin = &text[..end.map_or(text.len(), |(at, _)| at)];
    Cow::Owned(format!("{}…", begin.trim_end_matches([' ', JOINER])))
}

/// What holds the parts of one emoji together.
const JOINER: char = '\u{200d}';

/// What makes an emoji, two columns wide, of the character before it.
const EMOJI: char = '\u{fe0f}';

/// The most that a character adds to what stands before it.
fn alone(c: char) -> usize {
    match c {
        EMOJI => 1,
        c => c.width().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_fits_whatever_it_is_made_of() {
        let texts = [
            "Fix the login page",
            "ログインページを修正する",
            "a ❤️ b 🍎🍏 👩‍👩‍👧‍👦 family",
            "e\u{301}e\u{301}e\u{301}e\u{301}",
        ];
        for text in texts {
            for columns in 1..40 {
                let cut = cut(text, columns);
                assert!(width(&cut) <= columns, "{columns}: {cut}");
                assert_eq!(cut == text, width(text) <= columns, "{columns}: {cut}");
            }
        }
        assert_eq!(cut("ログイン", 6), "ログ…");
    }
}
