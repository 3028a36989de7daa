//! One order from beginning to end (RFC 8555 section 7.4): authorizations, challenges, certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, Problem,
    RetryPolicy,
};

use super::challenges::{Challenges, Offered};
use super::problem::OrderError;
use crate::edge::tls::Bundle;

/// How long the authority may take to validate, and again to issue.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_mins(2));

/// Orders a certificate for `name` alone, with a fresh key.
pub async fn obtain(account: &Account, name: &str, challenges: &Challenges) -> Result<Bundle, OrderError> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let offered = answer_challenges(&mut order, challenges).await?;
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => {}
        Ok(_) => return Err(refusal(&mut order).await),
        // The order's own error may say only that an authorization failed; the challenge says why.
        Err(instant_acme::Error::Api(problem)) => {
            return Err(challenge_problem(&mut order)
                .await
                .map_or(OrderError::Refused(problem), OrderError::Refused));
        }
        Err(error) => return Err(error.into()),
    }
    drop(offered);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(Bundle::new(&key, &chain))
}

/// Offers a proof for every authorization that still needs one, and tells the authority to look.
async fn answer_challenges(order: &mut Order, challenges: &Challenges) -> Result<Vec<Offered>, OrderError> {
    let mut offered = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::Http01).ok_or(OrderError::NoChallenge)?;
        offered.push(challenges.offer(&challenge.token, challenge.key_authorization().as_str()));
        challenge.set_ready().await?;
    }
    Ok(offered)
}

async fn refusal(order: &mut Order) -> OrderError {
    challenge_problem(order).await.map_or(OrderError::Invalid, OrderError::Refused)
}

/// What the authority found when it looked for the proof.
async fn challenge_problem(order: &mut Order) -> Option<Problem> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Some(problem);
        }
    }
    None
}
