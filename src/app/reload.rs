//! SIGHUP: the files are read again; policy and routes change, connections stay.

use std::path::Path;
use std::time::Instant;

use super::{App, policy};
use crate::config;
use crate::config::model::Model;
use crate::config::problem::Problem;
use crate::health::catalogue::{NEXT_START, NOT_APPLIED};

/// Applies what `folder` says now, all or nothing: after any failure the configuration before keeps running, and the owner is told.
pub async fn reload(app: &App, folder: &Path) {
    let health = &app.house.health;
    match apply(app, folder).await {
        Ok(is_all) => {
            tracing::info!("configuration applied");
            health.clear(NOT_APPLIED.code);
            if is_all {
                return health.clear(NEXT_START.code);
            }
            tracing::warn!(
                "some settings of genkan.toml are other than at the start, and wait for the next one"
            );
            let told = NEXT_START.condition("some settings of genkan.toml wait for the next start");
            health.set(told.cure("Restart genkan, or the box, when it suits."), Instant::now());
        }
        Err(why) => {
            tracing::error!(why, "the configuration was not applied: the one before keeps running");
            let told = NOT_APPLIED.condition("the files were changed and not applied").because(why);
            let cure = "Correct them (`genkan check` names every problem) and apply them again; until then the ones before hold.";
            health.set(told.cure(cure), Instant::now());
        }
    }
}

/// Whether all of it is in force now, or why none of it is.
async fn apply(app: &App, folder: &Path) -> Result<bool, String> {
    let loaded = config::load(folder);
    log_problems(&loaded.problems);
    let first = loaded.problems.iter().find(|problem| problem.is_error());
    let model = loaded.model.ok_or_else(|| first.map(ToString::to_string).unwrap_or_default())?;
    let policy = policy::in_force(&model, folder, &app.store).map_err(|error| error.to_string())?;
    app.edge.reload(&model.edge).await.map_err(|error| error.to_string())?;
    app.ledger.set_policy(policy);
    Ok(fixed(model) == app.fixed)
}

/// One line of the log for each, with where it is and what to do.
pub fn log_problems(problems: &[Problem]) {
    for problem in problems {
        let Problem { code, place, what, why, cure, .. } = problem;
        if problem.is_error() {
            tracing::error!(%place, code, %why, %cure, "{what}");
        } else {
            tracing::warn!(%place, code, %why, %cure, "{what}");
        }
    }
}

/// The part of the model that holds from start to end: all but policy and routes.
pub fn fixed(model: Model) -> Model {
    let Model { edge, policy, .. } = Model::default();
    Model { edge, policy, ..model }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::core::policy::Policy;

    #[test]
    fn policy_and_routes_change_while_the_house_stands_and_nothing_else_does() {
        let before = Model::default();
        let policy = Policy { rules: Some(Vec::new()), ..Policy::default() };
        assert_eq!(fixed(Model { policy, ..before.clone() }), fixed(before.clone()));
        let renamed = Model { name: Some("hs.example.com".into()), ..before.clone() };
        assert_ne!(fixed(renamed), fixed(before));
    }
}
