// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_host::environment;

const HELP: &str = "Image: a Flatcar disk (qcow2 or raw, also compressed with bzip2), the directory of a \
                    release, or the release of a stand-in that was built on this host (`3654.0.0`, \
                    `alpha-3654`) [default: the stand-in that was built last]";

/// The option `--image`.
#[derive(Debug, Args)]
pub(super) struct ImageOption {
    #[arg(long, value_name = "IMAGE", env = environment::IMAGE, help = HELP)]
    pub(super) image: Option<Utf8PathBuf>,
}

/// The positional argument `IMAGE`.
#[derive(Debug, Args)]
pub(super) struct ImageArgument {
    #[arg(value_name = "IMAGE", env = environment::IMAGE, help = HELP)]
    pub(super) image: Option<Utf8PathBuf>,
}
