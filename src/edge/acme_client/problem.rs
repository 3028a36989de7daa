//! Why there is no certificate, and what the owner of the box can do about it.

use instant_acme::{Error, Problem};

use super::authority::RequestError;
use crate::edge::StoreFailure;
use crate::edge::core::acme_order::Failure;
use crate::edge::tls::CertificateError;

/// Where problem types of RFC 8555 section 6.7 begin.
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("the certificate authority refused: {0}")]
    Refused(Problem),
    #[error("the certificate authority gave the order up without a reason")]
    Invalid,
    #[error("the certificate authority offers no HTTP-01 challenge")]
    NoChallenge,
    #[error("the order took too long")]
    Timeout,
    #[error(transparent)]
    Acme(Error),
    #[error("cannot read trusted roots from {0}: {1}")]
    Roots(String, String),
    #[error("the certificate store does not work: {0}")]
    Store(StoreFailure),
    #[error("the certificate cannot be used: {0}")]
    Install(CertificateError),
    #[error("the program is stopping")]
    Stopped,
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(problem),
            other => Self::Acme(other),
        }
    }
}

impl OrderError {
    /// What it means for the next attempt.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match (self, self.kind()) {
            (_, Some("rateLimited")) => Failure::RateLimited,
            (_, Some("badNonce")) => Failure::Unseen,
            (Self::Acme(Error::Other(cause)), _) if cause.is::<RequestError>() => Failure::Unseen,
            _ => Failure::Ordinary,
        }
    }

    #[must_use]
    pub fn is_unknown_account(&self) -> bool {
        self.kind() == Some("accountDoesNotExist")
    }

    /// What to do about it, in a sentence.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match (self, self.kind()) {
            (_, Some("dns")) => {
                "create an A record for the name that points to your router's public IPv4 address, and no AAAA record that points elsewhere"
            }
            (_, Some("connection")) => {
                "forward TCP port 80 on the router to this box, and check that the name points to the router's public address"
            }
            (_, Some("unauthorized" | "incorrectResponse")) => {
                "something else answers on port 80 of this name: check its DNS record and the router's port forward"
            }
            (_, Some("caa")) => "the domain's CAA record forbids this certificate authority: add it there",
            (_, Some("rejectedIdentifier" | "unsupportedIdentifier")) => {
                "the authority does not certify this name: use a public domain name"
            }
            (_, Some("externalAccountRequired")) => {
                "this authority takes customers only: write its eab_key_id and eab_hmac_key under [acme] in genkan.toml"
            }
            (_, Some("rateLimited")) => "nothing: the order is repeated when the authority allows it",
            (Self::Roots(..), _) => "correct the file of trusted roots in the configuration",
            (Self::Acme(_) | Self::Timeout, _) => "check that this box reaches the internet",
            (Self::Store(_) | Self::Install(_), _) => "check the data partition",
            _ => "nothing: the order is repeated by itself",
        }
    }

    fn kind(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem.r#type.as_deref()?.strip_prefix(NAMESPACE),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str) -> OrderError {
        let json = format!(r#"{{"type":"{NAMESPACE}{kind}","detail":"why","status":400}}"#);
        OrderError::from(Error::Api(serde_json::from_str(&json).expect("a problem document")))
    }

    #[test]
    fn the_authoritys_words_and_an_advice_reach_the_log() {
        let error = refused("connection");
        assert!(error.to_string().contains("why"), "{error}");
        assert!(error.advice().contains("port 80"), "{}", error.advice());
        assert!(refused("dns").advice().contains("A record"));
        assert!(refused("accountDoesNotExist").is_unknown_account());
    }

    #[test]
    fn only_what_the_authority_looked_at_counts_against_the_name() {
        assert_eq!(refused("connection").failure(), Failure::Ordinary);
        assert_eq!(refused("rateLimited").failure(), Failure::RateLimited);
        assert_eq!(refused("badNonce").failure(), Failure::Unseen);
        let other = |cause: Box<dyn std::error::Error + Send + Sync>| OrderError::from(Error::Other(cause));
        assert_eq!(other(Box::new(RequestError::Timeout)).failure(), Failure::Unseen);
        assert_eq!(other("no nonce".into()).failure(), Failure::Ordinary);
    }
}
