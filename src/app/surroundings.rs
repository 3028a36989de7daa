//! What stands around the rooms: the clock, the roll call of their loops, and PID 1 where there is one.

use std::io;
use std::os::unix::net::UnixStream;

use tokio::sync::watch;

use super::clock::Clock;
use super::errands;
use super::pulse::{self, Pace, Pulse};
use super::supervised::{News, Supervision};
use crate::base::condition::Condition;
use crate::base::roll_call::RollCall;
use crate::coordinator::admin_api::UpdateSeam;

/// Made once, before the rooms.
#[derive(Debug)]
pub struct Surroundings {
    pub clock: Clock,
    /// Where every loop shows that it turns.
    pub loops: RollCall,
    /// How the loops do.
    pub pulse: watch::Receiver<Pulse>,
    /// Takes all conditions that hold, whenever that changes; PID 1 is told.
    pub conditions: watch::Sender<Vec<Condition>>,
    /// Takes what the owner reads about the rooms, whenever that changes; PID 1 is told.
    pub summary: watch::Sender<Vec<String>>,
    /// `None` where genkan runs on its own.
    pub supervision: Option<Supervision>,
    /// Where updates of the box go; `None` where genkan runs on its own.
    pub updates: Option<UpdateSeam>,
    /// How many the process may hold open.
    pub descriptors: usize,
}

impl Surroundings {
    /// Looks after the loops from now on and, with `pid_1`, talks to it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub fn begin(pid_1: Option<UnixStream>, descriptors: usize) -> io::Result<Self> {
        let (pulse_sender, pulse) = watch::channel(Pulse::default());
        let (conditions, summary) = (watch::Sender::default(), watch::Sender::default());
        let news =
            News { pulse: pulse.clone(), conditions: conditions.subscribe(), summary: summary.subscribe() };
        let supervision = pid_1.map(|stream| Supervision::begin(stream, news)).transpose()?;
        let loops = RollCall::default();
        tokio::spawn(pulse::watch(loops.clone(), pulse_sender, Pace::default()));
        let clock = Clock::new(supervision.as_ref().map(|supervision| supervision.clock.clone()));
        let updates = supervision.as_ref().map(errands::hand_updates_over);
        Ok(Self { clock, loops, pulse, conditions, summary, supervision, updates, descriptors })
    }
}
