//! Updates of the card, as PID 1 is joined to them.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::board;
use super::boot_switch::BootSwitch;
use super::core::health_watch::Patience;
use super::core::options::Options;
use super::core::slot::SwitchFile;
use super::seams::{CardDevices, Told, UpdateNews, Updates};
use super::updater::{Settings, Updater};
use crate::base::condition::Condition;
use crate::wire::supervision::{FromInit, FromWorker};

const KEYS: &str = "/etc/genkan/release.pub";
const BUILD: &str = "/etc/genkan/build.json";
const PROGRAM: &str = "/proc/self/exe";

/// The two slots of this card.
#[derive(Default)]
pub struct CardUpdates {
    updater: Option<Updater>,
    told: Told,
}

impl Updates for CardUpdates {
    fn start(&mut self, card: &CardDevices, data: &Path, options: &Options, now: Instant) {
        let file = if board::has_firmware() { SwitchFile::Autoboot } else { SwitchFile::SlotEnv };
        let usual = Patience::default();
        let within = options.patience.map_or(usual.within, Duration::from_secs);
        let settings = Settings {
            switch: BootSwitch { file, device: card.device.clone(), first: card.owner_start },
            slots: card.slots.clone(),
            memory: data.join("box/update.json"),
            state: data.join("state"),
            board: board::kind().to_owned(),
            keys: KEYS.into(),
            build: BUILD.into(),
            program: PROGRAM.into(),
            patience: Patience { within, hold: usual.hold.min(within / 2) },
        };
        self.updater = Some(Updater::at_boot(settings, board::boot(options), now));
    }

    fn hear(&mut self, message: &FromWorker, now: Instant) {
        if let Some(updater) = &mut self.updater {
            updater.handle_message(now, message);
        }
    }

    fn handle_worker_gone(&mut self) {
        if let Some(updater) = &mut self.updater {
            updater.handle_worker_gone();
        }
    }

    fn greeting(&self) -> Option<FromInit> {
        self.updater.as_ref()?.status()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.updater.iter().filter_map(Updater::descriptor).collect()
    }

    fn poll(&mut self, own: &[Condition], now: Instant) -> Vec<UpdateNews> {
        let Some(updater) = &mut self.updater else { return Vec::new() };
        updater.handle_own(own);
        updater.handle_readable(now);
        updater.handle_timeout(now);
        let mut news: Vec<UpdateNews> = updater.take_message().into_iter().map(UpdateNews::Tell).collect();
        let restart = updater.take_restart().map(|restart| restart.tryboot.then(|| c"0 tryboot".to_owned()));
        news.extend(restart.map(UpdateNews::Restart));
        let (fresh, gone) = self.told.differences(updater.conditions());
        news.extend(fresh.into_iter().map(UpdateNews::Holds));
        news.extend(gone.into_iter().map(UpdateNews::HoldsNoLonger));
        news
    }
}
