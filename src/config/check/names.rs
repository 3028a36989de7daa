//! Names: the coordinator's, the sites', and the domain of the machines.

use crate::config::exposure::{Layer, Placed, Route};
use crate::config::name::{covers, is_within};

use super::{Assembled, Problem};

pub fn problems(assembled: &Assembled) -> Vec<Problem> {
    let mut problems = coordinator_problems(assembled);
    problems.extend(site_problems(assembled));
    let servers = assembled.servers.iter().filter(|server| server.layer == Layer::Http);
    // A route whose hosts could not be read looks like one for all hosts.
    for server in servers.filter(|_| !assembled.doubts.caddy) {
        problems.extend(unreachable_hosts(&server.routes));
    }
    problems
}

fn coordinator_problems(assembled: &Assembled) -> Vec<Problem> {
    let (model, settings) = (&assembled.model, &assembled.settings);
    let mut problems = Vec::new();
    match &model.name {
        _ if assembled.doubts.coordinator => {}
        None => problems.push(
            Problem::warning("name-missing", "the coordinator has no name")
                .because("Machines outside the house cannot join, and no certificate can be had for it.")
                .cure("Set name in [coordinator] of genkan.toml, for example name = \"hs.example.com\".")
                .at(settings.name_place.clone()),
        ),
        Some(name) if is_within(name, &model.base_domain) => problems.push(
            Problem::error(
                "name-in-base-domain",
                format!("the coordinator's name {name} is within base_domain {}", model.base_domain),
            )
            .because(
                "A machine would ask the tailnet's DNS for the name it needs in order to reach the tailnet.",
            )
            .cure("Choose a base_domain that the name is not in, such as \"tailnet.internal\".")
            .at(settings.base_domain_place.clone()),
        ),
        Some(_) => {}
    }
    let needs_certificates = model.name.is_some() || sites(assembled).next().is_some();
    if model.acme.email.is_none() && needs_certificates && !assembled.doubts.acme {
        problems.push(
            Problem::warning("email-missing", "there is no e-mail address for the certificate authority")
                .because(
                    "Certificates are had without one, but nobody is told when something is wrong with them.",
                )
                .cure("Set email in [acme] of genkan.toml.")
                .at(settings.email_place.clone()),
        );
    }
    problems
}

fn site_problems(assembled: &Assembled) -> Vec<Problem> {
    let model = &assembled.model;
    let mut problems = Vec::new();
    for site in sites(assembled) {
        if model.name.as_ref() == Some(&site.value) {
            let problem =
                Problem::error("name-is-site", format!("{} is the coordinator's own name", site.value))
                    .because("Machines that want to join would get the site.")
                    .cure("Give the site or the coordinator another name.");
            problems.push(problem.at(site.place.clone()));
        }
        let bare = site.value.strip_prefix("*.").unwrap_or(&site.value);
        if is_within(bare, &model.base_domain) && !assembled.doubts.coordinator {
            let problem = Problem::error(
                "site-in-base-domain",
                format!("{} is within base_domain {}", site.value, model.base_domain),
            )
            .because("Machines of the tailnet would look for a machine of that name and not find the site.")
            .cure("Choose a base_domain that no site is in.");
            problems.push(problem.at(site.place.clone()));
        }
    }
    problems
}

/// Every host of every http route, with its place.
pub fn sites(assembled: &Assembled) -> impl Iterator<Item = &Placed<String>> {
    let servers = assembled.servers.iter().filter(|server| server.layer == Layer::Http);
    servers.flat_map(|server| &server.routes).flat_map(|route| &route.hosts)
}

/// Routes are tried in order, and a reverse proxy takes all that its hosts match.
fn unreachable_hosts(routes: &[Route]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: Vec<&Placed<String>> = Vec::new();
    let mut catch_all: Option<&Route> = None;
    for route in routes {
        for host in &route.hosts {
            if let Some(first) = seen.iter().find(|first| first.value == host.value) {
                let problem = Problem::error(
                    "host-duplicate",
                    format!("{} was already routed at {}", host.value, first.place),
                );
                problems.push(problem.cure("Keep one of them.").at(host.place.clone()));
            } else if let Some(wide) = seen.iter().find(|wide| covers(&wide.value, &host.value)) {
                problems.push(unserved(host, &format!("{} at {}", wide.value, wide.place)));
            } else if let Some(all) = catch_all {
                problems.push(unserved(host, &format!("the route for all hosts at {}", all.place)));
            }
            seen.push(host);
        }
        if route.hosts.is_empty() {
            if let Some(all) = catch_all {
                let problem = Problem::error(
                    "host-duplicate",
                    format!("all hosts were already routed at {}", all.place),
                );
                problems.push(problem.cure("Keep one of them.").at(route.place.clone()));
            }
            catch_all = catch_all.or(Some(route));
        }
    }
    problems
}

fn unserved(host: &Placed<String>, taker: &str) -> Problem {
    Problem::error("host-unserved", format!("no route serves {}", host.value))
        .because(format!("Routes are tried in order, and {taker} takes it before."))
        .cure("Put the narrower route first.")
        .at(host.place.clone())
}
