// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::record::RunRecord;
use super::{Report, ReportError};
use crate::runner::Event;

/// Renders a whole run as text.
pub(super) type Render = fn(&RunRecord) -> Result<String, ReportError>;

/// A report that is one file, written when the run ends.
#[derive(Debug)]
pub(super) struct RenderedFile {
    path: Utf8PathBuf,
    render: Render,
    record: RunRecord,
}

impl RenderedFile {
    /// A report that will be written to this path.
    pub(super) fn new(path: impl Into<Utf8PathBuf>, render: Render) -> Self {
        Self { path: path.into(), render, record: RunRecord::default() }
    }
}

impl Report for RenderedFile {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.take(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        Ok(write_atomically(&self.path, &(self.render)(&self.record)?)?)
    }
}

/// Writes a file that is never seen half-written.
fn write_atomically(path: &Utf8Path, text: &str) -> Result<(), FileError> {
    let part = Utf8PathBuf::from(format!("{path}.part"));
    fs::write(&part, text)?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn the_file_is_written_whole_or_the_error_names_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8").join("report.txt");
        let render: Render = |record| Ok(format!("{} scenarios\n", record.scenarios.len()));
        let mut report = RenderedFile::new(&path, render);
        for event in testing::complete_run() {
            report.event(&event).expect("taken");
        }
        report.finish().expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "4 scenarios\n");
        assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 1, "no `.part` is left");
        let error = RenderedFile::new("/proc/nowhere/report.txt", render).finish().expect_err("read-only");
        assert!(error.to_string().contains("/proc/nowhere/report.txt"), "{error}");
    }
}
