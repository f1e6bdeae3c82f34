// SPDX-License-Identifier: Apache-2.0
use super::depgraph::ParentAtom;

/// Limit of the combinations of overlapping groups; groups with more are decided one after another.
const MAXIMUM_COMBINATIONS: usize = 256;

/// An item of dependencies whose `|| ( ... )` are not decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    /// a package
    Atom(Box<ParentAtom>),
    /// one of the items
    AnyOf(Vec<Requirement>),
    /// all items
    AllOf(Vec<Requirement>),
}

/// Combines groups that have a package in common: `|| ( a b ) || ( b c )` is better satisfied by `b` than
/// by `a` and `c`. Returns whether there were any.
pub(super) fn combine_overlapping(requirements: Vec<Requirement>) -> (Vec<Requirement>, bool) {
    let mut result = Vec::new();
    let mut clusters: Vec<Vec<Requirement>> = Vec::new();
    for requirement in flatten(requirements) {
        if !matches!(requirement, Requirement::AnyOf(_)) {
            result.push(requirement);
            continue;
        }
        let (overlapping, mut others): (Vec<_>, Vec<_>) = clusters
            .into_iter()
            .partition(|cluster| cluster.iter().any(|other| overlap(&requirement, other)));
        let mut cluster: Vec<Requirement> = overlapping.into_iter().flatten().collect();
        if !cluster.contains(&requirement) {
            cluster.push(requirement);
        }
        others.push(cluster);
        clusters = others;
    }
    let mut combined = false;
    for cluster in clusters {
        let count =
            cluster.iter().map(|group| alternatives(group).len()).fold(1_usize, usize::saturating_mul);
        if cluster.len() > 1 && count <= MAXIMUM_COMBINATIONS {
            combined = true;
            result.push(combine(&cluster));
        } else {
            result.extend(cluster);
        }
    }
    (result, combined)
}

/// Replaces groups of all by their items.
fn flatten(requirements: Vec<Requirement>) -> Vec<Requirement> {
    let items = requirements.into_iter().flat_map(|requirement| match requirement {
        Requirement::AllOf(inside) => flatten(inside),
        other => vec![other],
    });
    items.collect()
}

fn alternatives(group: &Requirement) -> &[Requirement] {
    match group {
        Requirement::AnyOf(inside) => inside,
        other => std::slice::from_ref(other),
    }
}

fn overlap(left: &Requirement, right: &Requirement) -> bool {
    let (mut left_names, mut right_names) = (Vec::new(), Vec::new());
    collect_names(left, &mut left_names);
    collect_names(right, &mut right_names);
    left_names.iter().any(|name| right_names.contains(name))
}

fn collect_names<'a>(requirement: &'a Requirement, names: &mut Vec<&'a str>) {
    match requirement {
        Requirement::Atom(need) if need.atom.blocker.is_none() => names.push(&need.atom.name),
        Requirement::Atom(_) => {}
        Requirement::AnyOf(inside) | Requirement::AllOf(inside) => {
            for item in inside {
                collect_names(item, names);
            }
        }
    }
}

/// All combinations of one alternative of each group.
fn combine(groups: &[Requirement]) -> Requirement {
    let mut combinations: Vec<Vec<Requirement>> = vec![Vec::new()];
    for group in groups {
        let mut longer = Vec::new();
        for combination in &combinations {
            for alternative in alternatives(group) {
                let mut combination = combination.clone();
                let items = match alternative {
                    Requirement::AllOf(inside) => inside.as_slice(),
                    other => std::slice::from_ref(other),
                };
                for item in items {
                    if !combination.contains(item) {
                        combination.push(item.clone());
                    }
                }
                longer.push(combination);
            }
        }
        combinations = longer;
    }
    Requirement::AnyOf(combinations.into_iter().map(Requirement::AllOf).collect())
}
