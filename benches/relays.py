"""Settings of the programs that genkan replaces at the edge, each at its best: HAProxy, nginx, Caddy with caddy-l4; and a relay on tokio-uring.

Each publishes `services.LAYER4` from its first port on, and an HTTPS site if it can. One worker each, as there is one processor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from tests.lab.layout import PEERS
from tests.lab.processes import run

from .house import SITE
from .services import HTTPS_OFFSET, LAYER4, WEB_DIRECT, Published, caddy_servers

CADDY = PEERS / "caddy" / "caddy"
TOKIO_URING = PEERS / "tokio-uring-relay" / "bin" / "tokio-uring-relay"


@dataclass(frozen=True)
class Relay:
    """A peer: `prepare(place, first_port)` writes its settings and gives its command line; `https` where it publishes the site too."""

    name: str
    first_port: int
    prepare: Callable[[Path, int], list[object]]
    https: bool = True


def haproxy(place: Path, first: int) -> list[object]:
    """Splices; as many connections as 20,000 descriptors are good for; buffers of 64 KB and pipes of 1 MB were its best (a relay of one stream)."""
    pem = make_certificate(place)
    rows = [
        "global\n  nbthread 1\n  maxconn 7000\n  tune.bufsize 65536\n  tune.pipesize 1048576\n  tune.ssl.default-dh-param 2048",
        "defaults\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout http-keep-alive 1h\n  option splice-request\n  option splice-response",
    ]
    for service in _streams():
        rows.append(f"listen {service.name}\n  mode tcp\n  bind :{first + service.offset} backlog 4096\n  server m {service.dial}")
    rows.append(
        f"frontend site\n  mode http\n  bind :{first + HTTPS_OFFSET} ssl crt {pem} alpn h2,http/1.1 backlog 4096\n  default_backend web"
    )
    rows.append(f"backend web\n  mode http\n  http-reuse always\n  server m {WEB_DIRECT.dial} pool-max-conn 256")
    settings = place / "haproxy.cfg"
    settings.write_text("\n".join(rows) + "\n")
    return ["haproxy", "-db", "-f", settings]


def nginx(place: Path, first: int) -> list[object]:
    """Buffers of 64 KB; upstream connections kept alive; sessions resumed by tickets."""
    make_certificate(place)
    streams = [
        f"server {{ listen {first + service.offset}{' udp reuseport' if service.datagrams else ' backlog=4096'};"
        f" proxy_pass {service.dial};{' proxy_timeout 60s;' if service.datagrams else ''} }}"
        for service in LAYER4
    ]
    settings = place / "nginx.conf"
    settings.write_text(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
        f"worker_processes 1; daemon off; error_log stderr warn; pid {place}/nginx.pid;\n"
        "events { worker_connections 16384; }\n"
        "stream { proxy_buffer_size 64k; proxy_timeout 1h;\n" + "\n".join(streams) + "\n}\n"
        "http { access_log off; keepalive_requests 100000000; keepalive_timeout 600s;\n"
        f"  upstream web {{ server {WEB_DIRECT.dial}; keepalive 256; keepalive_requests 100000000; }}\n"
        f"  server {{ listen {first + HTTPS_OFFSET} ssl http2 backlog=4096; server_name {SITE};\n"
        f"    ssl_certificate {place}/site.crt; ssl_certificate_key {place}/site.key; ssl_protocols TLSv1.2 TLSv1.3;\n"
        "    proxy_buffers 16 32k; proxy_buffer_size 32k;\n"
        "    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ''; } } }\n"
    )
    return ["nginx", "-c", settings]


def caddy(place: Path, first: int) -> list[object]:
    """The seed's own program, in the seed's own form."""
    make_certificate(place)
    site = {
        "listen": [f":{first + HTTPS_OFFSET}"],
        "automatic_https": {"disable": True},
        "tls_connection_policies": [{}],
        "routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": WEB_DIRECT.dial}]}]}],
    }
    pair = {"certificate": f"{place}/site.crt", "key": f"{place}/site.key"}
    settings = place / "caddy.json"
    settings.write_text(
        json.dumps({
            "admin": {"disabled": True},
            "logging": {"logs": {"default": {"level": "WARN"}}},
            "apps": {
                "layer4": {"servers": caddy_servers(first)},
                "http": {"servers": {"site": site}},
                "tls": {"certificates": {"load_files": [pair]}},
            },
        })
    )
    return [CADDY, "run", "--config", settings]


def tokio_uring(_place: Path, first: int) -> list[object]:
    """Streams alone; reads and writes of 64 KB, for it has no splice."""
    return [TOKIO_URING, *(f"{first + service.offset}={service.dial}" for service in _streams())]


HAPROXY = Relay("haproxy", 10000, haproxy)
RELAYS = (
    HAPROXY,
    Relay("nginx", 20000, nginx),
    Relay("caddy", 30000, caddy),
    Relay("tokio-uring", 40000, tokio_uring, https=False),
)


def _streams() -> list[Published]:
    return [service for service in LAYER4 if not service.datagrams]


def make_certificate(place: Path) -> Path:
    """A certificate of the site's with an ECDSA P-256 key: site.crt, site.key, and both in site.pem."""
    certificate, key, both = place / "site.crt", place / "site.key", place / "site.pem"
    run([
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
        "-subj", f"/CN={SITE}", "-addext", f"subjectAltName=DNS:{SITE}", "-keyout", key, "-out", certificate,
    ])  # fmt: skip
    both.write_text(certificate.read_text() + key.read_text())
    return both
