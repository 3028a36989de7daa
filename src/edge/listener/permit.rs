//! The ceilings of one socket, and a connection's place inside them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::ceilings::{Admissions, Ceilings, Denied};
use crate::base::source::Source;

/// Who is inside; clones share it.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Mutex<Admissions>>);

/// A place inside; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Admission,
    source: Source,
}

impl Admission {
    pub fn new(ceilings: Ceilings) -> Self {
        Self(Arc::new(Mutex::new(Admissions::new(ceilings))))
    }

    pub fn admit(&self, source: IpAddr) -> Result<Permit, Denied> {
        let source = Source::of(source);
        self.locked().admit(source)?;
        Ok(Permit { admission: self.clone(), source })
    }

    #[cfg(test)]
    pub fn total(&self) -> usize {
        self.locked().total()
    }

    /// The counts are right after every statement, so a panic elsewhere does not spoil them.
    fn locked(&self) -> MutexGuard<'_, Admissions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.locked().release(self.source);
    }
}
