//! Keeps a key ready for every host of the policy that no machine has joined as.
//!
//! Key and line are one change, stored together: a line whose text is lost cannot be, and no key is left over. A key that
//! opens nothing any more, for whatever reason, is removed and another stands in its place.

use std::time::Duration;

use crate::base::rng::SeededRng;
use crate::base::wall_time::{UnixTime, WallTime};
use crate::coordinator::core::admin_view::KeyRequest;
use crate::coordinator::core::auth_key::{AuthKey, KeyId};
use crate::coordinator::core::change::{Issued, Mutation};
use crate::coordinator::core::join_line::{JOIN_KEY_LIFE, JoinLine, Joined};
use crate::coordinator::core::join_sheet::{Entry, JoinSheet, Standing};
use crate::coordinator::core::node_record::{NodeOrigin, NodeRecord};
use crate::coordinator::core::tailnet::Tailnet;
use crate::coordinator::core::user::FIRST_USER;

use super::keys::{KEYS_MAX, minted};

/// Hosts that get a line: a sheet is read by a person, and must fit a message to PID 1.
const HOSTS_MAX: usize = 100;

impl Tailnet {
    /// What must change for the sheet to be right; nothing when it is.
    #[must_use]
    pub fn decide_join_lines(&self, wall: WallTime, rng: &mut SeededRng) -> Vec<Mutation> {
        let mut desk = Desk { tailnet: self, wall, rng, last: self.issued.key, mutations: Vec::new() };
        for (host, holder) in self.sheet_hosts() {
            desk.attend(host, holder);
        }
        for line in
            self.view.join_lines.values().filter(|line| self.sheet_hosts().all(|(host, _)| host != line.host))
        {
            desk.withdraw(line);
        }
        if desk.last != self.issued.key {
            desk.mutations.push(Mutation::Issued(Issued { key: desk.last, ..self.issued }));
        }
        desk.mutations
    }

    /// The sheet as it stands.
    #[must_use]
    pub fn join_sheet(&self) -> JoinSheet {
        let entry = |(host, holder): (&str, Option<&NodeRecord>)| Entry {
            host: host.to_owned(),
            address: self.reservations.address(host),
            standing: self.standing(host, holder),
        };
        let entries = self.sheet_hosts().map(entry).collect();
        JoinSheet { entries, left_out: self.reservations.hosts().count().saturating_sub(HOSTS_MAX) }
    }

    /// Hosts that have a line, each with the node that joined as it.
    fn sheet_hosts(&self) -> impl Iterator<Item = (&str, Option<&NodeRecord>)> {
        let holder = |address| self.addresses.get(&address).and_then(|node| self.view.node(*node));
        self.reservations.hosts().take(HOSTS_MAX).map(move |(host, address)| (host, holder(address)))
    }

    fn standing(&self, host: &str, holder: Option<&NodeRecord>) -> Standing {
        let line = self.view.join_lines.get(host);
        if let Some(node) = holder {
            let used = line.and_then(|line| line.joined);
            return Standing::Joined { name: node.name.clone(), used, has_ended: node.expired };
        }
        let text = line.and_then(|line| line.text.clone());
        let key = line.and_then(|line| self.view.keys.get(&line.key));
        match (text, key) {
            (Some(text), Some(key)) => Standing::Open { text, until: key.expiration },
            _ => Standing::Waiting,
        }
    }
}

/// One pass over the sheet.
struct Desk<'a> {
    tailnet: &'a Tailnet,
    wall: WallTime,
    rng: &'a mut SeededRng,
    /// The last number given to a key.
    last: KeyId,
    mutations: Vec<Mutation>,
}

impl Desk<'_> {
    fn attend(&mut self, host: &str, holder: Option<&NodeRecord>) {
        let line = self.tailnet.view.join_lines.get(host);
        match (holder, line) {
            (Some(node), Some(line)) if line.joined.is_none() => self.close(line, node),
            (Some(_), _) => {}
            (None, Some(line)) if line.joined.is_none() => self.keep_open(line),
            (None, _) => self.issue(host),
        }
    }

    /// A machine joined: by the line's key, or by another, which leaves the line's key without a purpose.
    fn close(&mut self, line: &JoinLine, node: &NodeRecord) {
        if node.origin == NodeOrigin::AuthKey(line.key) {
            let joined = Some(Joined { at: self.wall.known() });
            self.mutations.push(Mutation::JoinLine(JoinLine { text: None, joined, ..line.clone() }));
        } else {
            self.withdraw(line);
        }
    }

    fn keep_open(&mut self, line: &JoinLine) {
        match self.tailnet.view.keys.get(&line.key) {
            Some(key) if line.text.is_some() && key.check(self.wall).is_ok() => self.date(key),
            _ => {
                self.remove_key(line);
                self.issue(&line.host);
            }
        }
    }

    /// A key that was made without knowing the time gets its end as soon as it is known.
    fn date(&mut self, key: &AuthKey) {
        if let (None, Some(end)) = (key.expiration, self.end()) {
            self.mutations.push(Mutation::Key(AuthKey { expiration: Some(end), ..key.clone() }));
        }
    }

    fn issue(&mut self, host: &str) {
        if self.tailnet.view.keys.len() + self.mutations.len() >= KEYS_MAX {
            return;
        }
        self.last = KeyId(self.last.0 + 1);
        let request =
            KeyRequest { host: Some(host.to_owned()), expiration: self.end(), ..KeyRequest::default() };
        let (text, key) = minted(self.last, FIRST_USER, &request, self.wall, self.rng);
        let line = JoinLine { host: host.to_owned(), key: key.id, text: Some(text), joined: None };
        self.mutations.extend([Mutation::Key(key), Mutation::JoinLine(line)]);
    }

    /// The host has no line any more, or needs none.
    fn withdraw(&mut self, line: &JoinLine) {
        if line.joined.is_none() {
            self.remove_key(line);
        }
        self.mutations.push(Mutation::JoinLineRemoved(line.host.clone()));
    }

    fn remove_key(&mut self, line: &JoinLine) {
        if self.tailnet.view.keys.contains_key(&line.key) {
            self.mutations.push(Mutation::KeyRemoved(line.key));
        }
    }

    fn end(&self) -> Option<UnixTime> {
        self.wall.known().map(|now| now.saturating_add(Duration::from_secs(JOIN_KEY_LIFE)))
    }
}
