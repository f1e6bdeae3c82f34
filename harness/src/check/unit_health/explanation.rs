// SPDX-License-Identifier: Apache-2.0
use super::exit;
use super::message::Message;
use super::report::UnitReport;

/// The most lines of the journal in a finding.
const SHOWN: usize = 10;

impl UnitReport {
    /// Why the unit is as it is, a line each: state and result, starts and failures, unmet condition, and the
    /// last lines of its last complete start.
    pub(in super::super) fn explanation(&self) -> Vec<String> {
        let mut lines = vec![self.state()];
        let (starts, failures) = (self.starts(), self.failures());
        if failures > 0 {
            let times = |count: usize| if count == 1 { "once".to_owned() } else { format!("{count} times") };
            lines.push(format!("started {} and failed {} in this boot", times(starts), times(failures)));
        }
        if let Some(condition) = self.unmet_condition() {
            lines.push(format!("the condition `{condition}` is not met"));
        }
        let words = self.last_words();
        if !words.is_empty() {
            lines.push("its last lines:".to_owned());
            lines.extend(words.into_iter().map(|line| format!("  {line}")));
        }
        lines
    }

    /// What to do about a unit that is not active.
    pub(in super::super) fn hint(&self) -> String {
        let name = &self.name;
        match (self.property("LoadState"), self.property("Result")) {
            ("not-found", _) => {
                return format!("see that `{name}` is in an extension that is merged, or in the image");
            }
            ("masked", _) => return format!("see the Ignition config for why `{name}` is masked"),
            ("bad-setting" | "error", _) => {
                return format!("run `systemd-analyze verify {name}` in the guest");
            }
            (_, "resources") => {
                return "see the lines for the file or resource that systemd lacks: an extension brings nothing \
                        below /etc; write such files with Ignition, or with `[finish] etc = \"tmpfiles\"`"
                    .to_owned();
            }
            _ => {}
        }
        if let Some(hint) = exit::hint(&self.properties) {
            return hint.to_owned();
        }
        if self.unmet_condition().is_some() {
            return "provide what the condition asks for, or remove it with a drop-in".to_owned();
        }
        if self.property("ActiveState") == "inactive" && self.starts() == 0 {
            return format!(
                "start the unit with an `Upholds={name}` drop-in of a target: systemd does not evaluate \
                 `[Install]` in an extension"
            );
        }
        if self.property("Type") == "oneshot" && self.property("ActiveState") == "inactive" {
            return "set `RemainAfterExit=yes`: a oneshot service is inactive once it has ended, and `Upholds=` \
                    starts it again and again"
                .to_owned();
        }
        format!("see what `{name}` and systemd say of it in journal.jsonl")
    }

    /// The state in a line: `failed (start-limit-hit): its main process ended with status 1`.
    fn state(&self) -> String {
        let (active, result) = (self.property("ActiveState"), self.property("Result"));
        let detail = match self.property("LoadState") {
            "loaded" | "" if matches!(result, "" | "success") => self.property("SubState"),
            "loaded" | "" => result,
            load => load,
        };
        let mut state = format!("`{}` is {active} ({detail})", self.name);
        if let Some(ended) = exit::ended(&self.properties).filter(|_| !self.is_active()) {
            state.push_str(": ");
            state.push_str(&ended);
        }
        state
    }

    fn unmet_condition(&self) -> Option<&str> {
        let is_unmet = self.property("ConditionResult") == "no" || self.property("AssertResult") == "no";
        let condition = self.messages.iter().rev().find_map(Message::unmet_condition);
        condition.filter(|_| is_unmet && !self.is_active())
    }

    /// The last lines that may say why, of the last start that has any.
    fn last_words(&self) -> Vec<&str> {
        let telling = || self.messages.iter().filter(|message| message.is_telling());
        let Some(last) = telling().next_back() else { return Vec::new() };
        let mut lines: Vec<&str> = telling()
            .filter(|message| message.invocation == last.invocation)
            .flat_map(|message| message.text.lines())
            .filter(|line| !line.trim().is_empty())
            .collect();
        lines.dedup();
        lines.split_off(lines.len().saturating_sub(SHOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;

    /// A journal of the unit's and systemd's messages: `text`, or `!text` for systemd with a warning, or an
    /// identifier of a message. [`STARTED`] begins another start.
    fn journal(lines: &[&str]) -> String {
        let mut start = 0;
        let entry = |(time, line): (usize, &&str)| {
            let mut entry = serde_json::json!({"__REALTIME_TIMESTAMP": time.to_string(), "PRIORITY": "6"});
            start += usize::from(*line == STARTED);
            entry["INVOCATION_ID"] = start.to_string().into();
            entry["_SYSTEMD_INVOCATION_ID"] = start.to_string().into();
            match line.strip_prefix('!') {
                Some(text) => {
                    entry["MESSAGE"] = text.into();
                    entry["UNIT"] = "x.service".into();
                    entry["PRIORITY"] = "4".into();
                }
                None if line.len() == 32 => {
                    entry["MESSAGE"] = "of systemd".into();
                    entry["MESSAGE_ID"] = (*line).into();
                    entry["UNIT"] = "x.service".into();
                }
                None => {
                    entry["MESSAGE"] = (*line).into();
                    entry["_SYSTEMD_UNIT"] = "x.service".into();
                }
            }
            format!("{entry}\n")
        };
        lines.iter().enumerate().map(entry).collect()
    }

    const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
    const FAILED: &str = "d9b373ed55a64feb8242e02dbe79a49c";

    #[test]
    fn a_crash_loop_is_told_with_the_words_of_the_last_complete_start() {
        let messages = journal(&[
            STARTED,
            "cat: first: No such file",
            FAILED,
            STARTED,
            "cat: second: No such file",
            FAILED,
            "!x.service: Start request repeated too quickly.",
        ]);
        let properties = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=start-limit-hit\n\
                          ExecMainCode=1\nExecMainStatus=1\nType=simple";
        insta::assert_snapshot!(report(properties, &messages).explanation().join("\n"), @r"
        `x.service` is failed (start-limit-hit): its main process ended with status 1
        started 2 times and failed 2 times in this boot
        its last lines:
          cat: second: No such file
        ");
    }

    #[test]
    fn an_unmet_condition_is_no_failure_of_the_unit() {
        let messages =
            journal(&["!X was skipped because of an unmet condition check (ConditionPathExists=/etc/x)."]);
        let report = report(
            "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nConditionResult=no",
            &messages,
        );
        insta::assert_snapshot!(report.explanation().join("\n"), @r"
        `x.service` is inactive (dead)
        the condition `ConditionPathExists=/etc/x` is not met
        ");
        assert!(report.hint().contains("what the condition asks for"));
    }

    #[test]
    fn the_hint_fits_the_reason() {
        for (properties, expected) in [
            ("LoadState=not-found\nActiveState=inactive", "an extension that is merged"),
            (
                "LoadState=loaded\nActiveState=failed\nResult=resources",
                "the file or resource that systemd lacks",
            ),
            (
                "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=217",
                "sysusers.d",
            ),
            (
                "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=1",
                "journal.jsonl",
            ),
            ("LoadState=loaded\nActiveState=inactive\nResult=success\nType=oneshot", "Upholds=x.service"),
            ("LoadState=masked\nActiveState=inactive", "masked"),
        ] {
            let hint = report(properties, "").hint();
            assert!(hint.contains(expected), "{properties}: {hint}");
        }
        let ended = report(
            "LoadState=loaded\nActiveState=inactive\nResult=success\nType=oneshot",
            &journal(&[STARTED]),
        );
        assert!(ended.hint().contains("RemainAfterExit"), "{}", ended.hint());
    }
}
