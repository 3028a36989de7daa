//! What the status page's paths are answered with.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::Source;

const STYLE: &str = include_str!("style.css");

/// No scripts, nothing from elsewhere, in nobody's frame, no forms: the page only shows.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// For every answer: nobody keeps it, frames it, guesses its type, embeds it, or learns from where a link was followed.
const GUARDS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// The answer to a GET of `path`; `None` when it is none of the page's.
pub fn answer(path: &str, source: &dyn Source) -> Option<Response<Full<Bytes>>> {
    Some(match path {
        "/" => guarded("text/html; charset=utf-8", source.status().page()),
        "/status.json" => guarded("application/json", source.status().json()),
        "/style.css" => guarded("text/css; charset=utf-8", STYLE),
        _ => return None,
    })
}

fn guarded(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
