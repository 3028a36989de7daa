//! The files of an update as they pass by: counted and hashed, never held.

use ring::digest::{Context, SHA256};

use super::{Digest, FileEntry, FormatError, Manifest};

/// Checks the bytes behind an envelope against its manifest, in constant memory.
pub struct Contents<'m> {
    files: std::slice::Iter<'m, FileEntry>,
    current: Option<Current<'m>>,
}

struct Current<'m> {
    file: &'m FileEntry,
    left: u64,
    hash: Context,
}

impl<'m> Contents<'m> {
    #[must_use]
    pub fn new(manifest: &'m Manifest) -> Self {
        let mut files = manifest.files.iter();
        let current = files.next().map(Current::new);
        Self { files, current }
    }

    /// The next bytes. Errors: a file's hash is not the signed one, or there are bytes behind the last file.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), FormatError> {
        self.close_finished()?;
        while !bytes.is_empty() {
            let current = self.current.as_mut().ok_or(FormatError::Trailing)?;
            bytes = current.take(bytes);
            self.close_finished()?;
        }
        Ok(())
    }

    /// There are no more bytes. Errors: some are missing.
    pub fn finish(mut self) -> Result<(), FormatError> {
        self.close_finished()?;
        if self.current.is_some() { Err(FormatError::Truncated) } else { Ok(()) }
    }

    fn close_finished(&mut self) -> Result<(), FormatError> {
        while let Some(done) = self.current.take_if(|current| current.left == 0) {
            if Digest::of(done.hash) != done.file.packed.sha256 {
                return Err(FormatError::Hash { name: done.file.name.clone() });
            }
            self.current = self.files.next().map(Current::new);
        }
        Ok(())
    }
}

impl<'m> Current<'m> {
    fn new(file: &'m FileEntry) -> Self {
        Self { file, left: file.packed.size, hash: Context::new(&SHA256) }
    }

    /// What of `bytes` belongs to later files.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (own, rest) = bytes.split_at(count);
        self.hash.update(own);
        self.left -= own.len() as u64;
        rest
    }
}
