//! What the machine itself gives: its name, and chance.

use super::error::{Error, Result};

/// This machine's name, for people.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A random word of lower-case base32 characters.
pub fn random_word(length: usize) -> Result<String> {
    let mut bytes = vec![0; length];
    random(&mut bytes)?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte % 32)]))
        .collect())
}

/// Fills a buffer with the system's randomness.
pub fn random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let got = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += got.map_err(|error| Error::Io {
            what: "random numbers".to_owned(),
            source: error.into(),
        })?;
    }
    Ok(())
}
