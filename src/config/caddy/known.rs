//! The words of Caddy's JSON: those that are acted on, and those that exist in Caddy and are not yet.

use crate::config::decode::Keys;

pub const ROOT: Keys =
    Keys { of: "Caddy's configuration", known: &["@id", "apps"], planned: &["admin", "logging", "storage"] };

pub const APPS: Keys =
    Keys { of: "apps", known: &["@id", "http", "layer4"], planned: &["tls", "pki", "events"] };

pub const HTTP_APP: Keys = Keys {
    of: "the http app",
    known: &["@id", "servers"],
    planned: &["http_port", "https_port", "grace_period", "shutdown_delay", "metrics"],
};

pub const HTTP_SERVER: Keys = Keys {
    of: "an http server",
    known: &["@id", "listen", "routes"],
    planned: &[
        "listener_wrappers",
        "packet_conn_wrappers",
        "read_timeout",
        "read_header_timeout",
        "write_timeout",
        "idle_timeout",
        "keepalive_interval",
        "keepalive_idle",
        "keepalive_count",
        "max_header_bytes",
        "enable_full_duplex",
        "errors",
        "named_routes",
        "tls_connection_policies",
        "automatic_https",
        "strict_sni_host",
        "trusted_proxies",
        "client_ip_headers",
        "trusted_proxies_strict",
        "trusted_proxies_unix",
        "logs",
        "protocols",
        "listen_protocols",
        "metrics",
        "allow_0rtt",
    ],
};

pub const HTTP_ROUTE: Keys =
    Keys { of: "an http route", known: &["@id", "match", "handle", "terminal"], planned: &["group"] };

pub const HTTP_MATCHERS: Keys = Keys {
    of: "an http matcher set",
    known: &["@id", "host"],
    planned: &[
        "path",
        "path_regexp",
        "method",
        "query",
        "header",
        "header_regexp",
        "protocol",
        "tls",
        "not",
        "remote_ip",
        "client_ip",
        "expression",
        "vars",
        "vars_regexp",
        "file",
    ],
};

/// Handlers that exist in Caddy besides `reverse_proxy`.
pub const HTTP_HANDLERS: &[&str] = &[
    "acme_server",
    "authentication",
    "copy_response",
    "copy_response_headers",
    "encode",
    "error",
    "file_server",
    "headers",
    "intercept",
    "invoke",
    "log_append",
    "map",
    "metrics",
    "push",
    "request_body",
    "rewrite",
    "static_response",
    "subroute",
    "templates",
    "tracing",
    "vars",
];

pub const REVERSE_PROXY: Keys = Keys {
    of: "reverse_proxy",
    known: &["@id", "handler", "upstreams"],
    planned: &[
        "transport",
        "circuit_breaker",
        "load_balancing",
        "health_checks",
        "dynamic_upstreams",
        "flush_interval",
        "trusted_proxies",
        "headers",
        "request_buffers",
        "response_buffers",
        "stream_timeout",
        "stream_close_delay",
        "rewrite",
        "handle_response",
        "verbose_logs",
    ],
};

pub const HTTP_UPSTREAM: Keys =
    Keys { of: "an http upstream", known: &["@id", "dial"], planned: &["max_requests"] };

pub const LAYER4_APP: Keys = Keys { of: "the layer4 app", known: &["@id", "servers"], planned: &[] };

pub const LAYER4_SERVER: Keys = Keys {
    of: "a layer4 server",
    known: &["@id", "listen", "routes"],
    planned: &["matching_timeout", "idle_timeout"],
};

pub const LAYER4_ROUTE: Keys = Keys { of: "a layer4 route", known: &["@id", "handle"], planned: &["match"] };

/// Handlers that exist in caddy-l4 besides `proxy`.
pub const LAYER4_HANDLERS: &[&str] = &[
    "close",
    "echo",
    "postgres_tls",
    "proxy_protocol",
    "socks5",
    "subroute",
    "tee",
    "throttle",
    "tls",
    "vars",
];

pub const LAYER4_PROXY: Keys = Keys {
    of: "proxy",
    known: &["@id", "handler", "upstreams", "proxy_protocol"],
    planned: &["health_checks", "load_balancing"],
};

pub const LAYER4_UPSTREAM: Keys = Keys {
    of: "a layer4 upstream",
    known: &["@id", "dial"],
    planned: &["local_address", "resolver_preference", "tls", "max_connections", "weight"],
};
