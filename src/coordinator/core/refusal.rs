//! Why a request is not granted, in words its sender can act on.

/// An HTTP status and the sentence that goes with it. Clients show its first 200 characters to the person in front of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    pub status: u16,
    pub text: String,
}

impl Refusal {
    /// The request itself is wrong, whoever sends it.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self { status: 400, text: text.into() }
    }

    /// The sender has not shown who it is.
    pub fn unauthorized(text: impl Into<String>) -> Self {
        Self { status: 401, text: text.into() }
    }

    /// The sender may not do this.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self { status: 403, text: text.into() }
    }

    pub fn not_found(text: impl Into<String>) -> Self {
        Self { status: 404, text: text.into() }
    }

    /// What is asked contradicts what is.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self { status: 409, text: text.into() }
    }

    /// This side cannot serve now.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { status: 503, text: text.into() }
    }
}
