// SPDX-License-Identifier: Apache-2.0
use std::fmt;

/// The user and group that own a file, as numbers: names mean other numbers on another system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// the number of the user
    pub uid: u32,
    /// the number of the group
    pub gid: u32,
}

impl Owner {
    /// Root and its group.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// Whether both the user and the group are root.
    pub fn is_root(self) -> bool {
        self == Self::ROOT
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.uid, self.gid)
    }
}
