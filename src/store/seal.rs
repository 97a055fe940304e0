//! Tells events that this clone wrote from those that say so: each nonce ends with a mark that only this clone makes.
//!
//! Whose an event is stands in its own text, where anybody can write anything. The mark is a keyed hash of the rest
//! of the commit, by a key that never leaves this clone; to everybody else it is as random as what is before it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gix::bstr::ByteSlice;
use gix::hash::Kind;

use crate::git::{self, Repo, signature};

/// The file with the key, beside what else is local to this clone.
const FILE: &str = "key";
/// The characters of a mark: 80 bits, in base32.
const MARK: usize = 16;
/// The block of SHA-256, as HMAC (RFC 2104) needs it.
const BLOCK: usize = 64;
const NONCE: &[u8] = b"\nSession-Nonce: ";

/// This clone's key.
pub struct Seal([u8; 32]);

impl Seal {
    /// Reads the key; none where this clone never wrote anything, or may not read it.
    pub fn known(repo: &Repo) -> Option<Seal> {
        let bytes = fs::read(repo.local_dir().join(FILE)).ok()?;
        Some(Seal(bytes.try_into().ok()?))
    }

    /// Keeps a key for this clone, unless it has one; of several that try at once, one is kept.
    pub fn establish(local: &Path, random: [u8; 32]) -> git::Result<()> {
        let path = local.join(FILE);
        if path.exists() {
            return Ok(());
        }
        let keep = || {
            let mut file = tempfile::Builder::new()
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(local)?;
            file.write_all(&random)?;
            file.as_file().sync_all()?;
            match file.persist_noclobber(&path) {
                Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.error),
                _ => Ok(()),
            }
        };
        keep().map_err(git::Error::io(format!("cannot write '{}'", path.display())))
    }

    /// The nonce of an event, with its mark; `commit` is the event's commit with the bare nonce.
    pub fn marked(&self, nonce: &str, commit: &[u8]) -> git::Result<String> {
        Ok(format!("{nonce}{}", self.mark(commit)?))
    }

    /// Whether this clone made a commit, whatever signature it has.
    pub fn made(&self, commit: &[u8]) -> git::Result<bool> {
        let mut commit = signature::bare(commit);
        let Some(start) = commit.find(NONCE).map(|at| at + NONCE.len()) else {
            return Ok(false);
        };
        let end = commit[start..]
            .find_byte(b'\n')
            .map_or(commit.len(), |at| start + at);
        if end - start < MARK {
            return Ok(false);
        }
        let mark: Vec<u8> = commit.drain(end - MARK..end).collect();
        Ok(mark == self.mark(&commit)?.as_bytes())
    }

    fn mark(&self, commit: &[u8]) -> git::Result<String> {
        let padded = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = sha256(&[&padded(0x36), commit])?;
        let outer = sha256(&[&padded(0x5c), &inner])?;
        Ok(base32(&outer[..MARK * 5 / 8]))
    }
}

/// The SHA-256 of several pieces, whatever hash the repository has.
pub fn sha256(pieces: &[&[u8]]) -> git::Result<Vec<u8>> {
    let mut hasher = gix::hash::hasher(Kind::Sha256);
    pieces.iter().for_each(|piece| hasher.update(piece));
    let digest = hasher.try_finalize().map_err(git::Error::gix("cannot hash"))?;
    Ok(digest.as_bytes().to_vec())
}

/// Lower-case base32 as nonces have it; the input is a multiple of five bytes.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for five in bytes.chunks(5) {
        let number = five
            .iter()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let digit = |place: u32| b"abcdefghijklmnopqrstuvwxyz234567"[(number >> (place * 5) & 31) as usize];
        text.extend((0..8).rev().map(|place| char::from(digit(place))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str =
        "tree 1\nauthor a\ncommitter c\n\nsubject\n\nSession-Id: x\nSession-Nonce: word\nSession-Owner: me\n";

    #[test]
    fn only_the_clone_that_made_a_commit_knows_it_again() {
        let (ours, theirs) = (Seal([1; 32]), Seal([2; 32]));
        let nonce = ours.marked("word", COMMIT.as_bytes()).unwrap();
        let commit = COMMIT.replace("word", &nonce);
        assert!(ours.made(commit.as_bytes()).unwrap());
        assert!(!theirs.made(commit.as_bytes()).unwrap());
        for forged in [
            COMMIT.to_owned(),
            commit.replace("tree 1", "tree 2"),
            commit.replace("Owner: me", "Owner: you"),
            commit.replace("Session-Nonce: w", "Session-Nonce: v"),
            commit.replace("subject\n", "subject\n\nSession-Nonce: x"),
        ] {
            assert!(!ours.made(forged.as_bytes()).unwrap(), "{forged}");
        }
    }

    #[test]
    fn a_signature_in_the_header_changes_nothing() {
        let ours = Seal([1; 32]);
        let nonce = ours.marked("word", COMMIT.as_bytes()).unwrap();
        let commit = COMMIT.replace("word", &nonce);
        let signed = commit.replace(
            "committer c\n",
            "committer c\ngpgsig -----BEGIN\n sig\n -----END\n",
        );
        assert_eq!(signature::bare(signed.as_bytes()), commit.as_bytes());
        assert!(ours.made(signed.as_bytes()).unwrap());
        assert!(!ours.made(commit.replace("c\n\n", "c\n\n \n").as_bytes()).unwrap());
    }

    #[test]
    fn the_keyed_hash_is_hmac() {
        // RFC 4231, test case 2, with its key filled up with zeros as HMAC does.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let digest = [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04];
        assert_eq!(
            Seal(key).mark(b"what do ya want for nothing?").unwrap(),
            base32(&digest)
        );
    }
}
