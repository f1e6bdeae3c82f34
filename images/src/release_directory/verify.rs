// SPDX-License-Identifier: Apache-2.0
use std::io::ErrorKind;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

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
}

impl FileVerdict {
    /// Whether the file has a result and all its results are good.
    pub fn holds(&self) -> bool {
        !self.results.is_empty()
            && !self.results.iter().any(|one| matches!(one, VerificationResult::Wrong(_)))
    }
}

/// The suffixes of the files that verify other files.
const VOUCHERS: [&str; 4] = [".sig", ".DIGESTS", ".DIGESTS.asc", ".DIGESTS.sig"];

/// Compares the files of a directory with their signatures and with their signed lists of digests.
///
/// Files without either are skipped.
///
/// # Errors
/// The directory cannot be read, or nothing in it can be verified.
pub fn verify(directory: &Utf8Path, keys: &Keyring) -> Result<Vec<FileVerdict>, ReleaseDirectoryError> {
    let mut verdicts = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("read", directory)(error.into()))?;
        let Some(path) = Utf8Path::from_path(entry.path()) else { continue };
        if !entry.file_type().is_file() || VOUCHERS.iter().any(|end| path.as_str().ends_with(end)) {
            continue;
        }
        let results = verify_file(path, keys)?;
        if !results.is_empty() {
            let file = path.strip_prefix(directory).unwrap_or(path).to_owned();
            verdicts.push(FileVerdict { file, results });
        }
    }
    if verdicts.is_empty() {
        return Err(ReleaseDirectoryError::Nothing(directory.to_owned()));
    }
    Ok(verdicts)
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

    use super::super::{Description, TEST_KEY, finish};
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
            private: &["manifest.json"],
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
