//! For tests: an owner's own files in `shared/seed` beside the checkout or above it; where there are none, what needs them is skipped.

use std::io::Write;
use std::path::PathBuf;

/// The directory with `caddy.json` and `acl.json`; where there is none the test proves nothing, says `SKIPPED`, and `tests/verify.py`
/// counts it so.
pub fn directory() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found =
        root.ancestors().map(|dir| dir.join("shared/seed")).find(|dir| dir.join("caddy.json").is_file());
    if found.is_none() {
        // Not by a macro: what those print in a test that passes is thrown away.
        writeln!(
            std::io::stderr(),
            "\nSKIPPED: no shared/seed with caddy.json beside {} or above it",
            root.display()
        )
        .expect("standard error");
    }
    found
}
