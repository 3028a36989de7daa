//! Nothing of its own: the tests of this package speak with Tailscale's crates on one side and genkan on the other.
