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

    /// File of trusted OpenPGP keys; releases of Flatcar are signed by
    /// F88CFEDEFF29A5B4D9523864E25D9AED0593B34A [default: the key of the stand-in in DIRECTORY]
    #[arg(long, value_name = "FILE")]
    key: Option<Utf8PathBuf>,
}

/// Verifies each file of a release against its signature and its signed digests.
pub(super) fn run(arguments: &ImageVerifyArguments) -> Result<Exit, Failure> {
    let key = arguments.key.clone().unwrap_or_else(|| arguments.directory.join(TEST_KEY));
    let keys = Keyring::read(&key)?;
    let verdicts = verify_directory(&arguments.directory, &keys)?;
    for verdict in &verdicts {
        output::print(&lines(verdict))?;
    }
    Ok(if verdicts.iter().all(FileVerdict::holds) { Exit::Passed } else { Exit::Failed })
}

fn lines(verdict: &FileVerdict) -> String {
    let mut text = format!("{:<7}{}\n", if verdict.holds() { "ok" } else { "WRONG" }, verdict.file);
    for judgement in &verdict.results {
        if let VerificationResult::Wrong(reason) = judgement {
            let _ = writeln!(text, "       {reason}");
        }
    }
    text
}
