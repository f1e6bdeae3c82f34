// SPDX-License-Identifier: Apache-2.0
use std::io::ErrorKind;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::TEST_KEY;
use super::digests::Digests;
use super::error::ReleaseDirectoryError;
use crate::signature::Keyring;

/// The outcome of the verification of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVerdict {
    /// the file, relative to the directory
    pub file: Utf8PathBuf,
    /// the results, one for each signature or list of digests
    pub results: Vec<VerificationResult>,
}

/// The result of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerificationResult {
    /// the file matches its signature, made by this key
    Signed(String),
    /// the file matches its list of digests, signed by this key
    Listed(String),
    /// the file does not match, or the signature is not from a trusted key
    Wrong(String),
    /// the file has neither a signature nor a signed list of digests
    Unsigned,
}

impl FileVerdict {
    /// Whether the file has a result and all its results are good.
    pub fn holds(&self) -> bool {
        let is_good = |one: &VerificationResult| {
            matches!(one, VerificationResult::Signed(_) | VerificationResult::Listed(_))
        };
        !self.results.is_empty() && self.results.iter().all(is_good)
    }
}

/// The suffixes of the files that verify other files.
const VOUCHERS: [&str; 4] = [".sig", ".DIGESTS", ".DIGESTS.asc", ".DIGESTS.sig"];

/// Compares the files of a directory with their signatures and with their signed lists of digests.
///
/// Every file needs one of them, because a run uses files by their names alone. A link to another file of
/// the directory is verified by that file. The directory's own key is not trusted because it is there.
///
/// # Errors
/// The directory cannot be read, or contains no file.
pub fn verify(directory: &Utf8Path, keys: &Keyring) -> Result<Vec<FileVerdict>, ReleaseDirectoryError> {
    let real = directory.canonicalize_utf8().map_err(FileError::at("resolve", directory))?;
    let mut verdicts = Vec::new();
    for entry in walkdir::WalkDir::new(&real).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("read", directory)(error.into()))?;
        let name = entry.path().strip_prefix(&real).unwrap_or(entry.path()).to_string_lossy();
        let results = match Utf8Path::from_path(entry.path()) {
            _ if entry.file_type().is_dir() => continue,
            None => vec![VerificationResult::Wrong("its name is not UTF-8".to_owned())],
            Some(path) if entry.file_type().is_symlink() => match wrong_link(path, &real) {
                Some(reason) => vec![VerificationResult::Wrong(reason)],
                None => continue,
            },
            Some(_) if !entry.file_type().is_file() => {
                vec![VerificationResult::Wrong("it is neither a file, a directory nor a link".to_owned())]
            }
            Some(path) if VOUCHERS.iter().any(|end| path.as_str().ends_with(end)) => continue,
            Some(path) if name == TEST_KEY => match untrusted_key(path, keys) {
                Some(reason) => vec![VerificationResult::Wrong(reason)],
                None => continue,
            },
            Some(path) => verify_file(path, keys)?,
        };
        verdicts.push(FileVerdict { file: Utf8PathBuf::from(name.into_owned()), results });
    }
    if verdicts.is_empty() {
        return Err(ReleaseDirectoryError::Nothing(directory.to_owned()));
    }
    Ok(verdicts)
}

/// Returns the reason why a link does not lead to a file that is verified under its own name.
fn wrong_link(link: &Utf8Path, directory: &Utf8Path) -> Option<String> {
    let Ok(target) = link.canonicalize_utf8() else {
        return Some("it is a link that leads nowhere".to_owned());
    };
    if !target.starts_with(directory) {
        return Some(format!("it is a link that leads out of the directory, to `{target}`"));
    }
    (!target.is_file()).then(|| "it is a link to a directory".to_owned())
}

/// Returns the reason why the key in a directory is not one of the trusted keys.
fn untrusted_key(path: &Utf8Path, keys: &Keyring) -> Option<String> {
    match Keyring::read(path) {
        Ok(own) if keys.contains(&own) => None,
        Ok(own) => Some(format!("the key in it is not trusted: {}", own.fingerprints().join(", "))),
        Err(error) => Some(loadgauge_host::error::on_one_line(&error)),
    }
}

fn verify_file(path: &Utf8Path, keys: &Keyring) -> Result<Vec<VerificationResult>, ReleaseDirectoryError> {
    let mut results = Vec::new();
    if let Some(signature) = beside(path, ".sig")? {
        let content = fs::read(path)?;
        results.push(match keys.verify_detached(&content, &signature) {
            Ok(verified) => VerificationResult::Signed(verified.key),
            Err(error) => VerificationResult::Wrong(format!("its signature: {error}")),
        });
    }
    if let Some(list) = beside(path, ".DIGESTS.asc")? {
        results.push(listed(path, &String::from_utf8_lossy(&list), keys)?);
    } else if let (Some(list), Some(signature)) = (beside(path, ".DIGESTS")?, beside(path, ".DIGESTS.sig")?) {
        results.push(match keys.verify_detached(&list, &signature) {
            Ok(verified) => compare(path, &String::from_utf8_lossy(&list), verified.key)?,
            Err(error) => VerificationResult::Wrong(format!("its list of digests: {error}")),
        });
    }
    if results.is_empty() {
        results.push(VerificationResult::Unsigned);
    }
    Ok(results)
}

fn listed(path: &Utf8Path, list: &str, keys: &Keyring) -> Result<VerificationResult, ReleaseDirectoryError> {
    match keys.verify_clearsigned(list) {
        Ok((text, verified)) => compare(path, &text, verified.key),
        Err(error) => Ok(VerificationResult::Wrong(format!("its list of digests: {error}"))),
    }
}

fn compare(path: &Utf8Path, list: &str, key: String) -> Result<VerificationResult, ReleaseDirectoryError> {
    let name = path.file_name().unwrap_or_default();
    let expected = match Digests::parse(list, name) {
        Ok(digests) => digests,
        Err(error) => return Ok(VerificationResult::Wrong(format!("its list of digests: {error}"))),
    };
    let found = Digests::of_file(path).map_err(FileError::at("read", path))?;
    if found.sha512 == expected.sha512 {
        return Ok(VerificationResult::Listed(key));
    }
    let (found, expected) = (&found.sha512[..16], &expected.sha512[..16]);
    Ok(VerificationResult::Wrong(format!(
        "its SHA-512 begins with {found}, and {expected} is what was signed"
    )))
}

fn beside(path: &Utf8Path, suffix: &str) -> Result<Option<Vec<u8>>, ReleaseDirectoryError> {
    let path = Utf8PathBuf::from(format!("{path}{suffix}"));
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use loadgauge_host::Hint as _;

    use super::super::{Description, finish};
    use super::*;

    /// Returns a finished directory with a small image, and the path of the image.
    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let path = root.join("release");
        fs::create_dir_all(path.join("rootfs-included-sysexts")).expect("made");
        fs::write(path.join("image.img"), vec![1; 100_000]).expect("written");
        fs::write(path.join("rootfs-included-sysexts/docker-flatcar.raw"), "x").expect("written");
        fs::write(path.join("manifest.json"), "{}").expect("written");
        let tree = root.join("tree.tar");
        fs::write(&tree, tar::Builder::new(Vec::new()).into_inner().expect("a tar")).expect("written");
        let description = Description {
            release: "4593.2.0".parse().expect("a version"),
            build: "",
            packages: "jq-1.7::debian\n".to_owned(),
            tree: &tree,
            image: "image.img",
            signer: "Test <test@example.org>",
        };
        finish(&path, &description, &|_| {}).expect("finished");
        (scratch, path)
    }

    #[test]
    fn a_finished_directory_holds_and_a_changed_one_does_not() {
        let (_scratch, path) = directory();
        let keys = Keyring::read(&path.join(TEST_KEY)).expect("keys");
        let verdicts = verify(&path, &keys).expect("looked at");
        let names: Vec<&str> = verdicts.iter().map(|verdict| verdict.file.as_str()).collect();
        assert_eq!(
            names,
            [
                "flatcar_production_image_contents.txt",
                "flatcar_production_image_packages.txt",
                "image.img",
                "image.img.bz2",
                "manifest.json",
                "rootfs-included-sysexts/docker-flatcar.raw",
                "version.txt"
            ]
        );
        assert!(verdicts.iter().all(|verdict| verdict.holds() && verdict.results.len() == 2), "{verdicts:?}");
        let mut unpacked = Vec::new();
        let file = fs::open(path.join("image.img.bz2")).expect("there");
        std::io::copy(&mut bzip2::read::MultiBzDecoder::new(file), &mut unpacked).expect("unpacked");
        assert_eq!(unpacked, vec![1; 100_000]);

        fs::write(path.join("version.txt"), "FLATCAR_VERSION=1.0.0\n").expect("written");
        let verdicts = verify(&path, &keys).expect("looked at");
        let wrong: Vec<_> = verdicts.iter().filter(|verdict| !verdict.holds()).collect();
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].results.iter().all(|one| matches!(one, VerificationResult::Wrong(_))), "{wrong:?}");
    }

    #[test]
    fn a_file_without_a_signature_does_not_hold() {
        let (_scratch, path) = directory();
        let keys = Keyring::read(&path.join(TEST_KEY)).expect("keys");
        for suffix in VOUCHERS {
            fs::remove_file(format!("{}{suffix}", path.join("image.img"))).expect("removed");
        }
        // Digests without a signature can be made by anybody.
        let digests = Digests::of_file(&path.join("image.img")).expect("read").to_string();
        fs::write(path.join("image.img.DIGESTS"), digests).expect("written");
        fs::symlink("image.img", path.join("inside.img")).expect("linked");
        fs::symlink("/dev/null", path.join("outside.img")).expect("linked");
        fs::symlink("nothing", path.join("nowhere.img")).expect("linked");
        let verdicts = verify(&path, &keys).expect("looked at");
        let wrong: Vec<_> = verdicts.iter().filter(|verdict| !verdict.holds()).collect();
        let names: Vec<&str> = wrong.iter().map(|verdict| verdict.file.as_str()).collect();
        assert_eq!(names, ["image.img", "nowhere.img", "outside.img"]);
        assert_eq!(wrong[0].results, [VerificationResult::Unsigned]);
    }

    #[test]
    fn the_key_of_a_directory_is_not_trusted_by_itself() {
        let (_scratch, path) = directory();
        let verdicts = verify(&path, &Keyring::flatcar().expect("a key")).expect("looked at");
        assert!(verdicts.iter().all(|verdict| !verdict.holds()));
        let own = verdicts.iter().find(|verdict| verdict.file == TEST_KEY).expect("named");
        assert!(
            matches!(&own.results[..], [VerificationResult::Wrong(why)] if why.starts_with("the key in it is not trusted")),
            "{own:?}"
        );
    }

    #[test]
    fn another_key_s_directory_does_not_hold() {
        let ((_first, path), (_second, other)) = (directory(), directory());
        let keys = Keyring::read(&other.join(TEST_KEY)).expect("keys");
        assert!(verify(&path, &keys).expect("looked at").iter().all(|verdict| !verdict.holds()));
    }

    #[test]
    fn nothing_to_verify_is_an_error() {
        let (_scratch, path) = directory();
        let keys = Keyring::read(&path.join(TEST_KEY)).expect("keys");
        let empty = tempfile::tempdir().expect("a directory");
        let error = verify(Utf8Path::from_path(empty.path()).expect("UTF-8"), &keys).expect_err("nothing");
        assert!(matches!(error, ReleaseDirectoryError::Nothing(_)) && error.hint().is_some());
    }
}
