// SPDX-License-Identifier: Apache-2.0
//! Consumers of events: terminal, JSON lines, JUnit.
