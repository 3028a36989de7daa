"""The seed's network as namespaces on one machine.

`stranger` on an internet of documentation addresses reaches, through a home router that forwards exactly the
ports `genkan check` derives, the gateway on the LAN, and behind it machines A, B and C with real services and
real Tailscale clients. Machine E lives outside, behind a router of its own. Nothing here touches an address
outside the namespaces.

`python3 -m tests.lab run` raises it and waits; the tests beside this file raise it once for all of them.
"""
