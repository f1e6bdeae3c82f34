// SPDX-License-Identifier: Apache-2.0
//! Which packages are added: ours against `emerge --usepkgonly --pretend`.
