//! Settings that `git -c` was given: git hands them on in a variable of its own, which gix doesn't read.

use std::os::unix::ffi::OsStrExt;

use gix::bstr::{BString, ByteSlice};

/// Gives them as `KEY=VALUE`, or `KEY` alone for what is true, the one that counts last.
pub fn settings() -> Vec<BString> {
    let given = std::env::var_os("GIT_CONFIG_PARAMETERS").unwrap_or_default();
    words(given.as_bytes())
}

/// Reads words that git has quoted as for a shell. What can't be a key, git itself refuses.
fn words(text: &[u8]) -> Vec<BString> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut is_quoted = false;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            b'\\' if !is_quoted => word.get_or_insert_default().extend(bytes.next()),
            b' ' if !is_quoted => words.extend(word.take()),
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words.retain(|word| word.split_str("=").next().is_some_and(|key| key.contains(&b'.')));
    words.into_iter().map(BString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_git_writes_them() {
        let text =
            br"'session.sign' 'user.name'='it'\''s '\!'  a' 'Old.form=x=y' '' 'nosection'='x' ''a.b'=''";
        let expected = ["session.sign", "user.name=it's !  a", "Old.form=x=y", "a.b="];
        assert_eq!(words(text), expected);
        assert_eq!(words(b""), [""; 0]);
    }
}
