//! The crate's documentation names every file that deletes or replaces something.

use std::fs;
use std::path::Path;

/// What deletes, moves away or replaces.
const CALLS: [&str; 5] = [
    "remove_file(",
    "remove_dir",
    "fs::rename(",
    ".persist(",
    "worktree::remove(",
];

#[test]
fn every_place_that_deletes_is_in_the_list() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = fs::read_to_string(src.join("lib.rs")).unwrap();
    let list: String = map.lines().filter(|line| line.starts_with("//! | `")).collect();
    let mut missing = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&src).unwrap().display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            // Unit tests clean up after themselves.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let deletes = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| CALLS.iter().any(|call| line.contains(call)));
            if path.extension().is_some_and(|end| end == "rs")
                && deletes
                && !list.contains(&format!("`{name}`"))
            {
                missing.push(name);
            }
        }
    }
    assert_eq!(missing, [""; 0], "the list in lib.rs lacks them");
}
