// SPDX-License-Identifier: Apache-2.0
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A parser of values that the user writes as their names.
pub(super) fn one_of<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + FromStr<Err = String> + 'static,
{
    PossibleValuesParser::new(all.iter().copied().map(name)).try_map(|name| name.parse::<T>())
}
