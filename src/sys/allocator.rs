//! What an idle thread keeps of the memory that it needed when it was busy.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Looking through a thread's free pages takes some microseconds; a thread rests far more often than it has something to give.
const EVERY: Duration = Duration::from_secs(2);

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives this thread's free pages back to the system, at most every two seconds. For a thread that is about to rest: by itself the
/// allocator looks at them every 10,000 slow allocations, which an idle thread never makes.
pub fn give_back() {
    let now = Instant::now();
    let due = LAST.get().is_none_or(|last| now.duration_since(last) >= EVERY);
    if due {
        LAST.set(Some(now));
        // SAFETY: may be called by any thread at any time; it touches memory that is free alone.
        unsafe { libmimalloc_sys::mi_collect(true) };
    }
}
