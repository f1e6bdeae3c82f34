// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::io::{self, Read as _};

use camino::Utf8Path;
use loadgauge_host::fs;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

/// The digests of a file, as the file `NAME.DIGESTS` lists them.
///
/// Each kind has a heading such as `# SHA512 HASH` and a line with the digest in hex, two blanks and the
/// file's name (Flatcar's SDK, `release_util.sh`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// the file's name
    pub name: String,
    /// the MD5 in 32 hex digits; not used for verification
    pub md5: String,
    /// the SHA-1 in 40 hex digits; not used for verification
    pub sha1: String,
    /// the SHA-512 in 128 hex digits
    pub sha512: String,
}

/// An error in a list of digests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestsError {
    /// the list has no SHA-512 of the file
    #[error("it lists no SHA512 of `{0}`")]
    Absent(String),
    /// a digest does not have the length of its kind, or is not in hex
    #[error("it lists `{0}`, which is not the digest of its heading")]
    Form(String),
}

impl Digests {
    /// Computes the digests of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(path: &Utf8Path) -> io::Result<Self> {
        let (mut md5, mut sha1, mut sha512) = (Md5::new(), Sha1::new(), Sha512::new());
        let mut file = fs::open(path).map_err(|error| error.source)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            md5.update(&buffer[..length]);
            sha1.update(&buffer[..length]);
            sha512.update(&buffer[..length]);
        }
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_owned(),
            md5: hex::encode(md5.finalize()),
            sha1: hex::encode(sha1.finalize()),
            sha512: hex::encode(sha512.finalize()),
        })
    }

    /// Parses a list of digests.
    ///
    /// MD5 and SHA-1 may be absent, because the verification does not use them.
    ///
    /// # Errors
    /// The list has no SHA-512 of the file, or a digest is malformed.
    pub fn parse(text: &str, name: &str) -> Result<Self, DigestsError> {
        let find = |kind: &str, length: usize| {
            let mut under = false;
            for line in text.lines().map(str::trim_end) {
                if let Some(heading) = line.strip_prefix("# ") {
                    under = heading.strip_suffix(" HASH") == Some(kind);
                    continue;
                }
                let Some((digest, file)) = line.split_once("  ").filter(|_| under) else { continue };
                if file == name {
                    let sound = digest.len() == length && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
                    return if sound {
                        Ok(Some(digest.to_ascii_lowercase()))
                    } else {
                        Err(DigestsError::Form(digest.to_owned()))
                    };
                }
            }
            Ok(None)
        };
        Ok(Self {
            name: name.to_owned(),
            md5: find("MD5", 32)?.unwrap_or_default(),
            sha1: find("SHA1", 40)?.unwrap_or_default(),
            sha512: find("SHA512", 128)?.ok_or_else(|| DigestsError::Absent(name.to_owned()))?,
        })
    }
}

impl fmt::Display for Digests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, digest) in [("MD5", &self.md5), ("SHA1", &self.sha1), ("SHA512", &self.sha512)] {
            writeln!(formatter, "# {kind} HASH\n{digest}  {}", self.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_tools_of_the_system_agree() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8").join("image.img");
        std::fs::write(&path, vec![7; 700_000]).expect("written");
        let digests = Digests::of_file(&path).expect("read");
        for (tool, digest) in
            [("md5sum", &digests.md5), ("sha1sum", &digests.sha1), ("sha512sum", &digests.sha512)]
        {
            let output = Command::new(tool).arg(&path).output().expect("the tool runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout).split(' ').next(), Some(digest.as_str()));
        }
        assert_eq!(Digests::parse(&digests.to_string(), "image.img"), Ok(digests));
    }

    #[test]
    fn what_a_list_does_not_say_is_told() {
        let absent = DigestsError::Absent("a".to_owned());
        assert_eq!(Digests::parse("", "a"), Err(absent.clone()));
        assert!(Digests::parse(&format!("# MD5 HASH\n{}  a\n", "0".repeat(128)), "a").is_err());
        assert_eq!(Digests::parse(&format!("# SHA512 HASH\n{}  b\n", "0".repeat(128)), "a"), Err(absent));
        assert!(matches!(Digests::parse("# SHA512 HASH\nff  a\n", "a"), Err(DigestsError::Form(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([# a-fSHA512MDHASH0-9]{0,20}\n?){0,6}") {
            let _ = Digests::parse(&text, "a");
        }
    }
}
