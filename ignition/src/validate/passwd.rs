// SPDX-License-Identifier: Apache-2.0
//! Accounts, groups, and the kernel's arguments.

use ignition_config::v3_3;

use super::problem::Findings;

/// Validates the section `passwd`.
pub(super) fn passwd(passwd: &v3_3::Passwd, findings: &mut Findings) {
    let users = passwd.users.as_deref().unwrap_or_default();
    for (index, user) in users.iter().enumerate() {
        self::user(user, &format!("passwd.users[{index}]"), findings);
    }
    findings.duplicates("passwd.users", users.iter().map(|user| user.name.as_str()));
    let groups = passwd.groups.as_deref().unwrap_or_default();
    for (index, group) in groups.iter().enumerate() {
        let at = format!("passwd.groups[{index}]");
        account(&group.name, &format!("{at}.name"), findings);
        id(group.gid, &format!("{at}.gid"), findings);
    }
    findings.duplicates("passwd.groups", groups.iter().map(|group| group.name.as_str()));
}

fn user(user: &v3_3::User, at: &str, findings: &mut Findings) {
    account(&user.name, &format!("{at}.name"), findings);
    id(user.uid, &format!("{at}.uid"), findings);
    let keys = user.ssh_authorized_keys.as_deref().unwrap_or_default();
    for (index, key) in keys.iter().enumerate() {
        let at = format!("{at}.sshAuthorizedKeys[{index}]");
        if key.trim().is_empty() {
            findings.error(at, "the key is empty");
        } else if key.trim_end().contains('\n') {
            findings.error(at, "the key has more than one line; each key is an element of its own");
        } else if key.contains("PRIVATE KEY") {
            findings.error_with_hint(
                at,
                "this is a private key",
                "write the public key, which is in the file `*.pub`",
            );
        }
    }
    findings.duplicates(&format!("{at}.sshAuthorizedKeys"), keys.iter().map(String::as_str));
    let groups = user.groups.as_deref().unwrap_or_default();
    for (index, group) in groups.iter().enumerate() {
        account(group, &format!("{at}.groups[{index}]"), findings);
    }
    findings.duplicates(&format!("{at}.groups"), groups.iter().map(String::as_str));
    if let Some(home) = user.home_dir.as_deref().filter(|home| !home.is_empty()) {
        super::storage::path(home, &format!("{at}.homeDir"), findings);
    }
}

/// Validates a name with the default pattern of useradd(8), which Ignition runs.
fn account(name: &str, at: &str, findings: &mut Findings) {
    if name.is_empty() {
        return findings.error(at, "the name is empty");
    }
    let valid_start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let body = name.strip_suffix('$').unwrap_or(name);
    let valid_rest = body.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !valid_start || !valid_rest || name.len() > 32 {
        let hint = "use a letter or `_`, then letters, digits, `_`, `-` and `.`, at most 32";
        findings.error_with_hint(at, format_args!("useradd does not accept the name `{name}`"), hint);
    }
}

fn id(id: Option<i64>, at: &str, findings: &mut Findings) {
    // The kernel uses the last value for "no ID".
    if let Some(id) = id.filter(|id| !(0..i64::from(u32::MAX)).contains(id)) {
        findings.error(at, format_args!("{id} is out of range, expected 0 to {}", u32::MAX - 1));
    }
}

/// Validates the section `kernelArguments`: each argument is in one list once.
pub(super) fn kernel_arguments(arguments: &v3_3::KernelArguments, findings: &mut Findings) {
    let wanted = arguments.should_exist.as_deref().unwrap_or_default();
    let unwanted = arguments.should_not_exist.as_deref().unwrap_or_default();
    findings.duplicates("kernelArguments.shouldExist", wanted.iter().map(String::as_str));
    findings.duplicates("kernelArguments.shouldNotExist", unwanted.iter().map(String::as_str));
    for (index, argument) in unwanted.iter().enumerate().filter(|(_, argument)| wanted.contains(argument)) {
        let at = format!("kernelArguments.shouldNotExist[{index}]");
        findings.error(at, format_args!("`{argument}` is under `shouldExist` too"));
    }
}
