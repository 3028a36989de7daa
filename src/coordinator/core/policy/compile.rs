//! A policy applied to the nodes of the moment.
//!
//! Each rule becomes one or more [`Clause`]s: sources spelt out, destinations as sets of nodes or prefixes. A rule towards
//! `autogroup:self` becomes one clause per person. What a node is sent is the clauses reduced to its own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::wire::control::PortRange;

use super::compiled::{Clause, Compiled, Sources, Target};
use super::node_set::NodeSet;
use super::selector::receives_any_of;
use super::span::Span;
use super::visibility::Visibility;
use super::{Autogroup, Destination, Policy, Rule, Selector, Subject, is_exit_route};

/// Applies `policy` to `subjects`. Pure: the same arguments give the same filters.
#[must_use]
pub fn compile(policy: &Policy, subjects: &[Subject]) -> Compiled {
    let rules = policy.effective_rules();
    let mut compiler = Compiler::new(policy, subjects);
    for rule in &rules {
        compiler.add(rule);
    }
    let positions = subjects.iter().enumerate().map(|(position, subject)| (subject.id, position));
    Compiled {
        positions: positions.collect(),
        subjects: subjects.to_vec(),
        visibility: Visibility::of(&compiler.joins, subjects.len()),
        clauses: compiler.clauses(),
    }
}

/// Sources are worked out once for each list of selectors: in a large policy the same few lists stand in many rules.
struct Compiler<'a> {
    policy: &'a Policy,
    subjects: &'a [Subject],
    lists: BTreeMap<&'a [Selector], (NodeSet, SourcesIndex)>,
    /// All sources, each once.
    sources: BTreeMap<BTreeSet<Span>, SourcesIndex>,
    clauses: BTreeMap<(SourcesIndex, &'a [u8]), Opened>,
    /// Pairs of the nodes that are sources of a rule and those that are its destinations.
    joins: Vec<(NodeSet, NodeSet)>,
}

type SourcesIndex = usize;
/// What is open, and on which ports.
type Opened = Vec<(Target, Vec<PortRange>)>;

impl<'a> Compiler<'a> {
    fn new(policy: &'a Policy, subjects: &'a [Subject]) -> Self {
        let (lists, sources, clauses) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { policy, subjects, lists, sources, clauses, joins: Vec::new() }
    }

    fn add(&mut self, rule: &'a Rule) {
        let (nodes, sources) = self.resolve(&rule.sources);
        let mut reached = NodeSet::default();
        for destination in &rule.destinations {
            if destination.selector == Selector::Autogroup(Autogroup::Own) {
                self.add_own(rule, destination);
                continue;
            }
            let receivers = self.receivers(&destination.selector);
            reached.extend_from(&receivers);
            let target = target(&destination.selector, receivers);
            self.open(sources, rule, target, destination);
        }
        self.joins.push((nodes, reached));
    }

    /// One clause for each person among the sources: from the nodes of that person to the same nodes.
    fn add_own(&mut self, rule: &'a Rule, destination: &Destination) {
        let mut people: BTreeMap<&str, NodeSet> = BTreeMap::new();
        for (position, subject) in self.subjects.iter().enumerate() {
            let is_source = rule.sources.iter().any(|selector| selector.names(subject, self.policy));
            if let (Some(user), true) = (&subject.user, is_source && subject.tags.is_empty()) {
                people.entry(user).or_default().insert(position);
            }
        }
        for nodes in people.into_values() {
            let spans = nodes.iter().flat_map(|position| Span::of_node(&self.subjects[position])).collect();
            let sources = self.index(spans);
            self.joins.push((nodes.clone(), nodes.clone()));
            self.open(sources, rule, Target::Nodes(nodes), destination);
        }
    }

    fn open(&mut self, sources: SourcesIndex, rule: &'a Rule, target: Target, destination: &Destination) {
        let clause = self.clauses.entry((sources, &rule.protocols)).or_default();
        clause.push((target, destination.ports.clone()));
    }

    /// The nodes and the addresses that `selectors` mean as sources.
    fn resolve(&mut self, selectors: &'a [Selector]) -> (NodeSet, SourcesIndex) {
        if let Some(known) = self.lists.get(selectors) {
            return known.clone();
        }
        let mut nodes = NodeSet::default();
        let mut spans = BTreeSet::new();
        for selector in selectors {
            nodes.extend_from(&selector.nodes(self.subjects, self.policy));
            spans.extend(selector.spans(self.subjects, self.policy));
        }
        let resolved = (nodes, self.index(spans));
        self.lists.insert(selectors, resolved.clone());
        resolved
    }

    fn index(&mut self, spans: BTreeSet<Span>) -> SourcesIndex {
        let next = self.sources.len();
        *self.sources.entry(spans).or_insert(next)
    }

    /// The nodes that packets for the destination go to.
    fn receivers(&self, selector: &Selector) -> NodeSet {
        let receives = |subject: &Subject| match selector {
            Selector::Prefix(prefix) => receives_any_of(subject, prefix),
            Selector::Autogroup(Autogroup::Internet) => subject.routes.iter().any(is_exit_route),
            _ => selector.names(subject, self.policy),
        };
        let positions = self.subjects.iter().enumerate().filter(|(_, subject)| receives(subject));
        positions.map(|(position, _)| position).collect()
    }

    /// Sorted by sources and protocols, whatever the order of the nodes was. Without sources nothing is open.
    fn clauses(self) -> Vec<Clause> {
        let used = self.sources.into_iter().filter(|(spans, _)| !spans.is_empty());
        let sources: BTreeMap<SourcesIndex, Arc<Sources>> =
            used.map(|(spans, index)| (index, Arc::new(Sources::new(spans)))).collect();
        let clauses = self.clauses.into_iter().filter_map(|((index, protocols), targets)| {
            let sources = Arc::clone(sources.get(&index)?);
            Some(Clause { sources, protocols: protocols.to_vec(), targets })
        });
        let mut clauses: Vec<Clause> = clauses.collect();
        clauses.sort_by(|a, b| (&a.sources, &a.protocols).cmp(&(&b.sources, &b.protocols)));
        clauses
    }
}

fn target(selector: &Selector, receivers: NodeSet) -> Target {
    match selector {
        Selector::Any => Target::Any,
        Selector::Prefix(prefix) => Target::Prefix(*prefix),
        Selector::Autogroup(Autogroup::Internet) => Target::Internet,
        _ => Target::Nodes(receivers),
    }
}
