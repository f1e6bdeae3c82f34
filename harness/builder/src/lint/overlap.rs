// SPDX-License-Identifier: Apache-2.0
use super::base_tree::BaseTree;

/// Files that two extensions bring, of which the overlay shows one: in what order is up to their
/// names, the highest of which lies on top (flatcar/Flatcar#1576: one extension hid another's
/// kernel modules). A sentence for each pair of extensions.
pub fn overlaps(extensions: &[(&str, BaseTree)]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, (name, tree)) in extensions.iter().enumerate() {
        for (other, others) in &extensions[index + 1..] {
            let mut shared = tree.files().filter(|(path, node)| {
                // The same link twice hides nothing.
                others.get(path).is_some_and(|there| there != *node || !is_link(there))
            });
            let Some((first, _)) = shared.next() else { continue };
            let more = match shared.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            found.push(format!("`{name}` and `{other}` both bring /{first}{more}: one hides the other's"));
        }
    }
    found
}

fn is_link(node: &super::BaseNode) -> bool {
    matches!(node, super::BaseNode::Link(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_extensions_bring_is_told_once_for_each_pair() {
        let tree = |names: &[&str]| {
            BaseTree::parse(&names.iter().map(|name| format!("{name}\n")).collect::<Vec<_>>().concat())
        };
        let nvidia =
            tree(&["drwxr ./usr", "-rw ./usr/lib/modules/modules.dep", "-rw ./usr/lib/modules/a.ko"]);
        let zfs = tree(&["drwxr ./usr", "-rw ./usr/lib/modules/modules.dep", "lrwx ./usr/x -> y"]);
        let same_link = tree(&["lrwx ./usr/x -> y"]);
        let clash = tree(&["-rw ./usr/x"]);
        let told = overlaps(&[("nvidia", nvidia), ("zfs", zfs), ("link", same_link), ("clash", clash)]);
        assert_eq!(
            told,
            [
                "`nvidia` and `zfs` both bring /usr/lib/modules/modules.dep: one hides the other's",
                "`zfs` and `clash` both bring /usr/x: one hides the other's",
                "`link` and `clash` both bring /usr/x: one hides the other's",
            ]
        );
    }
}
