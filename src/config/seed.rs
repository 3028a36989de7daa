//! For tests: an owner's own files in `shared/seed` beside the checkout or above it; where there are none, what needs them is skipped.

use std::path::PathBuf;

/// The directory with `caddy.json` and `acl.json`; says so when it is not there and the test proves nothing.
pub fn directory() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found =
        root.ancestors().map(|dir| dir.join("shared/seed")).find(|dir| dir.join("caddy.json").is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/seed with caddy.json beside {} or above it", root.display());
    }
    found
}
