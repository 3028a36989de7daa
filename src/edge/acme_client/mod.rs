//! Certificates by ACME (RFC 8555), proved by HTTP-01.
//!
//! One task works through the names of [`crate::edge::core::acme_order::OrderBook`], one order at a time: account, order, challenge answered on
//! port 80, certificate into the store and into the next handshakes. Nothing is ordered before the wall clock is known.

mod authority;
mod challenges;
mod order;
mod problem;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::core::acme_order::{NameStanding, OrderBook};
use super::core::certificate::Validity;
use super::http_metrics::HttpMetrics;
use super::settings::AcmeSettings;
use super::tls::{Bundle, Certificates};
use super::{CertificateStore, StoreFailure};
use crate::base::rng::SeededRng;
use crate::base::wall_time::WallTime;
use crate::health::Health;

pub use challenges::Challenges;
pub use problem::OrderError;

/// For one order with all its waiting: authorities validate within seconds, or fail.
const ORDER_TIMEOUT: Duration = Duration::from_mins(5);

/// What the task works with.
pub struct AcmeClient {
    pub settings: AcmeSettings,
    pub certificates: Arc<Certificates>,
    pub challenges: Challenges,
    pub store: Arc<dyn CertificateStore>,
    /// Every name that should have a certificate; all of them can be ordered.
    pub names: watch::Receiver<Vec<String>>,
    /// The time, kept current.
    pub wall: watch::Receiver<WallTime>,
    pub metrics: HttpMetrics,
    pub health: Health,
    /// How every name stands, for people.
    pub standings: watch::Sender<Vec<NameStanding>>,
}

/// Where blobs of an authority stand in the store: one authority's certificates are not taken for another's.
#[must_use]
pub fn store_prefix(directory: &str) -> String {
    let place = directory.split_once("://").map_or(directory, |(_, place)| place);
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    format!("acme/{}", place.chars().map(plain).collect::<String>())
}

impl AcmeClient {
    /// Orders and renews. Runs until dropped, or until the sender of the names is gone.
    pub async fn run(mut self, rng: SeededRng) {
        let mut book = OrderBook::new(rng);
        self.read_names(&mut book);
        loop {
            let (now, wall) = (Instant::now(), *self.wall.borrow_and_update());
            if let Some(name) = book.poll_order(now, wall) {
                self.order(&mut book, &name).await;
                continue;
            }
            let deadline = book.poll_timeout(now, wall);
            let sleep = async {
                match deadline {
                    Some((at, reason)) => {
                        debug!(reason, "sleeping");
                        tokio::time::sleep_until(at.into()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let is_known = wall.known().is_some();
            let is_renamed = tokio::select! {
                () = sleep => false,
                changed = self.names.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
                // Time passes by the other clock; only that this one becomes known is news.
                Ok(_) = self.wall.wait_for(|later| later.known().is_some() != is_known) => false,
            };
            if is_renamed {
                self.read_names(&mut book);
            }
        }
    }

    fn read_names(&mut self, book: &mut OrderBook) {
        let now = Instant::now();
        book.set_names(self.names.borrow_and_update().iter().map(String::as_str), now);
        for (name, validity) in self.certificates.issued() {
            self.metrics.set_expiry(&name, validity.not_after.0);
            book.handle_certificate(&name, validity, now);
        }
        self.tell_names(book, now);
    }

    async fn order(&self, book: &mut OrderBook, name: &str) {
        info!(name, "ordering a certificate");
        self.tell_ordering(name, Instant::now());
        let ordered = tokio::time::timeout(ORDER_TIMEOUT, self.obtain(name)).await;
        let error = match ordered.unwrap_or(Err(OrderError::Timeout)) {
            Ok(validity) => {
                info!(name, expires = %validity.not_after, "certificate issued");
                self.metrics.count_order(name, "issued");
                self.metrics.set_expiry(name, validity.not_after.0);
                book.handle_certificate(name, validity, Instant::now());
                return self.tell_ended(book, name, None, Instant::now());
            }
            Err(error) => error,
        };
        self.metrics.count_order(name, "failed");
        let now = Instant::now();
        let delay = book.handle_failure(name, error.failure(), now);
        self.tell_ended(book, name, Some(&error), now);
        warn!(name, %error, advice = error.advice(), retry_in_seconds = delay.as_secs(), "no certificate");
    }

    async fn obtain(&self, name: &str) -> Result<Validity, OrderError> {
        let bundle = match self.order_once(name).await {
            Err(error) if error.is_unknown_account() => {
                info!("the authority does not know the account any more; making another");
                let blob = self.account_blob();
                self.with_store(move |store| store.delete(&blob)).await?;
                self.order_once(name).await?
            }
            other => other?,
        };
        let (certificates, name) = (Arc::clone(&self.certificates), name.to_owned());
        let installed = tokio::task::spawn_blocking(move || certificates.install(&name, &bundle));
        installed.await.map_err(|_| OrderError::Stopped)?.map_err(OrderError::Install)
    }

    async fn order_once(&self, name: &str) -> Result<Bundle, OrderError> {
        let account = self.account().await?;
        order::obtain(&account, name, &self.challenges).await
    }

    /// The account with this authority: the stored one, or a new one that is stored before it is used.
    async fn account(&self) -> Result<Account, OrderError> {
        let http = authority::HttpsClient::new(self.settings.ca_file.as_deref()).await?;
        let builder = Account::builder_with_http(Box::new(http));
        let blob = self.account_blob();
        let stored = self.with_store(move |store| store.load(&blob)).await?;
        let credentials = stored.and_then(|json| serde_json::from_slice::<AccountCredentials>(&json).ok());
        match credentials {
            Some(credentials) => Ok(builder.from_credentials(credentials).await?),
            None => self.register(builder).await,
        }
    }

    async fn register(&self, builder: AccountBuilder) -> Result<Account, OrderError> {
        let contact = self.settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let wish =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = self.settings.external_account.as_ref().map(|account| {
            ExternalAccountKey::new(account.key_id.expose().clone(), account.hmac_key.expose())
        });
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder.create(&wish, directory, external.as_ref()).await?;
        let json =
            zeroize::Zeroizing::new(serde_json::to_vec(&credentials).map_err(instant_acme::Error::from)?);
        let blob = self.account_blob();
        self.with_store(move |store| store.save(&blob, &json)).await?;
        info!(directory = self.settings.directory, "made an account with the certificate authority");
        Ok(account)
    }

    fn account_blob(&self) -> String {
        format!("{}/account", store_prefix(&self.settings.directory))
    }

    /// The store may wait for a disk.
    async fn with_store<T: Send + 'static>(
        &self,
        action: impl FnOnce(&dyn CertificateStore) -> Result<T, StoreFailure> + Send + 'static,
    ) -> Result<T, OrderError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || action(&*store)).await;
        done.map_err(|_| OrderError::Stopped)?.map_err(OrderError::Store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_kept_apart() {
        assert_eq!(
            store_prefix("https://acme-v02.api.letsencrypt.org/directory"),
            "acme/acme-v02.api.letsencrypt.org-directory"
        );
        assert_eq!(store_prefix("https://127.0.0.1:14000/dir"), "acme/127.0.0.1-14000-dir");
    }
}
