// SPDX-License-Identifier: Apache-2.0
//! The config and its parts.

use camino::Utf8PathBuf;
use ignition_config::v3_3;

use crate::data_url;

/// An Ignition config of specification 3.3.0.
///
/// Optional lists and objects are absent rather than empty, so that configs with the same meaning are equal,
/// and a config that is written and read is the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Config(pub(crate) v3_3::Config);

/// An account that is created or extended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The account's name, `core` for Flatcar's own.
    pub name: String,
    /// Public keys in the form of a line of `authorized_keys`. Ignition writes them to
    /// `~/.ssh/authorized_keys.d/ignition`, which Flatcar then adds to `~/.ssh/authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Supplementary groups, by name; each must exist.
    pub groups: Vec<String>,
    /// The hash of a password in the form of crypt(5), if the account has one.
    pub password_hash: Option<String>,
}

/// A file, owned by root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the guest.
    pub path: Utf8PathBuf,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
    /// The contents of the file.
    pub contents: Contents,
    /// Whether an existing file is replaced; otherwise Ignition fails where it differs.
    pub overwrite: bool,
}

/// The contents of a file, or their URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The bytes, which are in the config as a data URL.
    Inline(Vec<u8>),
    /// Fetched by the guest.
    Remote {
        /// The URL, of scheme http, https, tftp, s3 or gs.
        url: String,
        /// SHA-512 of the bytes in hexadecimal, which the guest verifies.
        sha512: String,
    },
}

/// A symbolic or hard link, owned by root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Absolute path of the link itself.
    pub path: Utf8PathBuf,
    /// The target, which is not changed.
    pub target: Utf8PathBuf,
    /// Whether an existing file is replaced.
    pub overwrite: bool,
    /// Whether it is a hard link instead of a symbolic one.
    pub hard: bool,
}

/// A directory, owned by root; an existing one keeps its owner and contents and gets the mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path in the guest.
    pub path: Utf8PathBuf,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
}

/// A systemd unit, written to `/etc/systemd/system`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Name with its suffix, such as `docker.service`.
    pub name: String,
    /// Whether a preset enables or disables it; `None` leaves its state.
    pub enabled: Option<bool>,
    /// Whether it is linked to `/dev/null`.
    pub mask: bool,
    /// The unit file, if it is written.
    pub contents: Option<String>,
    /// Drop-ins of the unit.
    pub dropins: Vec<Dropin>,
}

/// A drop-in of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropin {
    /// Name with its suffix `.conf`.
    pub name: String,
    /// The text of the drop-in.
    pub contents: String,
}

/// The units that update Flatcar and reboot it: a machine under test must do neither.
pub const UPDATE_UNITS: [&str; 2] = ["update-engine.service", "locksmithd.service"];

/// Masks the units that would update or reboot the guest during a test ([`UPDATE_UNITS`]).
///
/// A mask is a link from `/etc/systemd/system/NAME` to `/dev/null`, and has no effect on an image without the
/// unit. Units in the config are not changed, so that a scenario about updates can enable them: call this on
/// the result of [`Config::merge`].
pub fn mask_updates(config: &mut Config) {
    for name in UPDATE_UNITS {
        let is_configured =
            config.0.systemd.iter().flat_map(|s| s.units.iter().flatten()).any(|unit| unit.name == name);
        if !is_configured {
            config.unit(Unit { name: name.to_owned(), mask: true, ..Unit::default() });
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// An empty config.
    pub fn new() -> Self {
        Self(v3_3::Config::default())
    }

    /// Adds an account. [`Config::validate`] reports a name that was added twice.
    pub fn user(&mut self, user: User) -> &mut Self {
        let mut raw = v3_3::User::new(user.name);
        raw.ssh_authorized_keys = non_empty(user.ssh_keys);
        raw.groups = non_empty(user.groups);
        raw.password_hash = user.password_hash;
        self.0.passwd.get_or_insert_default().users.get_or_insert_default().push(raw);
        self
    }

    /// Adds a file.
    pub fn file(&mut self, file: File) -> &mut Self {
        let mut raw = v3_3::File::new(file.path.into_string());
        raw.mode = Some(i64::from(file.mode));
        raw.overwrite = file.overwrite.then_some(true);
        raw.contents = Some(match file.contents {
            Contents::Inline(bytes) => {
                v3_3::Resource { source: Some(data_url::encode(&bytes)), ..v3_3::Resource::default() }
            }
            Contents::Remote { url, sha512 } => v3_3::Resource {
                source: Some(url),
                verification: Some(v3_3::Verification { hash: Some(format!("sha512-{sha512}")) }),
                ..v3_3::Resource::default()
            },
        });
        self.storage().files.get_or_insert_default().push(raw);
        self
    }

    /// Adds a link.
    pub fn link(&mut self, link: Link) -> &mut Self {
        let mut raw = v3_3::Link::new(link.path.into_string());
        raw.target = Some(link.target.into_string());
        raw.overwrite = link.overwrite.then_some(true);
        raw.hard = Some(link.hard);
        self.storage().links.get_or_insert_default().push(raw);
        self
    }

    /// Adds a directory.
    pub fn directory(&mut self, directory: Directory) -> &mut Self {
        let mut raw = v3_3::Directory::new(directory.path.into_string());
        raw.mode = Some(i64::from(directory.mode));
        self.storage().directories.get_or_insert_default().push(raw);
        self
    }

    /// Adds a unit.
    pub fn unit(&mut self, unit: Unit) -> &mut Self {
        let mut raw = v3_3::Unit::new(unit.name);
        raw.enabled = unit.enabled;
        raw.mask = unit.mask.then_some(true);
        raw.contents = unit.contents;
        let dropins = unit.dropins.into_iter();
        raw.dropins =
            non_empty(dropins.map(|d| v3_3::Dropin { name: d.name, contents: Some(d.contents) }).collect());
        self.0.systemd.get_or_insert_default().units.get_or_insert_default().push(raw);
        self
    }

    /// Adds arguments to the kernel's command line. Ignition writes them to the boot loader's config and
    /// reboots first of all (`kernelArguments` of the specification 3.3.0).
    pub fn kernel_arguments<'a>(&mut self, new: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let arguments = self.0.kernel_arguments.get_or_insert_default();
        arguments.should_exist.get_or_insert_default().extend(new.into_iter().map(str::to_owned));
        self
    }

    fn storage(&mut self) -> &mut v3_3::Storage {
        self.0.storage.get_or_insert_default()
    }
}

/// A list, or `None` where it is empty.
pub(crate) fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_masked_unless_the_config_has_their_units() {
        let mut config = Config::new();
        config.unit(Unit { name: "locksmithd.service".into(), enabled: Some(true), ..Unit::default() });
        mask_updates(&mut config);
        assert_eq!(
            config.to_json(),
            r#"{"ignition":{"version":"3.3.0"},"systemd":{"units":[{"enabled":true,"name":"locksmithd.service"},{"mask":true,"name":"update-engine.service"}]}}"#
        );
        let once = config.clone();
        mask_updates(&mut config);
        assert_eq!(config, once);
    }

    #[test]
    fn kernel_arguments_are_added() {
        let mut config = Config::new();
        config.kernel_arguments(["quiet", "loglevel=3"]);
        assert_eq!(config.validate(), []);
        assert_eq!(
            config.to_json(),
            r#"{"ignition":{"version":"3.3.0"},"kernelArguments":{"shouldExist":["quiet","loglevel=3"]}}"#
        );
    }

    #[test]
    fn a_composed_config() {
        let mut config = Config::new();
        config
            .user(User {
                name: "core".into(),
                ssh_keys: vec!["ssh-ed25519 AAAAC3Nz loadgauge".into()],
                groups: vec!["docker".into()],
                password_hash: None,
            })
            .directory(Directory { path: "/etc/probe".into(), mode: 0o750 })
            .file(File {
                path: "/etc/probe/greeting".into(),
                mode: 0o644,
                contents: Contents::Inline("hello, wörld\n".into()),
                overwrite: false,
            })
            .file(File {
                path: "/opt/extensions/probe.raw".into(),
                mode: 0o644,
                contents: Contents::Remote {
                    url: "http://10.0.2.100/probe.raw".into(),
                    sha512: "ab".repeat(64),
                },
                overwrite: true,
            })
            .link(Link {
                path: "/etc/extensions/docker-flatcar.raw".into(),
                target: "/dev/null".into(),
                overwrite: true,
                hard: false,
            })
            .unit(Unit {
                name: "probe.service".into(),
                enabled: Some(true),
                contents: Some(
                    "[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n".into(),
                ),
                dropins: vec![Dropin {
                    name: "10-quick.conf".into(),
                    contents: "[Unit]\nDefaultDependencies=no\n".into(),
                }],
                mask: false,
            });
        mask_updates(&mut config);
        assert_eq!(config.validate(), []);
        insta::assert_snapshot!(config.to_json_pretty());
    }
}
