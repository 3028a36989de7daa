//! What the processor can do, as far as a room has to choose by it.

use crate::edge::core::cipher_order::Processor;
use crate::wire::supervision::NO_AES;

/// The processor this runs on; without AES instructions if the environment says so, which is for tests on one that has them.
pub fn find() -> Processor {
    let is_denied = std::env::var_os(NO_AES).is_some_and(|value| value == "1");
    Processor { has_aes: !is_denied && has_aes() }
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
fn has_aes() -> bool {
    false
}
