//! What the test runners said, counted, and the closing table.

use std::{fmt, time::Duration};

use crate::suites::Suite;

/// Tests (or checks, for a suite that has no tests of its own) by their result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// One check.
    pub(crate) fn of_check(success: bool) -> Self {
        Self { passed: u64::from(success), failed: u64::from(!success), skipped: 0 }
    }

    /// How many tests ran.
    pub(crate) fn ran(self) -> u64 {
        self.passed + self.failed
    }

    /// Adds up the closing lines of cargo's test harness and of wasm-bindgen's, which look alike:
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s`.
    pub(crate) fn in_cargo_output(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let Some((_, results)) = line.split_once("test result: ") else { continue };
            for result in results.split([';', '.']) {
                let mut words = result.split_whitespace();
                let (Some(number), Some(kind)) =
                    (words.next().and_then(|word| word.parse().ok()), words.next())
                else {
                    continue;
                };
                counts.add(kind, number);
            }
        }
        counts
    }

    /// Reads what schemathesis says of the requests that it made up: `240 generated, 240 passed`, `959 generated, 944
    /// passed, 1 found 1 unique failure, 14 skipped`. Those that it dropped again are no tests.
    pub(crate) fn in_schemathesis_output(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let Some((generated, rest)) = line.trim().split_once(" generated, ") else { continue };
            let first = |part: &str| part.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            let Some(generated) = first(generated) else { continue };
            let of = |kind: &str| {
                rest.split(", ").filter(|part| part.contains(kind)).filter_map(first).sum::<u64>()
            };
            counts.failed += of(" found ");
            counts.passed += generated.saturating_sub(of(" found ") + of(" skipped"));
        }
        counts
    }

    /// Reads the closing lines of node's test runner, `# pass 3` or `ℹ pass 3`.
    pub(crate) fn in_node_output(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if !matches!(words.next(), Some("#" | "ℹ")) {
                continue;
            }
            let (Some(kind), Some(number), None) =
                (words.next(), words.next().and_then(|word| word.parse().ok()), words.next())
            else {
                continue;
            };
            counts.add(kind, number);
        }
        counts
    }

    fn add(&mut self, kind: &str, number: u64) {
        match kind {
            "passed" | "pass" => self.passed += number,
            "failed" | "fail" | "cancelled" => self.failed += number,
            "ignored" | "skipped" | "todo" => self.skipped += number,
            _ => {}
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The closing line. CI reads it, so it stands alone and in this form.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// How one suite ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) suite: Suite,
    pub(crate) counts: Counts,
    pub(crate) took: Duration,
    /// Why it failed or was skipped, or what a reader should know of a success.
    pub(crate) remark: Option<String>,
}

impl Finished {
    fn verdict(&self) -> &'static str {
        match self.counts {
            Counts { failed: 1.., .. } => "FAILED",
            Counts { passed: 0, .. } => "skipped",
            _ => "ok",
        }
    }
}

/// Prints the table and the closing line; true if nothing failed.
pub(crate) fn print(finished: &[Finished]) -> bool {
    let mut total = Counts::default();
    println!(
        "\n{:<7} {:<8} {:>7} {:>7} {:>8} {:>8}",
        "suite", "result", "passed", "failed", "skipped", "seconds"
    );
    for suite in finished {
        let Counts { passed, failed, skipped } = suite.counts;
        println!(
            "{:<7} {:<8} {passed:>7} {failed:>7} {skipped:>8} {:>8.1}",
            suite.suite.name(),
            suite.verdict(),
            suite.took.as_secs_f32(),
        );
        total += suite.counts;
    }
    for suite in finished {
        if let Some(remark) = &suite.remark {
            println!("{}: {remark}", suite.suite.name());
        }
    }
    println!("\n{total}");
    total.failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_results_add_up_over_crates() {
        let text = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.00s\n\
            test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(Counts::in_cargo_output(text), Counts { passed: 5, failed: 1, skipped: 1 });
    }

    #[test]
    fn wasm_bindgen_results_count_too() {
        let text = "test result: ok. 4 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.32s\n";
        assert_eq!(Counts::in_cargo_output(text), Counts { passed: 4, failed: 0, skipped: 0 });
    }

    #[test]
    fn requests_of_schemathesis_count() {
        let of = Counts::in_schemathesis_output;
        assert_eq!(of("  240 generated, 240 passed\n"), Counts { passed: 240, ..Counts::default() });
        let text = "Test cases:\n  959 generated, 1 found 1 unique failure, 14 skipped\n";
        assert_eq!(of(text), Counts { passed: 944, failed: 1, skipped: 0 });
    }

    #[test]
    fn node_results_count_in_both_styles() {
        let text = "# tests 4\n# suites 0\n# pass 2\n# fail 1\n# cancelled 1\n# skipped 0\n# todo 0\n";
        assert_eq!(Counts::in_node_output(text), Counts { passed: 2, failed: 2, skipped: 0 });
        let text =
            "✔ calls (3ms)\nℹ tests 3\nℹ pass 2\nℹ fail 0\nℹ cancelled 0\nℹ skipped 1\nℹ duration_ms 5.1\n";
        assert_eq!(Counts::in_node_output(text), Counts { passed: 2, failed: 0, skipped: 1 });
    }

    #[test]
    fn prose_that_looks_like_a_result_is_not_counted() {
        assert_eq!(Counts::in_node_output("# pass 3 times\npass 3\n"), Counts::default());
        assert_eq!(Counts::in_cargo_output("12 passed; 0 failed\n"), Counts::default());
    }

    #[test]
    fn the_closing_line_names_skipped_tests_only_if_there_are_any() {
        assert_eq!(Counts { passed: 3, failed: 0, skipped: 0 }.to_string(), "3 passed, 0 failed");
        assert_eq!(Counts { passed: 3, failed: 1, skipped: 2 }.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
