//! The options of a message: code, length, value (RFC 2132), long ones in several pieces (RFC 3396).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Most addresses that are kept of a list.
pub const LIST_MAX: usize = 8;
/// Most routes that are kept.
pub const ROUTES_MAX: usize = 16;
/// Longest text that is kept, in bytes.
pub const TEXT_MAX: usize = 253;

/// Numbers of the options (IANA, "BOOTP Vendor Extensions and DHCP Options").
#[allow(missing_docs, reason = "the names are the registry's")]
pub mod code {
    pub const PAD: u8 = 0;
    pub const MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN: u8 = 15;
    pub const MTU: u8 = 26;
    pub const BROADCAST: u8 = 28;
    pub const TIME_SERVERS: u8 = 42;
    pub const REQUESTED: u8 = 50;
    pub const LEASE: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const WANTED: u8 = 55;
    pub const EXPLANATION: u8 = 56;
    pub const SIZE_MAX: u8 = 57;
    pub const RENEWAL: u8 = 58;
    pub const REBINDING: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_ID: u8 = 61;
    pub const ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// A classless static route (RFC 3442).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub prefix: Ipv4Net,
    /// Unspecified: the prefix is on the link itself.
    pub via: Ipv4Addr,
}

/// What the options say; absent and unreadable are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub mask: Option<Ipv4Addr>,
    pub routers: Vec<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub host_name: Option<String>,
    pub domain: Option<String>,
    /// In bytes.
    pub mtu: Option<u16>,
    pub broadcast: Option<Ipv4Addr>,
    /// Servers of NTP.
    pub time_servers: Vec<Ipv4Addr>,
    pub requested: Option<Ipv4Addr>,
    /// How long the address may be used, in seconds; `u32::MAX` is for ever.
    pub lease: Option<u32>,
    pub server: Option<Ipv4Addr>,
    /// Codes of the options that the client would like to have.
    pub wanted: Vec<u8>,
    /// Why a server refuses; printable ASCII.
    pub explanation: Option<String>,
    /// Longest message that the client takes, in bytes.
    pub size_max: Option<u16>,
    /// When to renew, in seconds from the start of the lease.
    pub renewal: Option<u32>,
    /// When to ask any server, in seconds from the start of the lease.
    pub rebinding: Option<u32>,
    pub vendor_class: Option<String>,
    /// Type of hardware and address, as a rule.
    pub client_id: Option<Vec<u8>>,
    /// When given, these hold instead of `routers` (RFC 3442).
    pub routes: Option<Vec<Route>>,
}

/// Reads `bytes`, and the fields `file` and `server_name` where the option "overload" says that they hold options too.
/// The kind of the message comes apart.
pub(super) fn decode(bytes: &[u8], file: &[u8], server_name: &[u8]) -> (Option<u8>, Options) {
    let mut found = Found::default();
    found.collect(bytes);
    let overload = found.array::<1>(code::OVERLOAD).map_or(0, |[fields]| fields);
    if overload & 1 != 0 {
        found.collect(file);
    }
    if overload & 2 != 0 {
        found.collect(server_name);
    }
    let kind = found.array::<1>(code::KIND).map(|[kind]| kind);
    (kind, found.options())
}

/// Appends `options` and the end mark.
pub(super) fn encode(out: &mut Vec<u8>, kind: u8, options: &Options) {
    put(out, code::KIND, &[kind]);
    let pairs: [(u8, Option<Vec<u8>>); 19] = [
        (code::CLIENT_ID, options.client_id.clone()),
        (code::REQUESTED, options.requested.map(octets)),
        (code::SERVER, options.server.map(octets)),
        (code::LEASE, options.lease.map(|seconds| seconds.to_be_bytes().to_vec())),
        (code::RENEWAL, options.renewal.map(|seconds| seconds.to_be_bytes().to_vec())),
        (code::REBINDING, options.rebinding.map(|seconds| seconds.to_be_bytes().to_vec())),
        (code::SIZE_MAX, options.size_max.map(|size| size.to_be_bytes().to_vec())),
        (code::MASK, options.mask.map(octets)),
        (code::ROUTES, options.routes.as_deref().map(route_bytes)),
        (code::ROUTERS, list(&options.routers)),
        (code::DNS, list(&options.dns)),
        (code::TIME_SERVERS, list(&options.time_servers)),
        (code::BROADCAST, options.broadcast.map(octets)),
        (code::MTU, options.mtu.map(|mtu| mtu.to_be_bytes().to_vec())),
        (code::HOST_NAME, options.host_name.clone().map(String::into_bytes)),
        (code::DOMAIN, options.domain.clone().map(String::into_bytes)),
        (code::VENDOR_CLASS, options.vendor_class.clone().map(String::into_bytes)),
        (code::EXPLANATION, options.explanation.clone().map(String::into_bytes)),
        (code::WANTED, (!options.wanted.is_empty()).then(|| options.wanted.clone())),
    ];
    for (code, value) in pairs {
        if let Some(value) = value {
            put(out, code, &value);
        }
    }
    out.push(code::END);
}

/// The values by code; the pieces of one are joined (RFC 3396). Bounded by the message's own length.
#[derive(Default)]
struct Found(BTreeMap<u8, Vec<u8>>);

impl Found {
    fn collect(&mut self, mut bytes: &[u8]) {
        while let [code, rest @ ..] = bytes {
            match *code {
                code::END => return,
                code::PAD => bytes = rest,
                code => {
                    let Some((length, rest)) = rest.split_first() else { return };
                    let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { return };
                    self.0.entry(code).or_default().extend_from_slice(value);
                    bytes = rest;
                }
            }
        }
    }

    fn options(&self) -> Options {
        Options {
            mask: self.address(code::MASK),
            routers: self.addresses(code::ROUTERS),
            dns: self.addresses(code::DNS),
            host_name: self.text(code::HOST_NAME),
            domain: self.text(code::DOMAIN),
            mtu: self.array(code::MTU).map(u16::from_be_bytes),
            broadcast: self.address(code::BROADCAST),
            time_servers: self.addresses(code::TIME_SERVERS),
            requested: self.address(code::REQUESTED),
            lease: self.array(code::LEASE).map(u32::from_be_bytes),
            server: self.address(code::SERVER),
            wanted: self.0.get(&code::WANTED).cloned().unwrap_or_default(),
            explanation: self.text(code::EXPLANATION),
            size_max: self.array(code::SIZE_MAX).map(u16::from_be_bytes),
            renewal: self.array(code::RENEWAL).map(u32::from_be_bytes),
            rebinding: self.array(code::REBINDING).map(u32::from_be_bytes),
            vendor_class: self.text(code::VENDOR_CLASS),
            client_id: self.0.get(&code::CLIENT_ID).cloned(),
            routes: self.0.get(&code::ROUTES).and_then(|value| routes(value)),
        }
    }

    fn array<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.0.get(&code)?.as_slice().try_into().ok()
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.array::<4>(code).map(Ipv4Addr::from)
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (chunks, _) = self.0.get(&code).map(Vec::as_slice).unwrap_or_default().as_chunks::<4>();
        chunks.iter().take(LIST_MAX).map(|octets| Ipv4Addr::from(*octets)).collect()
    }

    /// Printable ASCII without the zeros that some servers end it with.
    fn text(&self, code: u8) -> Option<String> {
        let bytes = self.0.get(&code)?;
        let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let is_plain = text.len() <= TEXT_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        is_plain.then(|| text.to_owned())
    }
}

/// RFC 3442: length of the prefix, its significant octets, the router. `None` when it does not add up.
fn routes(mut value: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((length, rest)) = value.split_first() {
        let (significant, rest) = rest.split_at_checked(usize::from(*length).div_ceil(8))?;
        let (via, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        let prefix = Ipv4Net::new(octets.into(), *length).ok()?.trunc();
        if routes.len() < ROUTES_MAX {
            routes.push(Route { prefix, via: Ipv4Addr::from(*via) });
        }
        value = rest;
    }
    Some(routes)
}

fn route_bytes(routes: &[Route]) -> Vec<u8> {
    let mut out = Vec::new();
    for route in routes {
        let length = route.prefix.prefix_len();
        out.push(length);
        out.extend_from_slice(&route.prefix.network().octets()[..usize::from(length).div_ceil(8)]);
        out.extend_from_slice(&route.via.octets());
    }
    out
}

fn list(addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    (!addresses.is_empty()).then(|| addresses.iter().flat_map(Ipv4Addr::octets).collect())
}

fn octets(address: Ipv4Addr) -> Vec<u8> {
    address.octets().to_vec()
}

fn put(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    for piece in value.chunks(usize::from(u8::MAX)) {
        out.extend([code, u8::try_from(piece.len()).expect("a piece is at most 255 bytes")]);
        out.extend_from_slice(piece);
    }
}
