// SPDX-License-Identifier: Apache-2.0

/// Checks that systemd and a file name both allow a name; the error is a cause and a hint.
///
/// systemd-sysext compares names as versions, and takes the text behind `_` for one.
pub(crate) fn check_name(name: &str) -> Result<(), (String, &'static str)> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~".contains(&byte);
    if name.is_empty() || name.starts_with('.') || name.len() > 200 || !name.bytes().all(plain) {
        let hint = "use letters, digits, `-`, `_`, `.`, `+` and `~`, and do not start with a dot";
        return Err((format!("`{name}` is not a valid name for an extension"), hint));
    }
    if name.to_ascii_lowercase().ends_with(".raw") {
        let hint = "remove the suffix: the image file gets it";
        return Err((format!("the name `{name}` ends with `.raw`"), hint));
    }
    Ok(())
}

/// Whether strverscmp and a pattern of systemd-sysupdate both accept a version: it has no `-`, which
/// separates a name from its version, and no `_`, which separates a version from an architecture.
pub(crate) fn is_version(version: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~^".contains(&byte);
    version.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && version.bytes().all(plain)
}
