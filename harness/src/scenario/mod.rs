// SPDX-License-Identifier: Apache-2.0
//! The file format, selection, and the plan.
