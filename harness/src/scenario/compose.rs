// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_ignition::delivery::{
    Delivered, Delivery, DeliveryError, HowDelivered, Payload, Served, deliver,
};
use loadgauge_ignition::{
    ButaneError, Config, Conflict, Contents, File, Link, ParseError, Severity, Unit, mask_updates,
};

use super::{AuthorConfig, IgnitionRequest};

/// The Ignition config of a machine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// the author's config cannot be read
    #[error("cannot read `{path}`")]
    Read {
        /// the file
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// the author's config is no Ignition
    #[error("`{path}` is not an Ignition config")]
    Ignition {
        /// the file
        path: Utf8PathBuf,
        /// why not
        source: ParseError,
    },
    /// the author's config is no Butane
    #[error("`{path}` is not a Butane config")]
    Butane {
        /// the file
        path: Utf8PathBuf,
        /// why not
        source: ButaneError,
    },
    /// an extension cannot be delivered
    #[error("cannot deliver the extension `{name}`")]
    Delivery {
        /// the extension
        name: String,
        /// why not
        source: DeliveryError,
    },
    /// two parts of the config say different things of one place
    #[error("the parts of the Ignition config contradict each other")]
    Conflict(#[from] Conflict),
    /// the config is wrong
    #[error("the Ignition config is wrong: {}", problems.join("; "))]
    Invalid {
        /// what is wrong with it
        problems: Vec<String>,
        /// what to do, where one can say it
        hint: Option<String>,
    },
}

impl Hint for ComposeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Ignition { source, .. } => source.hint(),
            Self::Butane { source, .. } => source.hint(),
            Self::Delivery { source, .. } => source.hint(),
            Self::Conflict(source) => source.hint(),
            Self::Invalid { hint, .. } => hint.clone(),
        }
    }
}

/// The config of a machine, and what it makes the guest fetch.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) config: Config,
    pub(super) served: Vec<Served>,
    /// how each extension is delivered, in their order
    pub(super) ways: Vec<HowDelivered>,
}

/// Where the guest finds the harness's server, and how much of a config extensions may fill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) origin: &'a str,
    pub(super) inline: u64,
}

/// Joins what the author wants with what the extensions need.
pub(super) fn compose(
    author: &IgnitionRequest,
    payloads: &[(Payload, Delivery)],
    limits: Limits<'_>,
) -> Result<Composed, ComposeError> {
    let mut config = author_config(author)?;
    let mut composed = Composed { config: Config::new(), served: Vec::new(), ways: Vec::new() };
    for (payload, how) in payloads {
        // The limit is of the whole config: what one extension took the next cannot have.
        let taken = composed.config.to_json().len() as u64;
        let left = limits.inline.saturating_sub(taken);
        let Delivered { config, served, how } = deliver(payload, *how, limits.origin, left)
            .map_err(|source| ComposeError::Delivery { name: payload.name.clone(), source })?;
        composed.config = composed.config.merge(config)?;
        composed.served.extend(served);
        composed.ways.push(how);
    }
    config = config.merge(composed.config)?;
    mask_updates(&mut config);
    validate(&config)?;
    Ok(Composed { config, ..composed })
}

fn validate(config: &Config) -> Result<(), ComposeError> {
    let mut problems = config.validate();
    problems.retain(|problem| problem.severity == Severity::Error);
    if problems.is_empty() {
        return Ok(());
    }
    Err(ComposeError::Invalid {
        hint: problems.iter().find_map(|problem| problem.hint.clone()),
        problems: problems.iter().map(ToString::to_string).collect(),
    })
}

/// The author's file with what stands in the scenario itself.
fn author_config(author: &IgnitionRequest) -> Result<Config, ComposeError> {
    let config = match &author.config {
        None => Config::new(),
        Some(AuthorConfig::Ignition(path)) => Config::parse(&read(path)?)
            .map_err(|source| ComposeError::Ignition { path: path.clone(), source })?,
        Some(AuthorConfig::Butane(path)) => {
            let files = path.parent().unwrap_or(Utf8Path::new(""));
            Config::from_butane(&read(path)?, files)
                .map_err(|source| ComposeError::Butane { path: path.clone(), source })?
        }
    };
    Ok(config.merge(inline_config(author))?)
}

/// What stands in the scenario itself.
fn inline_config(author: &IgnitionRequest) -> Config {
    let mut config = Config::new();
    for link in &author.links {
        config.link(Link {
            path: link.path.clone(),
            target: link.target.clone(),
            overwrite: link.overwrite,
            hard: false,
        });
    }
    for file in &author.files {
        config.file(File {
            path: file.path.clone(),
            mode: file.mode,
            contents: Contents::Inline(file.contents.clone().into_bytes()),
            overwrite: file.overwrite,
        });
    }
    for unit in &author.units {
        config.unit(Unit {
            name: unit.name.clone(),
            enabled: unit.enabled,
            mask: unit.mask,
            contents: unit.contents.clone(),
            dropins: Vec::new(),
        });
    }
    config
}

fn read(path: &Utf8Path) -> Result<String, ComposeError> {
    fs::read_to_string(path).map_err(|source| ComposeError::Read { path: path.to_owned(), source })
}
