// SPDX-License-Identifier: Apache-2.0
//! What the version orders of Debian and Gentoo have in common.
use std::cmp::Ordering;

/// How a version compares with the bound of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// before the bound
    Less,
    /// the bound or before it
    LessOrEqual,
    /// the bound
    Equal,
    /// the bound or after it
    GreaterOrEqual,
    /// after the bound
    Greater,
}

impl Comparison {
    /// Whether a version is admitted whose order relative to the bound is this.
    pub fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// Compares decimal numbers of any length by their value; an empty text is 0.
pub(crate) fn compare_integers(left: &[u8], right: &[u8]) -> Ordering {
    let significant = |digits: &'_ [u8]| digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    let (left, right) = (&left[significant(left)..], &right[significant(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Implements the traits of a version with a `text` from its [`Ord`]: versions are equal where their
/// order is, however they are written.
macro_rules! version_traits {
    ($version:ty) => {
        impl PartialOrd for $version {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $version {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $version {}

        impl std::fmt::Display for $version {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.text)
            }
        }
    };
}
pub(crate) use version_traits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_compared_by_value() {
        for (left, right, order) in [
            ("", "0", Ordering::Equal),
            ("007", "7", Ordering::Equal),
            ("9", "10", Ordering::Less),
            ("100000000000000000000", "99999999999999999999", Ordering::Greater),
        ] {
            assert_eq!(compare_integers(left.as_bytes(), right.as_bytes()), order, "{left} {right}");
        }
    }
}
