// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

/// The condition of an atom on one USE flag of the package, such as `ssl`, `-ssl`, `ssl?` or `ssl(+)=`.
///
/// Source: Package Manager Specification, 8.3.4 ("2-style and 4-style USE dependencies").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UseDependency {
    /// the flag
    pub flag: String,
    /// the state that is assumed for a package without the flag; such a package does not match where
    /// there is no default
    pub default: Option<bool>,
    /// the required state of the flag
    pub condition: UseCondition,
}

/// The required state of a flag, named as in the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UseCondition {
    /// `flag`
    Enabled,
    /// `-flag`
    Disabled,
    /// `flag?`: enabled, if it is enabled for the dependant
    EnabledIf,
    /// `!flag?`: disabled, if it is disabled for the dependant
    DisabledUnless,
    /// `flag=`: the same as for the dependant
    Equal,
    /// `!flag=`: the opposite of that of the dependant
    Opposite,
}

impl UseCondition {
    /// The required state, given the state of the dependant; `None` where both are allowed.
    fn required(self, parent: bool) -> Option<bool> {
        match self {
            Self::Enabled => Some(true),
            Self::Disabled => Some(false),
            Self::EnabledIf => parent.then_some(true),
            Self::DisabledUnless => (!parent).then_some(false),
            Self::Equal => Some(parent),
            Self::Opposite => Some(!parent),
        }
    }
}

/// The USE flags of a package.
pub trait Flags {
    /// Whether the package has the flag (`IUSE_EFFECTIVE`).
    fn knows(&self, flag: &str) -> bool;
    /// Whether the package was built with the flag enabled.
    fn enabled(&self, flag: &str) -> bool;
}

impl UseDependency {
    /// Parses one element of `[...]`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (prefix, rest) = match text.as_bytes().first()? {
            b'!' => ("!", &text[1..]),
            b'-' => ("-", &text[1..]),
            _ => ("", text),
        };
        let (rest, suffix) = match rest.as_bytes().last()? {
            b'?' => (&rest[..rest.len() - 1], "?"),
            b'=' => (&rest[..rest.len() - 1], "="),
            _ => (rest, ""),
        };
        let (flag, default) = if let Some(flag) = rest.strip_suffix("(+)") {
            (flag, Some(true))
        } else if let Some(flag) = rest.strip_suffix("(-)") {
            (flag, Some(false))
        } else {
            (rest, None)
        };
        let condition = match (prefix, suffix) {
            ("", "") => UseCondition::Enabled,
            ("-", "") => UseCondition::Disabled,
            ("", "?") => UseCondition::EnabledIf,
            ("!", "?") => UseCondition::DisabledUnless,
            ("", "=") => UseCondition::Equal,
            ("!", "=") => UseCondition::Opposite,
            _ => return None,
        };
        is_flag(flag).then(|| Self { flag: flag.to_owned(), default, condition })
    }

    /// Whether a package satisfies the condition; `parent` has the enabled flags of the dependant.
    pub fn matches(&self, package: &dyn Flags, parent: &BTreeSet<String>) -> bool {
        let known = package.knows(&self.flag);
        if !known && self.default.is_none() {
            // Even where both states are allowed: an atom may only name flags that exist.
            return false;
        }
        let has = if known { package.enabled(&self.flag) } else { self.default.unwrap_or(false) };
        self.condition.required(parent.contains(&self.flag)).is_none_or(|required| required == has)
    }
}

/// Whether a text is the name of a USE flag (specification, 3.1.4).
pub(super) fn is_flag(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_@-".contains(&byte))
}

impl fmt::Display for UseDependency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, suffix) = match self.condition {
            UseCondition::Enabled => ("", ""),
            UseCondition::Disabled => ("-", ""),
            UseCondition::EnabledIf => ("", "?"),
            UseCondition::DisabledUnless => ("!", "?"),
            UseCondition::Equal => ("", "="),
            UseCondition::Opposite => ("!", "="),
        };
        let default = match self.default {
            None => "",
            Some(true) => "(+)",
            Some(false) => "(-)",
        };
        write!(formatter, "{prefix}{}{default}{suffix}", self.flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Built<'a>(&'a [&'a str], &'a [&'a str]);

    impl Flags for Built<'_> {
        fn knows(&self, flag: &str) -> bool {
            self.0.contains(&flag)
        }
        fn enabled(&self, flag: &str) -> bool {
            self.1.contains(&flag)
        }
    }

    fn matches(text: &str, parent: &[&str]) -> bool {
        let package = Built(&["on", "off"], &["on"]);
        let parent = parent.iter().map(|flag| (*flag).to_owned()).collect();
        UseDependency::read(text).unwrap_or_else(|| panic!("{text}")).matches(&package, &parent)
    }

    #[test]
    fn conditions_are_checked_as_specified() {
        for (text, without, with) in [
            ("on", true, true),
            ("off", false, false),
            ("-off", true, true),
            ("-on", false, false),
            ("on?", true, true),
            ("off?", true, false),
            ("!on?", false, true),
            ("!off?", true, true),
            ("on=", false, true),
            ("off=", true, false),
            ("!on=", true, false),
            ("!off=", false, true),
            ("absent", false, false),
            ("absent?", false, false),
            ("absent(+)", true, true),
            ("absent(-)", false, false),
            ("-absent(-)", true, true),
            ("absent(-)?", true, false),
            ("!absent(+)?", false, true),
        ] {
            let flag = text.trim_start_matches(['!', '-']).trim_end_matches(['?', '=']);
            let flag = flag.trim_end_matches("(+)").trim_end_matches("(-)");
            assert_eq!(matches(text, &[]), without, "{text} without");
            assert_eq!(matches(text, &[flag]), with, "{text} with");
        }
    }

    #[test]
    fn invalid_use_dependencies_are_refused() {
        for text in ["", "!", "!f", "-f?", "-f=", "f(+", "(+)", "f(*)", "f??", "!-f?", "f g", "+f"] {
            assert_eq!(UseDependency::read(text), None, "{text}");
        }
    }
}
