//! The network and clock of the card, as PID 1 is joined to them.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Instant, UNIX_EPOCH};

use nix::unistd::Pid;
use serde::Deserialize;

use super::clock;
use super::core::options::Options;
use super::core::time_sync::floor;
use super::network::{Network, Settings, Status};
use super::seams::{NetworkNews, Networker, Told};
use crate::base::wall_time::UnixTime;
use crate::config::model::Model;

const RUN: &str = "/run/genkan";
/// What a child of this program is started from.
const PROGRAM: &str = "/proc/self/exe";
const BUILD: &str = "/etc/genkan/build.json";
/// Changes with everything the coordinator and the certificates store: no certificate of the box's own is newer.
const STATE: &str = "state/genkan.redb";

/// The network that this box sets up itself.
#[derive(Default)]
pub struct CardNetwork {
    network: Option<Network>,
    status: Status,
    is_clock_known: bool,
    told: Told,
}

#[derive(Deserialize)]
struct Build {
    built: i64,
}

impl Networker for CardNetwork {
    fn start(&mut self, model: &Model, data: &Path, options: &Options) -> Result<(), String> {
        let own = data.join("box");
        let settings = Settings {
            network: model.network.clone(),
            time: model.time.clone(),
            floor: floor(built(), clock::load(&own), last_stored(&data.join(STATE))),
            run: RUN.into(),
            data: own.is_dir().then_some(own),
            program: PROGRAM.into(),
            // A kernel that others use too has others who set its clock.
            sets_clock: !options.is_guest,
        };
        self.network = Some(Network::start(settings, Instant::now()).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.network.iter().map(Network::descriptor).collect()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.network.as_ref()?.poll_timeout()
    }

    fn poll(&mut self, now: Instant) -> Vec<NetworkNews> {
        let Some(network) = &mut self.network else { return Vec::new() };
        network.handle_ready(now);
        let (status, known, conditions) = (network.status(), network.clock_known(), network.conditions(now));
        let mut news = Vec::new();
        if status.link != self.status.link {
            news.push(NetworkNews::Link(status.link));
        }
        if status.addresses != self.status.addresses {
            tracing::info!(addresses = ?status.addresses, "network");
            news.push(NetworkNews::Addresses(status.addresses.clone()));
        }
        if status.clock != self.status.clock || known != self.is_clock_known {
            tracing::info!(source = status.clock, known, "clock");
            news.push(NetworkNews::Clock { known, source: status.clock.clone() });
        }
        (self.status, self.is_clock_known) = (status, known);
        let (fresh, gone) = self.told.differences(conditions);
        news.extend(fresh.into_iter().map(NetworkNews::Holds));
        news.extend(gone.into_iter().map(NetworkNews::HoldsNoLonger));
        news
    }

    fn handle_exit(&mut self, child: Pid, now: Instant) -> bool {
        self.network.as_mut().is_some_and(|network| network.child_ended(child, now))
    }

    fn stop(&mut self) {
        if let Some(network) = self.network.take() {
            network.save_clock();
        }
    }
}

/// When this program was built.
fn built() -> UnixTime {
    let text = std::fs::read(BUILD).unwrap_or_default();
    serde_json::from_slice::<Build>(&text).map_or(UnixTime(0), |build| UnixTime(build.built))
}

fn last_stored(file: &Path) -> Option<UnixTime> {
    let changed = std::fs::metadata(file).and_then(|found| found.modified()).ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(UnixTime)
}
