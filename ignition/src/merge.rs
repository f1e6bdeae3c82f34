// SPDX-License-Identifier: Apache-2.0
//! Merges two configs: the author's, and the harness's additions.

use std::fmt::Debug;

use ignition_config::v3_3;
use loadgauge_host::Hint;
use serde::Serialize;

use crate::config::Config;

/// A setting that differs between two configs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configs differ in {what}: one has `{one}`, the other `{other}`")]
pub struct Conflict {
    /// The setting, such as ``the `mode` of file `/etc/motd` ``.
    pub what: String,
    /// The value in the first config.
    pub one: String,
    /// The value in the second config.
    pub other: String,
}

impl Hint for Conflict {
    fn hint(&self) -> Option<String> {
        Some(format!("set {} in one of the configs, or to the same value in both", self.what))
    }
}

type Outcome = Result<(), Conflict>;

impl Config {
    /// Merges two configs: all of `self` in its order, then the additions of `over`.
    ///
    /// Elements in both are united: the keys and groups of a user, the drop-ins of a unit, fields that one of
    /// them sets, data that is appended to a file.
    ///
    /// # Errors
    /// A field has different values, or a path has different types. Ignition's own merge would silently use
    /// the second one.
    pub fn merge(mut self, over: Config) -> Result<Config, Conflict> {
        let (one, other) = (&mut self.0, over.0);
        ignition(&mut one.ignition, other.ignition)?;
        whole(&mut one.kernel_arguments, other.kernel_arguments, kernel_arguments)?;
        whole(&mut one.passwd, other.passwd, passwd)?;
        whole(&mut one.storage, other.storage, storage)?;
        whole(&mut one.systemd, other.systemd, |one, other| {
            list(&mut one.units, other.units, |a, b| a.name == b.name, unit)
        })?;
        Ok(self)
    }
}

/// Keeps a value that one config has, and unites the values of both.
fn whole<T>(one: &mut Option<T>, other: Option<T>, unite: impl FnOnce(&mut T, T) -> Outcome) -> Outcome {
    match (one.as_mut(), other) {
        (Some(one), Some(other)) => unite(one, other),
        (None, Some(other)) => {
            *one = Some(other);
            Ok(())
        }
        (_, None) => Ok(()),
    }
}

/// Merges a field, which must be the same where both set it.
fn field<T: PartialEq + Serialize>(
    what: impl FnOnce() -> String,
    one: &mut Option<T>,
    other: Option<T>,
) -> Outcome {
    whole(one, other, |one, other| if *one == other { Ok(()) } else { Err(conflict(what(), one, &other)) })
}

/// Merges lists by the names of their elements: elements of the same name are united, others are appended.
fn list<T>(
    one: &mut Option<Vec<T>>,
    other: Option<Vec<T>>,
    is_same: impl Fn(&T, &T) -> bool,
    unite: impl Fn(&mut T, T) -> Outcome,
) -> Outcome {
    for element in other.into_iter().flatten() {
        let list = one.get_or_insert_default();
        match list.iter_mut().find(|candidate| is_same(candidate, &element)) {
            Some(same) => unite(same, element)?,
            None => list.push(element),
        }
    }
    Ok(())
}

/// Merges lists without duplicates.
fn set<T: PartialEq>(one: &mut Option<Vec<T>>, other: Option<Vec<T>>) {
    for element in other.into_iter().flatten() {
        let list = one.get_or_insert_default();
        if !list.contains(&element) {
            list.push(element);
        }
    }
}

/// Compares elements that cannot be united.
fn same<T: PartialEq + Serialize>(what: String, one: &T, other: &T) -> Outcome {
    if one == other { Ok(()) } else { Err(conflict(what, one, other)) }
}

fn conflict(what: String, one: &impl Serialize, other: &impl Serialize) -> Conflict {
    Conflict { what, one: shortened(one), other: shortened(other) }
}

/// A value as JSON, truncated for messages.
fn shortened(value: &impl Serialize) -> String {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    crate::json::prune(&mut value);
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn ignition(one: &mut v3_3::Ignition, other: v3_3::Ignition) -> Outcome {
    whole(&mut one.config, other.config, |one, other| {
        set(&mut one.merge, other.merge);
        field(|| "`ignition.config.replace`".into(), &mut one.replace, other.replace)
    })?;
    whole(&mut one.proxy, other.proxy, |one, other| {
        set(&mut one.no_proxy, other.no_proxy);
        field(|| "`ignition.proxy.httpProxy`".into(), &mut one.http_proxy, other.http_proxy)?;
        field(|| "`ignition.proxy.httpsProxy`".into(), &mut one.https_proxy, other.https_proxy)
    })?;
    whole(&mut one.security, other.security, |one, other| {
        whole(&mut one.tls, other.tls, |one, other| {
            set(&mut one.certificate_authorities, other.certificate_authorities);
            Ok(())
        })
    })?;
    whole(&mut one.timeouts, other.timeouts, |one, other| {
        let name = |name: &str| format!("`ignition.timeouts.{name}`");
        field(|| name("httpTotal"), &mut one.http_total, other.http_total)?;
        let (headers, others) = (&mut one.http_response_headers, other.http_response_headers);
        field(|| name("httpResponseHeaders"), headers, others)
    })
}

fn kernel_arguments(one: &mut v3_3::KernelArguments, other: v3_3::KernelArguments) -> Outcome {
    let present = one.should_exist.iter().flatten().chain(other.should_exist.iter().flatten());
    let mut absent = one.should_not_exist.iter().flatten().chain(other.should_not_exist.iter().flatten());
    let present = present.collect::<Vec<_>>();
    if let Some(argument) = absent.find(|argument| present.contains(argument)) {
        return Err(conflict(format!("the kernel argument `{argument}`"), &"shouldExist", &"shouldNotExist"));
    }
    set(&mut one.should_exist, other.should_exist);
    set(&mut one.should_not_exist, other.should_not_exist);
    Ok(())
}

fn passwd(one: &mut v3_3::Passwd, other: v3_3::Passwd) -> Outcome {
    list(&mut one.users, other.users, |a, b| a.name == b.name, user)?;
    list(
        &mut one.groups,
        other.groups,
        |a, b| a.name == b.name,
        |one, other| {
            let name = |field: &str| format!("the `{field}` of group `{}`", other.name);
            field(|| name("gid"), &mut one.gid, other.gid)?;
            field(|| name("passwordHash"), &mut one.password_hash, other.password_hash.clone())?;
            field(|| name("shouldExist"), &mut one.should_exist, other.should_exist)?;
            field(|| name("system"), &mut one.system, other.system)
        },
    )
}

fn user(one: &mut v3_3::User, other: v3_3::User) -> Outcome {
    let name = |field: &str| format!("the `{field}` of user `{}`", other.name);
    set(&mut one.ssh_authorized_keys, other.ssh_authorized_keys);
    set(&mut one.groups, other.groups);
    field(|| name("gecos"), &mut one.gecos, other.gecos)?;
    field(|| name("homeDir"), &mut one.home_dir, other.home_dir)?;
    field(|| name("noCreateHome"), &mut one.no_create_home, other.no_create_home)?;
    field(|| name("noLogInit"), &mut one.no_log_init, other.no_log_init)?;
    field(|| name("noUserGroup"), &mut one.no_user_group, other.no_user_group)?;
    field(|| name("passwordHash"), &mut one.password_hash, other.password_hash)?;
    field(|| name("primaryGroup"), &mut one.primary_group, other.primary_group)?;
    field(|| name("shell"), &mut one.shell, other.shell)?;
    field(|| name("shouldExist"), &mut one.should_exist, other.should_exist)?;
    field(|| name("system"), &mut one.system, other.system)?;
    field(|| name("uid"), &mut one.uid, other.uid)
}

fn storage(one: &mut v3_3::Storage, other: v3_3::Storage) -> Outcome {
    one_kind_per_path(one, &other)?;
    list(&mut one.directories, other.directories, |a, b| a.path == b.path, directory)?;
    list(&mut one.files, other.files, |a, b| a.path == b.path, file)?;
    list(&mut one.links, other.links, |a, b| a.path == b.path, link)?;
    list(
        &mut one.disks,
        other.disks,
        |a, b| a.device == b.device,
        |one, other| same(format!("disk `{}`", other.device), one, &other),
    )?;
    list(
        &mut one.filesystems,
        other.filesystems,
        |a, b| a.device == b.device,
        |one, other| same(format!("the filesystem on `{}`", other.device), one, &other),
    )?;
    list(
        &mut one.luks,
        other.luks,
        |a, b| a.name == b.name,
        |one, other| same(format!("LUKS device `{}`", other.name), one, &other),
    )?;
    list(
        &mut one.raid,
        other.raid,
        |a, b| a.name == b.name,
        |one, other| same(format!("RAID `{}`", other.name), one, &other),
    )
}

/// Checks that a path has the same type in both configs.
fn one_kind_per_path(one: &v3_3::Storage, other: &v3_3::Storage) -> Outcome {
    fn kinds(storage: &v3_3::Storage) -> impl Iterator<Item = (&str, &'static str)> {
        let files = storage.files.iter().flatten().map(|node| (node.path.as_str(), "a file"));
        let directories =
            storage.directories.iter().flatten().map(|node| (node.path.as_str(), "a directory"));
        let links = storage.links.iter().flatten().map(|node| (node.path.as_str(), "a link"));
        files.chain(directories).chain(links)
    }
    let ours = kinds(one).collect::<std::collections::HashMap<_, _>>();
    for (path, kind) in kinds(other) {
        if let Some(our_kind) = ours.get(path).filter(|our_kind| **our_kind != kind) {
            return Err(conflict(format!("the type of `{path}`"), our_kind, &kind));
        }
    }
    Ok(())
}

fn directory(one: &mut v3_3::Directory, other: v3_3::Directory) -> Outcome {
    let name = |field: &str| format!("the `{field}` of directory `{}`", other.path);
    field(|| name("mode"), &mut one.mode, other.mode)?;
    field(|| name("overwrite"), &mut one.overwrite, other.overwrite)?;
    field(|| name("user"), &mut one.user, other.user)?;
    field(|| name("group"), &mut one.group, other.group)
}

fn file(one: &mut v3_3::File, other: v3_3::File) -> Outcome {
    // The same file in both would otherwise have its fragments appended twice.
    if *one == other {
        return Ok(());
    }
    let name = |field: &str| format!("the `{field}` of file `{}`", other.path);
    field(|| name("contents"), &mut one.contents, other.contents)?;
    field(|| name("mode"), &mut one.mode, other.mode)?;
    field(|| name("overwrite"), &mut one.overwrite, other.overwrite)?;
    field(|| name("user"), &mut one.user, other.user)?;
    field(|| name("group"), &mut one.group, other.group)?;
    if let Some(fragments) = other.append {
        one.append.get_or_insert_default().extend(fragments);
    }
    Ok(())
}

fn link(one: &mut v3_3::Link, other: v3_3::Link) -> Outcome {
    let name = |field: &str| format!("the `{field}` of link `{}`", other.path);
    field(|| name("target"), &mut one.target, other.target)?;
    field(|| name("hard"), &mut one.hard, other.hard)?;
    field(|| name("overwrite"), &mut one.overwrite, other.overwrite)?;
    field(|| name("user"), &mut one.user, other.user)?;
    field(|| name("group"), &mut one.group, other.group)
}

fn unit(one: &mut v3_3::Unit, other: v3_3::Unit) -> Outcome {
    let name = other.name;
    // A contradiction inside one config is a problem for validation.
    let masks = |mask: Option<bool>| mask == Some(true);
    let runs = |unit_mask, enabled: Option<bool>, contents: &Option<String>| {
        !masks(unit_mask) && (enabled == Some(true) || contents.is_some())
    };
    if (masks(one.mask) && runs(other.mask, other.enabled, &other.contents))
        || (masks(other.mask) && runs(one.mask, one.enabled, &one.contents))
    {
        let state = |mask| if masks(mask) { "masked" } else { "enabled or written" };
        return Err(conflict(format!("unit `{name}`"), &state(one.mask), &state(other.mask)));
    }
    field(|| format!("whether unit `{name}` is masked"), &mut one.mask, other.mask)?;
    field(|| format!("whether unit `{name}` is enabled"), &mut one.enabled, other.enabled)?;
    field(|| format!("the contents of unit `{name}`"), &mut one.contents, other.contents)?;
    list(
        &mut one.dropins,
        other.dropins,
        |a, b| a.name == b.name,
        |one, other| {
            let what = || format!("drop-in `{}` of unit `{name}`", other.name);
            field(what, &mut one.contents, other.contents.clone())
        },
    )
}

#[cfg(test)]
mod tests;
