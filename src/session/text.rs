//! The one-line form of any text: what could forge a line or fool a terminal is escaped, nothing else is.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes control characters, bidi controls and the backslash: `\n`, `\x1b`, `\u{202e}`, `\\`.
pub fn escape(text: &str) -> String {
    escaped(text).into_owned()
}

/// As [`escape`], for what may not be UTF-8: bytes that aren't are escaped as `\xff`.
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a String can't fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A word as one would type it into a shell: what can't be shown is escaped within `$'…'`, and nothing else is.
pub fn quote(word: &[u8]) -> String {
    let is_shown = |c: char| !c.is_control() && !is_deceptive(c);
    if let Ok(text) = std::str::from_utf8(word)
        && text.chars().all(is_shown)
    {
        return shell_words::quote(text).into_owned();
    }
    let mut out = "$'".to_owned();
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Writing to a String can't fail.
            let _ = match c {
                '\\' | '\'' => write!(out, "\\{c}"),
                '\n' => out.write_str("\\n"),
                '\r' => out.write_str("\\r"),
                '\t' => out.write_str("\\t"),
                c if is_shown(c) => out.write_char(c),
                c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c)),
                c => write!(out, "\\u{:04x}", u32::from(c)),
            };
        }
        for byte in chunk.invalid() {
            // As above.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('\'');
    out
}

/// As [`escape`], without a copy of what is plain.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly all text is plain, and is seen to be so in one look at its bytes.
    if text
        .bytes()
        .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\')
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a String can't fail.
        let _ = match c {
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
            c if is_deceptive(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
            c => out.write_char(c),
        };
    }
    Cow::Owned(out)
}

/// Whether a character steers a terminal or reorders what is read: the C1 controls, line separators, and the bidi
/// controls of Unicode's Bidi_Control property.
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reverses [`escape`]; what is no escape of ours stays as it is.
pub fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        match decode(tail) {
            Some((c, used)) => {
                out.push(c);
                rest = &tail[used..];
            }
            None => {
                out.push('\\');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Reads what follows a backslash: the character and how many bytes stood for it.
fn decode(tail: &str) -> Option<(char, usize)> {
    match tail.as_bytes().first()? {
        b'\\' => Some(('\\', 1)),
        b'n' => Some(('\n', 1)),
        b'r' => Some(('\r', 1)),
        b't' => Some(('\t', 1)),
        b'x' => {
            let code = u8::from_str_radix(tail.get(1..3)?, 16).ok()?;
            code.is_ascii().then_some((char::from(code), 3))
        }
        b'u' => {
            let inner = tail.strip_prefix("u{")?;
            let end = inner.find('}')?;
            let code = u32::from_str_radix(&inner[..end], 16).ok()?;
            Some((char::from_u32(code)?, end + 3))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_deceive_is_spelled_out() {
        assert_eq!(
            escape("a\nb\u{1b}[1m\u{202e}\\é\t\u{9b}"),
            "a\\nb\\x1b[1m\\u{202e}\\\\é\\t\\u{9b}"
        );
    }

    #[test]
    fn a_stray_backslash_stays() {
        for text in [
            "\\",
            "a\\q",
            "\\x",
            "\\xzz",
            "\\xff",
            "\\u{",
            "\\u{zz}",
            "\\u{110000}",
        ] {
            assert_eq!(unescape(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_is_one_line(text in ".*|[\\\\nxu{}0-9a-f\u{0}-\u{20}]*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.chars().any(|c| c.is_control()));
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
