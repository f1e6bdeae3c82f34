// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use loadgauge_host::Hint;
use loadgauge_images::{Architecture, OsRelease};

use super::recipe::Compatible;

/// An extension-release file that cannot be written for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// the os-release of the image lacks a field
    #[error("`{key} = \"image\"` needs `{field}`, which the image's os-release does not have")]
    Missing {
        /// the key of the recipe
        key: &'static str,
        /// the field of os-release
        field: &'static str,
    },
    /// the value is not systemd's name of an architecture
    #[error("`{0}` is not an architecture: expected image, other, _any, x86-64 or arm64")]
    Architecture(String),
    /// the value cannot be quoted
    #[error("`{0}` is not valid in an extension-release file")]
    Value(String),
}

impl Hint for ReleaseError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("write a literal value, or id = \"_any\" for any system".to_owned()),
            Self::Architecture(_) => Some("use systemd's name: x86-64 for amd64".to_owned()),
            Self::Value(_) => Some("remove quotes, backslashes and control characters".to_owned()),
        }
    }
}

/// The fields of an extension-release file that describe the extension to people; systemd ignores them.
/// Flatcar's SDK writes them since 2025.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// its name in systemd-sysext
    pub id: &'a str,
    /// its name for people
    pub name: Option<&'a str>,
    /// its version, or that of its only package
    pub version: Option<&'a str>,
    /// the website of its project
    pub homepage: Option<&'a str>,
    /// the URL of its bug tracker
    pub bug_report: Option<&'a str>,
}

impl<'a> About<'a> {
    /// The fields in the order of the SDK.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let all = [
            ("SYSEXT_ID", Some(self.id).filter(|id| !id.is_empty())),
            ("SYSEXT_NAME", self.name),
            ("SYSEXT_VERSION_ID", self.version),
            ("SYSEXT_HOME_URL", self.homepage),
            ("SYSEXT_BUG_REPORT_URL", self.bug_report),
        ];
        all.into_iter().filter_map(|(field, value)| Some((field, value?)))
    }
}

/// The fields of an extension-release file. See extension-release in os-release(5).
///
/// With `reload` systemd 255 and later reload their units after a merge.
///
/// # Errors
/// See [`ReleaseError`].
pub fn extension_release(
    compatible: &Compatible,
    image: &OsRelease,
    architecture: Architecture,
    reload: bool,
    about: &About<'_>,
) -> Result<OsRelease, ReleaseError> {
    let mut release = OsRelease::default();
    let own = |key, field| image.get(field).map(str::to_owned).ok_or(ReleaseError::Missing { key, field });
    let id = match compatible.id.as_deref() {
        None | Some("image") => own("id", "ID")?,
        Some(id) => id.to_owned(),
    };
    let any = id == "_any";
    release.set("ID", id);
    let mut bind = |key, field, wanted: Option<&str>| {
        let value = match wanted {
            None => return Ok(()),
            Some("image") => own(key, field)?,
            Some(value) => value.to_owned(),
        };
        release.set(field, value);
        Ok(())
    };
    bind("version-id", "VERSION_ID", compatible.version_id.as_deref())?;
    bind("sysext-level", "SYSEXT_LEVEL", compatible.sysext_level.as_deref())?;
    if !any && compatible.version_id.is_none() && compatible.sysext_level.is_none() {
        // As Flatcar advises: updates change the version, but seldom the level.
        match image.get("SYSEXT_LEVEL") {
            Some(_) => bind("sysext-level", "SYSEXT_LEVEL", Some("image"))?,
            None => bind("version-id", "VERSION_ID", Some("image"))?,
        }
    }
    release.set("ARCHITECTURE", architecture_name(compatible.architecture.as_deref(), architecture)?);
    if reload {
        release.set("EXTENSION_RELOAD_MANAGER", "1");
    }
    for (field, value) in about.fields() {
        release.set(field, value.to_owned());
    }
    let breaks = |value: &str| value.chars().any(|c| c.is_control() || "'\"\\".contains(c));
    if let Some((_, value)) = release.iter().find(|(_, value)| breaks(value)) {
        return Err(ReleaseError::Value(value.to_owned()));
    }
    Ok(release)
}

/// Formats an extension-release file as Flatcar's SDK does since 2025: strings in single quotes, switches
/// without, in the SDK's order.
pub fn write(release: &OsRelease) -> String {
    let order = ["ID", "VERSION_ID", "SYSEXT_LEVEL", "ARCHITECTURE", "EXTENSION_RELOAD_MANAGER"];
    let about = ["SYSEXT_ID", "SYSEXT_NAME", "SYSEXT_VERSION_ID", "SYSEXT_HOME_URL", "SYSEXT_BUG_REPORT_URL"];
    let mut text = String::new();
    for name in order.into_iter().chain(about) {
        match release.get(name) {
            None => {}
            Some(value) if name == "EXTENSION_RELOAD_MANAGER" => {
                let _ = writeln!(text, "{name}={value}");
            }
            Some(value) => {
                let _ = writeln!(text, "{name}='{value}'");
            }
        }
    }
    text
}

fn architecture_name(wanted: Option<&str>, image: Architecture) -> Result<String, ReleaseError> {
    let other = match image {
        Architecture::Amd64 => Architecture::Arm64,
        Architecture::Arm64 => Architecture::Amd64,
    };
    match wanted {
        None | Some("image") => Ok(image.systemd_name().to_owned()),
        Some("other") => Ok(other.systemd_name().to_owned()),
        Some(name @ ("_any" | "x86-64" | "arm64")) => Ok(name.to_owned()),
        Some(name) => Err(ReleaseError::Architecture(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About {
        id: "docker-flatcar",
        name: Some("docker"),
        version: Some("28.0.4"),
        homepage: Some("https://docker.com/"),
        bug_report: Some("https://issues.flatcar.org"),
    };

    fn image() -> OsRelease {
        OsRelease::parse("ID=flatcar\nVERSION_ID=4593.2.5\nSYSEXT_LEVEL=1.0\n").expect("valid")
    }

    fn written(change: impl Fn(&mut Compatible)) -> String {
        let mut compatible = Compatible::default();
        change(&mut compatible);
        match extension_release(&compatible, &image(), Architecture::Amd64, true, &ABOUT) {
            Ok(release) => write(&release),
            Err(error) => format!("error: {error}\n"),
        }
    }

    #[test]
    fn all_values_of_compatible() {
        let text = |value: &str| Some(value.to_owned());
        let all = [
            ("default", written(|_| {})),
            ("the image's version", written(|compatible| compatible.version_id = text("image"))),
            ("another version", written(|compatible| compatible.version_id = text("9999.0.0"))),
            ("any system", written(|compatible| compatible.id = text("_any"))),
            ("another architecture", written(|compatible| compatible.architecture = text("other"))),
            ("no architecture at all", written(|compatible| compatible.architecture = text("amd64"))),
            ("a quote", written(|compatible| compatible.id = text("it's"))),
        ];
        let text: Vec<String> = all.iter().map(|(what, file)| format!("# {what}\n{file}")).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn the_file_is_parsed_to_the_same_fields() {
        let release = extension_release(&Compatible::default(), &image(), Architecture::Arm64, true, &ABOUT)
            .expect("valid");
        assert_eq!(OsRelease::parse(&write(&release)), Ok(release));
    }

    #[test]
    fn an_extension_for_an_image_without_a_level_is_bound_to_its_version() {
        let image = OsRelease::parse("ID=debian\nVERSION_ID=13\n").expect("valid");
        let release =
            extension_release(&Compatible::default(), &image, Architecture::Amd64, false, &About::default())
                .expect("valid");
        assert_eq!((release.get("VERSION_ID"), release.get("SYSEXT_LEVEL")), (Some("13"), None));
    }
}
