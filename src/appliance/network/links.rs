//! Interfaces, addresses and routes: reads what there is, does what the plan says, until it says nothing more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::appliance::core::network_plan::{Choice, Interface, Present, choose, plan};
use crate::appliance::core::settings::NetworkSettings;
use crate::appliance::netlink::{LinkMonitor, Netlink};
use crate::wire::errand::Lease;

/// A plan is carried out in two passes, or three with a VLAN; more means that the kernel does not keep what it is told.
const PASSES_MAX: u32 = 6;

/// The kernel's network, and what was chosen of it.
pub struct Links {
    netlink: Netlink,
    monitor: LinkMonitor,
    present: Present,
    choice: Choice,
    /// What the kernel refused the last time.
    refused: Option<String>,
}

impl Links {
    /// Opens netlink; nothing is changed yet.
    pub fn open() -> io::Result<Self> {
        let (netlink, monitor) = (Netlink::open()?, LinkMonitor::open()?);
        Ok(Self { netlink, monitor, present: Present::default(), choice: Choice::Nothing, refused: None })
    }

    /// To wait on for news of links.
    #[must_use]
    pub fn monitor(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }

    /// Whether there was news.
    pub fn drain(&self) -> bool {
        self.monitor.drain()
    }

    #[must_use]
    pub fn present(&self) -> &Present {
        &self.present
    }

    #[must_use]
    pub fn choice(&self) -> Choice {
        self.choice
    }

    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The interface that has the address, or is to have it.
    #[must_use]
    pub fn carrier(&self, settings: &NetworkSettings) -> Option<&Interface> {
        self.present.carrier(settings, &self.choice)
    }

    /// Makes the kernel's network what `settings` and the lease of an interface, `lease_on`, want.
    pub fn settle<'l>(&mut self, settings: &NetworkSettings, lease_on: impl Fn(u32) -> Option<&'l Lease>) {
        let before = self.refused.take();
        for _ in 0..PASSES_MAX {
            if let Err(error) = self.look(settings) {
                self.refused = Some(error);
                break;
            }
            let lease = self.carrier(settings).and_then(|carrier| lease_on(carrier.index));
            let steps = plan(settings, &self.present, &self.choice, lease);
            if steps.is_empty() {
                break;
            }
            self.refused = None;
            for step in &steps {
                if let Err(error) = self.netlink.perform(step) {
                    self.refused = Some(error.to_string());
                }
            }
        }
        if let Some(reason) = self.refused.as_ref().filter(|reason| before.as_ref() != Some(*reason)) {
            tracing::warn!(reason, "the network is not as it is to be");
        }
    }

    fn look(&mut self, settings: &NetworkSettings) -> Result<(), String> {
        self.present = self.netlink.present().map_err(|error| error.to_string())?;
        self.choice = choose(settings, &self.present, self.choice.index());
        Ok(())
    }
}
