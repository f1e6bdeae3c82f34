// SPDX-License-Identifier: Apache-2.0
use super::base_tree::BaseTree;

/// Files that are in two extensions, with a sentence for each pair of extensions. The overlay shows the file
/// of the extension whose name sorts last (flatcar/Flatcar#1576: one extension hid the kernel modules of
/// another).
pub fn overlaps(extensions: &[(&str, BaseTree)]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, (name, tree)) in extensions.iter().enumerate() {
        for (other, others) in &extensions[index + 1..] {
            let mut shared = tree.files().filter(|(path, node)| {
                // Equal links do not hide each other.
                others.get(path).is_some_and(|there| there != *node || !is_link(there))
            });
            let Some((first, _)) = shared.next() else { continue };
            let more = match shared.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            found.push(format!("`{name}` and `{other}` both contain /{first}{more}: one hides the other"));
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
    fn each_pair_of_overlapping_extensions_has_one_sentence() {
        let tree = |names: &[&str]| {
            BaseTree::parse(&names.iter().map(|name| format!("{name}\n")).collect::<Vec<_>>().concat())
        };
        let nvidia =
            tree(&["drwxr ./usr", "-rw ./usr/lib/modules/modules.dep", "-rw ./usr/lib/modules/a.ko"]);
        let zfs = tree(&["drwxr ./usr", "-rw ./usr/lib/modules/modules.dep", "lrwx ./usr/x -> y"]);
        let same_link = tree(&["lrwx ./usr/x -> y"]);
        let clash = tree(&["-rw ./usr/x"]);
        let sentences = overlaps(&[("nvidia", nvidia), ("zfs", zfs), ("link", same_link), ("clash", clash)]);
        assert_eq!(
            sentences,
            [
                "`nvidia` and `zfs` both contain /usr/lib/modules/modules.dep: one hides the other",
                "`zfs` and `clash` both contain /usr/x: one hides the other",
                "`link` and `clash` both contain /usr/x: one hides the other",
            ]
        );
    }
}
