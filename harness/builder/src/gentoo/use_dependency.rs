// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

/// What an atom asks of one USE flag of the package, such as `ssl`, `-ssl`, `ssl?` or `ssl(+)=`.
///
/// See the Package Manager Specification, 8.3.4 ("2-style and 4-style USE dependencies").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UseDependency {
    /// the flag
    pub flag: String,
    /// what counts for a package that does not have the flag; such a package does not match where
    /// nothing is said
    pub default: Option<bool>,
    /// what is asked
    pub condition: UseCondition,
}

/// What is asked of a flag; the words are those of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UseCondition {
    /// `flag`
    Enabled,
    /// `-flag`
    Disabled,
    /// `flag?`: enabled, if the asking package has it enabled
    EnabledIf,
    /// `!flag?`: disabled, if the asking package has it disabled
    DisabledUnless,
    /// `flag=`: as the asking package has it
    Equal,
    /// `!flag=`: not as the asking package has it
    Opposite,
}

impl UseCondition {
    /// What is asked when the asking package has the flag enabled or not; nothing where `None`.
    fn wanted(self, parent: bool) -> Option<bool> {
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

/// The flags of a package: those it knows, and those that it was built with.
pub trait Flags {
    /// Whether the package knows a flag.
    fn knows(&self, flag: &str) -> bool;
    /// Whether it was built with it.
    fn enabled(&self, flag: &str) -> bool;
}

impl UseDependency {
    /// Reads what stands between the commas of `[...]`.
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

    /// Whether a package has what is asked by another one, whose enabled flags are `parent`.
    pub fn matches(&self, package: &dyn Flags, parent: &BTreeSet<String>) -> bool {
        let known = package.knows(&self.flag);
        if !known && self.default.is_none() {
            // Even where nothing is asked: the author of the atom took the flag for given.
            return false;
        }
        let has = if known { package.enabled(&self.flag) } else { self.default.unwrap_or(false) };
        self.condition.wanted(parent.contains(&self.flag)).is_none_or(|wanted| wanted == has)
    }
}

/// Specification, 3.1.4.
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
    fn flags_are_judged_as_the_specification_says() {
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
    fn what_is_no_use_dependency_is_refused() {
        for text in ["", "!", "!f", "-f?", "-f=", "f(+", "(+)", "f(*)", "f??", "!-f?", "f g", "+f"] {
            assert_eq!(UseDependency::read(text), None, "{text}");
        }
    }
}
