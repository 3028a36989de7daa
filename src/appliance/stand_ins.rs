//! What PID 1 does where a part is not joined to it: it looks, and changes nothing.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::unistd::Pid;

use super::seams::{NetworkNews, Networker, UpdateNews, Updater};
use crate::base::condition::{Condition, Severity};
use crate::config::model::Model;
use crate::wire::supervision::BoxStatus;

/// Between two looks at the addresses.
const LOOK: Duration = Duration::from_secs(5);
const ADDRESSES_MAX: usize = 32;

/// A network that somebody else has set up: its addresses are read now and then.
#[derive(Debug, Default)]
pub struct Onlooker {
    next: Option<Instant>,
    told: Option<Vec<String>>,
}

/// No slots, no updates.
#[derive(Debug, Default)]
pub struct NoUpdates;

impl Networker for Onlooker {
    fn start(&mut self, _model: &Model, _data: &Path) -> Result<(), String> {
        self.next = Some(Instant::now());
        Ok(())
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn poll(&mut self, now: Instant) -> Vec<NetworkNews> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        self.next = Some(now + LOOK);
        let addresses = addresses();
        if self.told.as_ref() == Some(&addresses) {
            return Vec::new();
        }
        self.told = Some(addresses.clone());
        vec![NetworkNews::Link(!addresses.is_empty()), NetworkNews::Addresses(addresses)]
    }

    fn handle_exit(&mut self, _child: Pid, _status: i32) -> bool {
        false
    }

    fn stop(&mut self) {
        self.next = None;
    }
}

impl Updater for NoUpdates {
    fn begin(&mut self, _package: &Path) -> Result<(), String> {
        Err("this system has no second slot to write to".to_owned())
    }

    fn handle_exit(&mut self, _child: Pid, _status: i32) -> Option<Vec<UpdateNews>> {
        None
    }

    fn poll(&mut self, _is_ready: bool, _conditions: &[Condition], _now: Instant) -> Vec<UpdateNews> {
        Vec::new()
    }
}

/// The state of the box as plain lines.
#[must_use]
pub fn status_text(status: &BoxStatus, conditions: &[Condition], summary: &[String]) -> String {
    let addresses = if status.addresses.is_empty() { "none".into() } else { status.addresses.join(", ") };
    let mut text = format!(
        "genkan {} on {}, slot {}\naddress: {addresses}\nclock: {}\ndata: {}\n",
        status.version, status.board, status.slot, status.clock, status.data
    );
    for condition in conditions {
        let grave = match condition.severity {
            Severity::Progress => "in progress",
            Severity::Warning => "warning",
            Severity::Error => "ERROR",
        };
        text += &format!("\n{} {grave}: {}\n", condition.code, condition.what);
        let more = [&condition.why, &condition.cure].into_iter().filter(|more| !more.is_empty());
        more.for_each(|more| text += &format!("{more}\n"));
    }
    if !summary.is_empty() {
        text += &format!("\n{}\n", summary.join("\n"));
    }
    text
}

/// Addresses of interfaces that are up, the loopback left out.
fn addresses() -> Vec<String> {
    let all = getifaddrs().into_iter().flatten();
    let outer = all.filter(|one| {
        one.flags.contains(InterfaceFlags::IFF_UP) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let named = outer.filter_map(|one| {
        let address = one.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => four.ip().to_string(),
            (None, Some(six)) => six.ip().to_string(),
            (None, None) => return None,
        };
        Some(format!("{ip} ({})", one.interface_name))
    });
    named.take(ADDRESSES_MAX).collect()
}
