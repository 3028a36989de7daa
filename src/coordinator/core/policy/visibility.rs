//! Who may see whom. Nodes that are sources and destinations of the same rules are one class, and visibility is a
//! matter of classes: a table of class by class answers in constant time and stays small in a household.

use std::collections::BTreeMap;

use super::node_set::NodeSet;

#[derive(Debug, Clone, Default)]
pub struct Visibility {
    /// Class of each node, by its position.
    classes: Vec<usize>,
    /// For each class the classes it has a rule with, in either direction.
    related: Vec<NodeSet>,
    /// For each class the positions of its nodes.
    members: Vec<Vec<usize>>,
}

impl Visibility {
    /// `rules` as pairs of the nodes that are sources and those that are destinations.
    pub fn of(rules: &[(NodeSet, NodeSet)], node_count: usize) -> Self {
        let mut known: BTreeMap<(NodeSet, NodeSet), usize> = BTreeMap::new();
        let mut classes = Vec::with_capacity(node_count);
        let mut parts = membership(rules, node_count);
        for part in parts.drain(..) {
            let next = known.len();
            classes.push(*known.entry(part).or_insert(next));
        }
        let mut members = vec![Vec::new(); known.len()];
        for (position, class) in classes.iter().enumerate() {
            members[*class].push(position);
        }
        Self { classes, related: relate(&known), members }
    }

    /// The positions of all nodes that a rule joins to the one at `position`, possibly itself.
    pub fn joined_to(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        let related = self.classes.get(position).map(|class| self.related[*class].iter());
        related.into_iter().flatten().flat_map(|class| self.members[class].iter().copied())
    }

    /// Whether a rule joins the nodes at these positions.
    pub fn joins(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.classes.get(a), self.classes.get(b)) else { return false };
        self.related[*a].contains(*b)
    }
}

/// For each node the rules it is a source of, and those it is a destination of.
fn membership(rules: &[(NodeSet, NodeSet)], node_count: usize) -> Vec<(NodeSet, NodeSet)> {
    let mut parts = vec![(NodeSet::default(), NodeSet::default()); node_count];
    for (index, (sources, destinations)) in rules.iter().enumerate() {
        for position in sources.iter() {
            parts[position].0.insert(index);
        }
        for position in destinations.iter() {
            parts[position].1.insert(index);
        }
    }
    parts
}

fn relate(known: &BTreeMap<(NodeSet, NodeSet), usize>) -> Vec<NodeSet> {
    let mut related = vec![NodeSet::default(); known.len()];
    for ((sources, destinations), class) in known {
        for ((other_sources, other_destinations), other) in known {
            if sources.meets(other_destinations) || other_sources.meets(destinations) {
                related[*class].insert(*other);
            }
        }
    }
    related
}
