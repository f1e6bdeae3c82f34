// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_images::release_directory::{
    FileVerdict, TEST_KEY, VerificationResult, verify as verify_directory,
};
use loadgauge_images::signature::Keyring;

use crate::cli::{Exit, Failure, output};

/// Arguments of `loadgauge image verify`.
#[derive(Debug, Args)]
pub(crate) struct ImageVerifyArguments {
    /// Directory of a release: an image with its `.sig` and `.DIGESTS.asc`
    directory: Utf8PathBuf,

    /// File of trusted OpenPGP keys; for a stand-in that you built, `test-signing-key.asc` of its directory
    /// [default: Flatcar's image signing key, F88CFEDEFF29A5B4D9523864E25D9AED0593B34A]
    #[arg(long, value_name = "FILE")]
    key: Option<Utf8PathBuf>,
}

/// Verifies each file of a release against its signature and its signed digests.
///
/// The key in the directory is not a default: whoever writes the directory writes the key.
pub(super) fn run(arguments: &ImageVerifyArguments) -> Result<Exit, Failure> {
    let keys = match &arguments.key {
        Some(path) => Keyring::read(path)?,
        None => Keyring::flatcar()?,
    };
    let verdicts = verify_directory(&arguments.directory, &keys)?;
    for verdict in &verdicts {
        output::print(&lines(verdict))?;
    }
    let holds = verdicts.iter().all(FileVerdict::holds);
    let own = arguments.directory.join(TEST_KEY);
    if !holds && arguments.key.is_none() && own.is_file() {
        output::message(&format!(
            "hint: if you built this stand-in yourself, verify it with its own key: --key {}",
            loadgauge_host::quote(own.as_str())
        ));
    }
    Ok(if holds { Exit::Passed } else { Exit::Failed })
}

fn lines(verdict: &FileVerdict) -> String {
    let mut text = format!("{:<7}{}\n", if verdict.holds() { "ok" } else { "WRONG" }, verdict.file);
    for judgement in &verdict.results {
        let reason = match judgement {
            VerificationResult::Wrong(reason) => reason,
            VerificationResult::Unsigned => {
                "it is not signed: `.sig`, `.DIGESTS.asc` and `.DIGESTS.sig` are missing"
            }
            VerificationResult::Signed(_) | VerificationResult::Listed(_) => continue,
        };
        let _ = writeln!(text, "       {reason}");
    }
    text
}
