//! What a lease must be like to be used: from the server's message, and again from what the lease child says.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::wire::dhcp::{Message, Options};
use crate::wire::errand::{Lease, LeaseRoute};

/// Shorter leases would make the box ask without end; no router gives them.
pub const SECONDS_MIN: u32 = 10;
/// A lease without end.
pub const FOREVER: u32 = u32::MAX;

/// Most servers of a kind that are kept; the C library's resolver asks three.
pub const SERVERS_MAX: usize = 3;
/// Most routes that are kept.
pub const ROUTES_MAX: usize = 16;

/// Ethernet's own, and the least that IPv6 works with. Smaller ones are a way to slow a machine down.
const MTU: std::ops::RangeInclusive<u16> = 1280..=9000;

/// The lease that `message`, an offer or an acknowledgement, holds. `None` when it is not one that can be used.
#[must_use]
pub fn read(message: &Message) -> Option<Lease> {
    let options = &message.options;
    let length = match options.mask {
        Some(mask) => ipnet::ipv4_mask_to_prefix(mask).ok()?,
        None => classful_length(message.given),
    };
    let seconds = options.lease?;
    let (renew_after, rebind_after) = renewal(options, seconds);
    let lease = Lease {
        address: Ipv4Net::new(message.given, length).ok()?,
        server: options.server?,
        seconds,
        renew_after,
        rebind_after,
        routes: routes(options),
        dns: options.dns.clone(),
        domain: options.domain.clone(),
        time_servers: options.time_servers.clone(),
        mtu: options.mtu,
    };
    check(lease)
}

/// Cuts a lease down to what is sound; `None` when its address or its times are not.
#[must_use]
pub fn check(mut lease: Lease) -> Option<Lease> {
    let address = lease.address.addr();
    let on_link = lease.address.trunc();
    let is_sound = (1..=32).contains(&lease.address.prefix_len())
        && is_host(address)
        && (on_link.prefix_len() >= 31 || (address != on_link.network() && address != on_link.broadcast()))
        && is_host(lease.server)
        && lease.seconds >= SECONDS_MIN
        && lease.renew_after < lease.rebind_after
        && lease.rebind_after < lease.seconds;
    for servers in [&mut lease.dns, &mut lease.time_servers] {
        servers.retain(|server| is_host(*server));
        servers.truncate(SERVERS_MAX);
    }
    lease.routes.retain(|route| route.via.is_none_or(|via| is_host(via) && via != address));
    lease.routes.truncate(ROUTES_MAX);
    lease.domain = lease.domain.filter(|domain| is_domain(domain));
    lease.mtu = lease.mtu.filter(|mtu| MTU.contains(mtu));
    is_sound.then_some(lease)
}

/// RFC 2131, section 4.4.5: half and seven eighths of the lease, when the server does not say or says nonsense.
fn renewal(options: &Options, seconds: u32) -> (u32, u32) {
    let usual = (seconds / 2, seconds - seconds / 8);
    let told = (options.renewal.unwrap_or(usual.0), options.rebinding.unwrap_or(usual.1));
    let is_sound = SECONDS_MIN / 2 <= told.0 && told.0 < told.1 && told.1 < seconds;
    if is_sound { told } else { usual }
}

/// RFC 3442: the routes of option 121 hold instead of the routers.
fn routes(options: &Options) -> Vec<LeaseRoute> {
    if let Some(routes) = &options.routes {
        let read = |via: Ipv4Addr| (!via.is_unspecified()).then_some(via);
        return routes
            .iter()
            .map(|route| LeaseRoute { prefix: route.prefix, via: read(route.via) })
            .collect();
    }
    let router = options.routers.first();
    router.map(|router| LeaseRoute { prefix: Ipv4Net::default(), via: Some(*router) }).into_iter().collect()
}

/// An address that one machine can have.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224 && !address.is_loopback()
}

/// Before masks were told, an address told its network by itself.
fn classful_length(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192.. => 24,
    }
}

/// Letters, digits, hyphens and dots: what may stand in resolv.conf.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    domain.len() <= 253 && domain.trim_end_matches('.').split('.').all(is_label)
}
