//! Alerts: bounds that the last minute must keep, and whether it does. What goes up and down around a bound raises none.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::serve::process::MemoryUse;
use crate::serve::recent::LastMinute;
use crate::serve::timestamp::rfc3339;

/// A minute with fewer requests says nothing of times and of shares.
const MIN_REQUESTS: u64 = 20;

/// Windows above a bound after which its alert is raised, and windows below [`CLEAR_SHARE`] of it after which it is cleared.
const RAISE_WINDOWS: u32 = 2;
const CLEAR_WINDOWS: u32 = 3;
const CLEAR_SHARE: f64 = 0.9;

/// What is looked at: percentile 95 of the times of requests and of their waits in milliseconds, percentages, and how far a model's
/// vectors are from the CPU's.
pub(super) const RULES: [&str; 5] = ["p95_ms", "queue_ms", "memory_percent", "error_percent", "cosine_distance"];
pub(super) const SEVERITIES: [&str; 2] = ["warning", "critical"];

/// The bounds of each rule, in the order of [`RULES`] and [`SEVERITIES`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objectives(pub [[f64; 2]; RULES.len()]);

/// What a window says of each rule; None where it says nothing, which is as good as 0.
pub(super) type WindowNumbers = [Option<f64>; RULES.len()];

/// Where all alerts stand.
pub(super) struct Alerts {
    objectives: Objectives,
    states: [[AlertState; 2]; RULES.len()],
    numbers: WindowNumbers,
}

#[derive(Debug, Default, Clone, Copy)]
struct AlertState {
    raised_at: Option<SystemTime>,
    /// Windows, one after the other, that are for the other state.
    against: u32,
}

/// An alert that was raised or cleared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AlertChange {
    time: SystemTime,
    rule: &'static str,
    severity: &'static str,
    is_raised: bool,
    value: Option<f64>,
    bound: f64,
}

/// What the last minute, the memory now, and the smallest cosine to the CPU's vectors say of each rule.
pub(super) fn window_numbers(minute: &LastMinute, memory: Option<MemoryUse>, cosine_min: Option<f64>) -> WindowNumbers {
    let of_requests = |number: f64| (minute.requests >= MIN_REQUESTS).then_some(number);
    [
        of_requests(minute.times[1].as_secs_f64() * 1e3),
        of_requests(minute.waits[1].as_secs_f64() * 1e3),
        memory.map(MemoryUse::percent),
        of_requests(100.0 * minute.failed as f64 / minute.requests.max(1) as f64),
        cosine_min.map(|cosine| 1.0 - cosine),
    ]
}

impl Alerts {
    pub(super) fn new(objectives: Objectives) -> Self {
        Self { objectives, states: Default::default(), numbers: [None; RULES.len()] }
    }

    /// Takes the numbers of the next window, and gives what that changes.
    pub(super) fn advance(&mut self, now: SystemTime, numbers: WindowNumbers) -> Vec<AlertChange> {
        self.numbers = numbers;
        let mut changes = Vec::new();
        for (rule, states) in self.states.iter_mut().enumerate() {
            for (severity, state) in states.iter_mut().enumerate() {
                let (value, bound) = (numbers[rule], self.objectives.0[rule][severity]);
                if state.advance(now, value, bound) {
                    changes.push(AlertChange {
                        time: now,
                        rule: RULES[rule],
                        severity: SEVERITIES[severity],
                        is_raised: state.raised_at.is_some(),
                        value,
                        bound,
                    });
                }
            }
        }
        changes
    }

    /// Rule, severity, and whether it is raised, of all.
    pub(super) fn raised(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        self.each().map(|(rule, severity, state)| (RULES[rule], SEVERITIES[severity], state.raised_at.is_some()))
    }

    /// Where all stand, in JSON.
    pub(super) fn to_json(&self) -> Value {
        self.each()
            .map(|(rule, severity, state)| {
                json!({
                    "rule": RULES[rule],
                    "severity": SEVERITIES[severity],
                    "raised": state.raised_at.is_some(),
                    "since": state.raised_at.map(rfc3339),
                    "value": self.numbers[rule].map(rounded),
                    "bound": self.objectives.0[rule][severity],
                })
            })
            .collect()
    }

    fn each(&self) -> impl Iterator<Item = (usize, usize, AlertState)> {
        let of_rule = |(rule, states): (usize, &[AlertState; 2])| {
            states
                .map(|state| (rule, state))
                .into_iter()
                .enumerate()
                .map(|(severity, (rule, state))| (rule, severity, state))
        };
        self.states.iter().enumerate().flat_map(of_rule)
    }
}

impl AlertState {
    /// Whether a window's value changes the state.
    fn advance(&mut self, now: SystemTime, value: Option<f64>, bound: f64) -> bool {
        let value = value.unwrap_or(0.0);
        let (is_against, windows) = match self.raised_at {
            None => (value > bound, RAISE_WINDOWS),
            Some(_) => (value < bound * CLEAR_SHARE, CLEAR_WINDOWS),
        };
        self.against = if is_against { self.against + 1 } else { 0 };
        if self.against < windows {
            return false;
        }
        *self = Self { raised_at: self.raised_at.is_none().then_some(now), against: 0 };
        true
    }
}

impl AlertChange {
    /// What the log and commands get.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "time": rfc3339(self.time),
            "alert": self.rule,
            "severity": self.severity,
            "state": if self.is_raised { "raised" } else { "cleared" },
            "value": self.value.map(rounded),
            "bound": self.bound,
        })
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const OBJECTIVES: Objectives =
        Objectives([[100.0, 500.0], [50.0, 250.0], [80.0, 95.0], [1.0, 5.0], [0.0005, 0.01]]);

    /// What windows of a rule's values change: the number of the window, the severity, and whether it is raised.
    fn changes(rule: usize, values: &[Option<f64>]) -> Vec<(usize, &'static str, bool)> {
        let mut alerts = Alerts::new(OBJECTIVES);
        let mut found = Vec::new();
        for (window, value) in values.iter().enumerate() {
            let mut numbers = [None; RULES.len()];
            numbers[rule] = *value;
            let now = UNIX_EPOCH + Duration::from_secs(5 * window as u64);
            let of_window = alerts.advance(now, numbers);
            assert!(of_window.iter().all(|change| change.rule == RULES[rule] && change.time == now));
            found.extend(of_window.iter().map(|change| (window, change.severity, change.is_raised)));
        }
        found
    }

    fn values(numbers: &[f64]) -> Vec<Option<f64>> {
        numbers.iter().copied().map(Some).collect()
    }

    #[test]
    fn two_windows_raise_and_three_clear() {
        let numbers = values(&[100.0, 101.0, 101.0, 500.0, 89.0, 89.0, 89.0, 101.0]);
        assert_eq!(changes(0, &numbers), [(2, "warning", true), (6, "warning", false)]);
        let numbers = values(&[6.0, 6.0, 0.0, 0.0, 0.0]);
        let both = [(1, "warning", true), (1, "critical", true), (4, "warning", false), (4, "critical", false)];
        assert_eq!(changes(3, &numbers), both);
    }

    #[test]
    fn what_goes_up_and_down_around_a_bound_changes_nothing() {
        let around: Vec<f64> = (0..20).map(|window| if window % 2 == 0 { 101.0 } else { 99.0 }).collect();
        assert_eq!(changes(0, &values(&around)), []);
        // Between nine tenths of the bound and the bound it stays what it is.
        let high: Vec<f64> = [101.0, 101.0].into_iter().chain([91.0; 20]).collect();
        assert_eq!(changes(0, &values(&high)), [(1, "warning", true)]);
        let dips: Vec<f64> = [101.0, 101.0].into_iter().chain([10.0, 10.0, 95.0].repeat(5)).collect();
        assert_eq!(changes(0, &values(&dips)), [(1, "warning", true)]);
    }

    #[test]
    fn windows_that_say_nothing_clear() {
        let numbers = [Some(101.0), None, Some(101.0), Some(101.0), None, None, None];
        assert_eq!(changes(0, &numbers), [(3, "warning", true), (6, "warning", false)]);
    }

    #[test]
    fn few_requests_say_nothing() {
        let minute =
            LastMinute { requests: 19, failed: 19, times: [Duration::from_secs(1); 3], ..LastMinute::default() };
        let memory = Some(MemoryUse { used: 90, limit: 100 });
        assert_eq!(window_numbers(&minute, memory, None), [None, None, Some(90.0), None, None]);
        let minute = LastMinute { requests: 20, failed: 1, ..minute };
        assert_eq!(window_numbers(&minute, None, Some(0.75)), [Some(1000.0), Some(0.0), None, Some(5.0), Some(0.25)]);
    }

    #[test]
    fn changes_are_told_in_json() {
        let mut alerts = Alerts::new(OBJECTIVES);
        let numbers = [None, None, Some(85.0), None, None];
        assert_eq!(alerts.advance(UNIX_EPOCH, numbers), []);
        let told: Vec<_> =
            alerts.advance(UNIX_EPOCH, numbers).iter().map(|change| change.to_json().to_string()).collect();
        let line = r#"{"time":"1970-01-01T00:00:00.000Z","alert":"memory_percent","severity":"warning","state":"raised","value":85.0,"bound":80.0}"#;
        assert_eq!(told, [line]);
        let all = alerts.to_json();
        assert_eq!(all.as_array().map(Vec::len), Some(10));
        assert_eq!(all[4]["raised"], true);
        assert_eq!(
            alerts.raised().filter(|(_, _, raised)| *raised).collect::<Vec<_>>(),
            [("memory_percent", "warning", true)]
        );
    }
}
