// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};
use loadgauge_images::ExtensionImage;
use loadgauge_images::extension_image::ExtensionImageError;
use loadgauge_images::file_system::{FilePattern, Tree};

use crate::unit_file;

/// Where systemd looks for units of the system below /usr (systemd.unit(5)).
const UNIT_DIRECTORIES: [&str; 2] = ["usr/local/lib/systemd/system", "usr/lib/systemd/system"];
/// Where systemd-sysusers and systemd-tmpfiles look below /usr (sysusers.d(5), tmpfiles.d(5)).
const SYSUSERS: FilePattern = FilePattern::between("usr/lib/sysusers.d", "", ".conf");
const TMPFILES: FilePattern = FilePattern::between("usr/lib/tmpfiles.d", "", ".conf");

/// What the files of an extension ask of systemd once they are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activation {
    /// the units that systemd starts as long as another unit is active: `Upholds=` and `*.upholds/`
    pub upheld: BTreeSet<String>,
    /// the units that start together with another unit, by that unit: `*.wants/` and `*.requires/`
    pub wanted: BTreeMap<String, BTreeSet<String>>,
    /// the units whose files are in the extension, without templates
    pub units: BTreeSet<String>,
    /// the names of the files in `usr/lib/sysusers.d`
    pub sysusers: Vec<String>,
    /// the names of the files in `usr/lib/tmpfiles.d`
    pub tmpfiles: Vec<String>,
}

impl Activation {
    /// Reads an image, with `scratch` for its files.
    ///
    /// # Errors
    /// See [`ExtensionImageError`].
    pub fn of_image(image: &Utf8Path, scratch: &Utf8Path) -> Result<Self, ExtensionImageError> {
        let image = ExtensionImage::open(image, &scratch.join("partition"))?;
        let root = scratch.join("root");
        image.extract(&root.join(image.below))?;
        Ok(Self::of_tree(&Tree::at(&root)?)?)
    }

    /// Reads the tree of an extension.
    ///
    /// # Errors
    /// A unit is larger than 1 MiB or not UTF-8, or a directory cannot be read.
    pub fn of_tree(tree: &Tree) -> Result<Self, FileError> {
        let mut activation =
            Self { sysusers: tree.names(SYSUSERS), tmpfiles: tree.names(TMPFILES), ..Self::default() };
        for directory in UNIT_DIRECTORIES {
            activation.add_units(tree, Utf8Path::new(directory))?;
        }
        Ok(activation)
    }

    fn add_units(&mut self, tree: &Tree, directory: &Utf8Path) -> Result<(), FileError> {
        for name in names(tree, directory)? {
            let path = directory.join(&name);
            if name.ends_with(".upholds") {
                self.upheld.extend(names(tree, &path)?);
            } else if let Some(by) = name.strip_suffix(".wants").or_else(|| name.strip_suffix(".requires")) {
                self.wanted.entry(by.to_owned()).or_default().extend(names(tree, &path)?);
            } else if path.extension() == Some("d") {
                for drop_in in names(tree, &path)? {
                    let drop_in = path.join(drop_in);
                    if drop_in.extension() == Some("conf") {
                        self.add_file(tree, &drop_in)?;
                    }
                }
            } else {
                self.add_file(tree, &path)?;
                if !name.contains("@.") && !tree.find(path.as_str()).is_some_and(|found| found.is_dir()) {
                    self.units.insert(name);
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, tree: &Tree, path: &Utf8Path) -> Result<(), FileError> {
        let text = tree.text(path.as_str())?.unwrap_or_default();
        for value in unit_file::values(&text, "Unit", "Upholds") {
            self.upheld.extend(value.split_whitespace().map(str::to_owned));
        }
        Ok(())
    }
}

/// The sorted names in a directory of the tree; none where it is not there or leads out of the tree.
fn names(tree: &Tree, directory: &Utf8Path) -> Result<Vec<String>, FileError> {
    let Some(found) = tree.find(directory.as_str()).filter(|found| found.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(&found)? {
        // systemd ignores names that are not UTF-8.
        names.extend(entry.map_err(FileError::at("list", &found))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    #[test]
    fn every_way_to_start_a_unit_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        };
        let link = |path: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            std::os::unix::fs::symlink("/nowhere", path).expect("a link");
        };
        write("usr/lib/systemd/system/multi-user.target.d/10-a.conf", "[Unit]\nUpholds=a.service b.socket\n");
        write("usr/lib/systemd/system/c.service", "[Unit]\nUpholds=d.service\n[Service]\nExecStart=/bin/c\n");
        write("usr/local/lib/systemd/system/k.target.d/x.conf", "[Unit]\nUpholds=k3s.service\n");
        write("usr/lib/systemd/system/c@.service", "[Service]\nExecStart=/bin/c %i\n");
        link("usr/lib/systemd/system/multi-user.target.upholds/e.service");
        link("usr/lib/systemd/system/sockets.target.wants/f.socket");
        link("usr/lib/systemd/system/multi-user.target.requires/g.service");
        write("usr/lib/sysusers.d/a.conf", "u a\n");
        write("usr/lib/tmpfiles.d/a.conf", "d /var/lib/a\n");
        write("usr/lib/tmpfiles.d/README", "not read by systemd-tmpfiles\n");
        let activation = Activation::of_tree(&Tree::at(&root).expect("a tree")).expect("it is read");
        let units = ["a.service", "b.socket", "d.service", "e.service", "k3s.service"];
        assert_eq!(activation.upheld, units.map(str::to_owned).into());
        assert_eq!(activation.units, ["c.service".to_owned()].into());
        assert_eq!(activation.wanted["sockets.target"], ["f.socket".to_owned()].into());
        assert_eq!(activation.wanted["multi-user.target"], ["g.service".to_owned()].into());
        assert_eq!(
            (activation.sysusers, activation.tmpfiles),
            (vec!["a.conf".into()], vec!["a.conf".into()])
        );
    }
}
