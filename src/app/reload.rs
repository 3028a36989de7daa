//! SIGHUP: the files are read again; policy and routes change, connections stay.

use std::path::Path;

use super::{App, policy};
use crate::config;
use crate::config::model::Model;
use crate::config::problem::Problem;

/// Applies what `folder` says now, all or nothing: after any failure the configuration before keeps running.
pub async fn reload(app: &App, folder: &Path) {
    let loaded = config::load(folder);
    log_problems(&loaded.problems);
    let Some(model) = loaded.model else {
        return tracing::error!("the configuration was not applied: the one before keeps running");
    };
    let policy = match policy::in_force(&model, folder, &app.store) {
        Ok(policy) => policy,
        Err(error) => {
            return tracing::error!(%error, "the configuration was not applied: the one before keeps running");
        }
    };
    if let Err(error) = app.edge.reload(&model.edge).await {
        return tracing::error!(%error, "the configuration was not applied: the one before keeps running");
    }
    app.ledger.set_policy(policy);
    if fixed(model) != app.fixed {
        tracing::warn!("some settings of genkan.toml are other than at the start, and wait for the next one");
    }
    tracing::info!("configuration applied");
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
