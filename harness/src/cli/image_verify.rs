// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_images::release_directory::{FileVerdict, Judgement, TEST_KEY, verify as verify_directory};
use loadgauge_images::signature::Keyring;

use super::{Exit, Failure, output};

/// `loadgauge image verify`
#[derive(Debug, Args)]
pub(super) struct ImageVerifyArguments {
    /// The directory of a release: an image with its `.sig` and `.DIGESTS.asc` beside it
    pub directory: Utf8PathBuf,

    /// The keys that are trusted: for Flatcar's releases its image signing key, whose fingerprint is
    /// F88CFEDEFF29A5B4D9523864E25D9AED0593B34A; the stand-in's own when not given
    #[arg(long, value_name = "FILE")]
    pub key: Option<Utf8PathBuf>,
}

/// `loadgauge image verify`: each file against its signature and its signed digests.
pub(super) fn verify(arguments: &ImageVerifyArguments) -> Result<Exit, Failure> {
    let key = arguments.key.clone().unwrap_or_else(|| arguments.directory.join(TEST_KEY));
    let keys = Keyring::read(&key)?;
    let verdicts = verify_directory(&arguments.directory, &keys)?;
    let mut exit = Exit::Passed;
    for verdict in &verdicts {
        if !verdict.holds() {
            exit = Exit::Failed;
        }
        output::print(&line(verdict))?;
    }
    Ok(exit)
}

fn line(verdict: &FileVerdict) -> String {
    let mut text = format!("{:<7}{}\n", if verdict.holds() { "ok" } else { "WRONG" }, verdict.file);
    for judgement in &verdict.judgements {
        if let Judgement::Wrong(why) = judgement {
            let _ = writeln!(text, "       {why}");
        }
    }
    text
}
