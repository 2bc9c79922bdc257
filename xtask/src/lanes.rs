//! What runs side by side. Browser suites mostly wait, for providers that are slow to give up and for servers that come back,
//! and each has a network, a sandbox and logs of its own.

use std::thread;

use anyhow::{Result, anyhow};

use crate::{isolation, process, suites::Suite};

/// The suites of a lane run one after another, the lanes at the same time. Asterisk runs alone: it mixes and reads tones on this
/// machine, and a digit was not heard while another suite ran beside it. Interop writes the same document.
const LANES: [&[Suite]; 2] = [&[Suite::Outages], &[Suite::Stack, Suite::Interop]];

/// How the names of the end-to-end files begin that are in the second lane: those with most waiting. Both lanes take about
/// as long.
pub(crate) const SECOND: [&str; 4] = ["accessibility", "background", "elks-", "hints"];

/// Whether this machine has a core and a network for each of two lanes.
pub(crate) fn possible() -> bool {
    thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2) && isolation::possible()
}

/// What runs at the same time, as lanes, turn by turn.
pub(crate) fn turns(chosen: &[Suite], possible: bool) -> Vec<Vec<Vec<Suite>>> {
    let of_lane = |lane: &[Suite]| chosen.iter().copied().filter(|suite| lane.contains(suite)).collect();
    let lanes: Vec<Vec<Suite>> = LANES.into_iter().map(of_lane).collect();
    if !possible || lanes.iter().any(Vec::is_empty) {
        return chosen.iter().map(|suite| vec![vec![*suite]]).collect();
    }
    let mut turns = Vec::new();
    let mut together = Some(lanes);
    for suite in chosen {
        if !LANES.iter().any(|lane| lane.contains(suite)) {
            turns.push(vec![vec![*suite]]);
        } else if let Some(lanes) = together.take() {
            turns.push(lanes);
        }
    }
    turns
}

/// Runs these jobs at the same time, each with its name before every line that it shows; one alone without.
pub(crate) fn run<J: Send, T: Send>(
    jobs: Vec<(String, J)>,
    work: impl Fn(J) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    if jobs.len() < 2 {
        return jobs.into_iter().map(|(_, job)| work(job)).collect();
    }
    thread::scope(|scope| {
        let started: Vec<_> = jobs
            .into_iter()
            .map(|(name, job)| {
                let work = &work;
                scope.spawn(move || {
                    process::name_lines(&name);
                    work(job)
                })
            })
            .collect();
        let ended = started.into_iter().map(|lane| lane.join());
        ended.map(|result| result.unwrap_or_else(|_| Err(anyhow!("a lane ended by a panic")))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Suite::{Asterisk, Interop, Outages, Stack, Types, Web};

    #[test]
    fn what_waits_runs_side_by_side_in_the_place_of_the_first() {
        let chosen = [Types, Stack, Web, Asterisk, Outages, Interop];
        let all = turns(&chosen, true);
        assert_eq!(
            all,
            [
                vec![vec![Types]],
                vec![vec![Outages], vec![Stack, Interop]],
                vec![vec![Web]],
                vec![vec![Asterisk]]
            ]
        );
        assert_eq!(turns(&chosen, false).len(), chosen.len());
        assert_eq!(turns(&[Stack, Interop], true), [vec![vec![Stack]], vec![vec![Interop]]]);
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_none_is_lost() {
        let jobs = [1, 2, 3].map(|job| (job.to_string(), job)).to_vec();
        let results = run(jobs, |job| if job == 2 { Err(anyhow!("no")) } else { Ok(job * 10) });
        let results: Vec<_> = results.into_iter().map(Result::ok).collect();
        assert_eq!(results, [Some(10), None, Some(30)]);
    }
}
