// SPDX-License-Identifier: Apache-2.0
//! Options of QEMU's command line.

/// The arguments for a list of options with values.
pub(crate) fn options<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// Escapes a value within an option: a comma would end it unless it is doubled.
pub(crate) fn escape(text: &str) -> String {
    text.replace(',', ",,")
}
