// SPDX-License-Identifier: Apache-2.0
//! Questions about the config of an author, to which the harness adds its own.
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::FileError;
use serde_json::Value;
use sha2::{Digest as _, Sha512};

use crate::config::Config;
use crate::data_url;
use crate::delivery::{Served, served_contents};

/// The kind of path that a config writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenKind {
    /// A file with contents.
    File,
    /// A link, with its target.
    Link(Utf8PathBuf),
}

/// A file with contents, or a link, that a config writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The path in the guest.
    pub path: Utf8PathBuf,
    /// What it writes there.
    pub kind: WrittenKind,
    /// Whether it replaces what is there.
    pub overwrite: bool,
}

impl Config {
    /// The files with contents, and the links.
    pub fn written(&self) -> Vec<Written> {
        let storage = self.0.storage.iter();
        let files = storage.clone().flat_map(|storage| storage.files.iter().flatten());
        let files = files.filter(|file| file.contents.as_ref().is_some_and(|one| one.source.is_some()));
        let files = files.map(|file| Written {
            path: file.path.as_str().into(),
            kind: WrittenKind::File,
            overwrite: file.overwrite == Some(true),
        });
        let links = storage.flat_map(|storage| storage.links.iter().flatten()).map(|link| Written {
            path: link.path.as_str().into(),
            kind: WrittenKind::Link(link.target.as_deref().unwrap_or_default().into()),
            overwrite: link.overwrite == Some(true),
        });
        files.chain(links).collect()
    }

    /// The absolute target of a link of the config.
    pub fn link_target(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let links = self.0.storage.iter().flat_map(|storage| storage.links.iter().flatten());
        let link = links.into_iter().find(|link| path == link.path)?;
        let target = link.target.as_deref().filter(|target| !target.is_empty())?;
        Some(normal(&path.parent().unwrap_or(Utf8Path::new("/")).join(target)))
    }

    /// Removes a file from the config. Returns whether it had one.
    pub fn remove_file(&mut self, path: &Utf8Path) -> bool {
        let Some(files) = self.0.storage.as_mut().and_then(|storage| storage.files.as_mut()) else {
            return false;
        };
        let before = files.len();
        files.retain(|file| path != file.path);
        files.len() < before
    }

    /// The URLs that the guest fetches, each with its place in the config: all but data URLs.
    pub fn remote_urls(&self) -> Vec<(String, String)> {
        fn collect(place: &str, value: &Value, found: &mut Vec<(String, String)>) {
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                        match value.as_str() {
                            Some(url) if name == "source" && !url.is_empty() && !url.starts_with("data:") => {
                                found.push((place, url.to_owned()));
                            }
                            _ => collect(&place, value, found),
                        }
                    }
                }
                Value::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        collect(&format!("{place}[{index}]"), element, found);
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        collect("", &serde_json::from_str(&self.to_json()).unwrap_or_default(), &mut found);
        found
    }

    /// Moves the largest contents of files out of the config until its data URLs take at most `limit`
    /// bytes. The guest fetches them from `origin` instead; `keep` writes bytes to a file on the host.
    ///
    /// # Errors
    /// Those of `keep`.
    pub fn serve_large_files<E: From<FileError>>(
        &mut self,
        limit: u64,
        origin: &str,
        keep: impl Fn(&[u8]) -> Result<Utf8PathBuf, E>,
    ) -> Result<Vec<Served>, E> {
        let files = self.0.storage.iter_mut().flat_map(|storage| storage.files.iter_mut().flatten());
        let is_inline = |source: &Option<String>| source.as_ref().is_some_and(|url| url.starts_with("data:"));
        let mut inline: Vec<_> = files
            .filter_map(|file| {
                let name = Utf8Path::new(&file.path).file_name().unwrap_or_default().to_owned();
                let contents = file.contents.as_mut().filter(|contents| is_inline(&contents.source))?;
                Some((name, contents))
            })
            .collect();
        inline.sort_by_key(|(_, contents)| contents.source.as_ref().map_or(0, String::len));
        let length = |source: &Option<String>| source.as_ref().map_or(0, |url| url.len() as u64);
        let mut total: u64 = inline.iter().map(|(_, contents)| length(&contents.source)).sum();
        let mut served = Vec::new();
        while total > limit {
            let Some((name, contents)) = inline.pop() else { break };
            total -= length(&contents.source);
            // A data URL that cannot be read is reported by the validation.
            let Ok(bytes) = data_url::decode(contents.source.as_deref().unwrap_or_default()) else {
                continue;
            };
            let sha512 = hex::encode(Sha512::digest(&bytes));
            let (url, file) = served_contents(keep(&bytes)?, &name, sha512.clone(), origin);
            contents.source = Some(url);
            // Ignition verifies the decompressed contents.
            if contents.compression.as_deref().unwrap_or_default().is_empty() {
                contents.verification.get_or_insert_default().hash.get_or_insert(format!("sha512-{sha512}"));
            }
            served.push(file);
        }
        served.sort();
        served.dedup();
        Ok(served)
    }
}

/// A path without `.` and `..`.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut plain = Utf8PathBuf::from("/");
    for part in path.as_str().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::config::{Contents, File, Link};

    fn config() -> Config {
        let mut config = Config::new();
        let file = |path: &str, size| File {
            path: path.into(),
            mode: 0o644,
            contents: Contents::Inline(vec![7; size]),
            overwrite: false,
        };
        let link =
            |path: &str, target: &str| Link { path: path.into(), target: target.into(), ..Link::default() };
        config
            .file(file("/etc/small", 10))
            .file(file("/opt/big file", 40_000))
            .file(file("/opt/bigger", 60_000))
            .file(File {
                contents: Contents::Remote { url: "https://example.org/x".into(), sha512: "ab".repeat(64) },
                ..file("/opt/remote", 0)
            })
            .link(link("/etc/extensions/a.raw", "/opt/extensions/a/a-1.0.raw"))
            .link(link("/etc/extensions/b.raw", "../../opt/./b.raw"));
        config
    }

    #[test]
    fn what_is_written_and_fetched_is_known() {
        let config = config();
        let paths: Vec<_> = config.written().iter().map(|written| written.path.to_string()).collect();
        assert_eq!(
            paths,
            [
                "/etc/small",
                "/opt/big file",
                "/opt/bigger",
                "/opt/remote",
                "/etc/extensions/a.raw",
                "/etc/extensions/b.raw"
            ]
        );
        let remote = ("storage.files[3].contents.source".to_owned(), "https://example.org/x".to_owned());
        assert_eq!(config.remote_urls(), [remote]);
        let target = |path: &str| config.link_target(Utf8Path::new(path)).map(Utf8PathBuf::into_string);
        assert_eq!(target("/etc/extensions/a.raw").as_deref(), Some("/opt/extensions/a/a-1.0.raw"));
        assert_eq!(target("/etc/extensions/b.raw").as_deref(), Some("/opt/b.raw"));
        assert_eq!(target("/etc/extensions/c.raw"), None);
    }

    #[test]
    fn a_file_is_removed() {
        let mut config = config();
        assert!(config.remove_file(Utf8Path::new("/opt/bigger")));
        assert!(!config.remove_file(Utf8Path::new("/opt/bigger")));
        assert_eq!(config.written().len(), 5);
    }

    #[test]
    fn the_largest_files_are_served_until_the_others_fit() {
        let kept = RefCell::new(Vec::new());
        let keep = |bytes: &[u8]| {
            kept.borrow_mut().push(bytes.len());
            Ok::<_, FileError>(Utf8PathBuf::from(format!("/kept/{}", bytes.len())))
        };
        let mut config = config();
        let served = config.serve_large_files(60_000, "http://10.0.2.100", keep).expect("kept");
        assert_eq!((kept.take(), served.len()), (vec![60_000], 1));
        assert_eq!(config.validate(), []);
        let urls = config.remote_urls();
        let expected = format!("http://10.0.2.100{}", served[0].url_path);
        assert_eq!(urls[0], ("storage.files[2].contents.source".to_owned(), expected));
        assert!(served[0].url_path.ends_with(&format!("{}/bigger", served[0].sha512)));
        assert!(config.to_json().contains(&format!("sha512-{}", served[0].sha512)), "it is verified");
        assert!(config.to_json().len() < 60_000);

        let before = config.clone();
        assert_eq!(config.serve_large_files(60_000, "http://10.0.2.100", keep).expect("kept"), []);
        assert_eq!(config, before, "it fits");
    }
}
