//! Header fields between the two sides of the reverse proxy: what ends at each hop, and what is told about the first one.

use std::net::IpAddr;

use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields of one connection (RFC 9110 section 7.6.1), beside those that `Connection` lists.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Where a request says it came from. Services believe these, so what a stranger wrote in them must not arrive.
const ORIGIN_CLAIMS: [HeaderName; 6] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// This proxy's entry in `Via` (RFC 9110 section 7.6.3).
const VIA_SELF: HeaderValue = HeaderValue::from_static("1.1 genkan");

/// The first hop of a request, as the edge itself saw it.
#[derive(Debug, Clone, Copy)]
pub struct FirstHop<'a> {
    pub peer: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port as the client wrote them.
    pub authority: &'a str,
}

/// The protocol that a request asks to change to (RFC 9110 section 7.8), when `Connection` confirms the wish. Never another
/// version of HTTP: requests inside the tunnel that it would become could claim any origin and name any host.
#[must_use]
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let confirmed = list(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let is_http = list(headers, &UPGRADE).any(is_http_version);
    headers.get(UPGRADE).filter(|_| confirmed && !is_http).cloned()
}

/// `h2c` (RFC 7540 section 3.2, obsolete but understood), `h2`, `HTTP/2.0` and the like.
fn is_http_version(token: &str) -> bool {
    let name = token.split('/').next().unwrap_or(token);
    ["h2c", "h2", "http", "tls"].iter().any(|version| name.eq_ignore_ascii_case(version))
}

/// Makes a client's fields the upstream's: ends what ends at this hop, tells of the first hop, keeps `Host` as it was.
pub fn prepare_request(headers: &mut HeaderMap, hop: FirstHop<'_>) {
    let takes_trailers = list(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    let upgrade = upgrade(headers);
    strip_hop_by_hop(headers);
    strip_ambiguous(headers);
    // The edge has answered `Expect: 100-continue` by itself when it reads the body.
    strip(headers, |name| ORIGIN_CLAIMS.contains(name) || *name == EXPECT);
    join_cookies(headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    set_upgrade(headers, upgrade);
    set_first_hop(headers, hop);
    headers.append(VIA, VIA_SELF);
}

/// Makes an upstream's fields the client's. `upgrade` is the protocol that was agreed on, in a 101.
pub fn prepare_response(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    strip_hop_by_hop(headers);
    // It names ports of the upstream's machine, which the client cannot reach.
    headers.remove(ALT_SVC);
    set_upgrade(headers, upgrade);
    headers.append(VIA, VIA_SELF);
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = list(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect();
    // A list that names these would unmake the message itself; no honest sender does so.
    let is_listed = |name: &HeaderName| *name != HOST && *name != CONTENT_LENGTH && listed.contains(name);
    strip(headers, |name| HOP_BY_HOP.contains(name) || is_listed(name));
}

/// Drops names with `_` or `.`: CGI-like upstreams read them as other names, so they can forge what was removed above.
fn strip_ambiguous(headers: &mut HeaderMap) {
    strip(headers, |name| name.as_str().contains(['_', '.']));
}

/// Looking through the few fields there are costs less than asking for each of the many that there could be.
fn strip(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| is_unwanted(name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// HTTP/2 may split `Cookie`; HTTP/1.1 upstreams expect one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if parts.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn set_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

fn set_first_hop(headers: &mut HeaderMap, hop: FirstHop<'_>) {
    if let Ok(peer) = HeaderValue::from_str(&hop.peer.to_canonical().to_string()) {
        headers.insert(X_FORWARDED_FOR, peer);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(hop.scheme));
    if let Ok(authority) = HeaderValue::from_str(hop.authority) {
        headers.insert(X_FORWARDED_HOST, authority.clone());
        headers.insert(HOST, authority);
    }
}

/// The members of a comma-separated list field, over all its lines (RFC 9110 section 5.6.1).
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
#[path = "headers/tests.rs"]
mod tests;
