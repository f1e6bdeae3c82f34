// SPDX-License-Identifier: Apache-2.0
use super::table::{Partition, Table};

/// Types of partitions that contain a root or /usr, by their names in the discoverable partitions
/// specification, and the directory that their files belong into.
const TYPES: [(&str, &str); 4] =
    [("root-x86-64", ""), ("root-arm64", ""), ("usr-x86-64", "usr"), ("usr-arm64", "usr")];

/// A partition that contains the files of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootPartition<'a> {
    pub(crate) partition: &'a Partition,
    /// the directory that its files belong into: `usr`, or none
    pub(crate) below: &'static str,
    /// whether a partition with a signature of its root hash exists
    pub(crate) is_signed: bool,
}

/// Finds the partition with the files of an extension; a root comes before /usr, as in
/// systemd-dissect(1).
pub(crate) fn find_root(table: &Table) -> Option<RootPartition<'_>> {
    TYPES.iter().find_map(|(name, below)| {
        let partition = table.of_type(name)?;
        let is_signed = table.of_type(&format!("{name}-verity-sig")).is_some();
        Some(RootPartition { partition, below, is_signed })
    })
}
